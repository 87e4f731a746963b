#!/usr/bin/env bash
# The tests: as the README's command runs them, but with all their rounds; again with restartable sequences off; with
# more features, and with locked claims; and the sections as they are shipped, with restartable sequences and without.
set -euo pipefail
cd "$(dirname "$0")/.."
without_rseq() { GLIBC_TUNABLES=glibc.pthread.rseq=0 "$@"; }

STORPORT_POOL_ROUNDS=full cargo test
# All of it, so that nothing is built anew; with few rounds, since the twin has had its own above.
without_rseq cargo test
cargo test -p storport-pool --features allocator-api2 --test adaptor
cargo test -p storport-pool --features allocator-api2 --doc
cargo test -p storport-pool --features tracing --test tracing
cargo test -p storport-pool --features serde --test values
cargo test -p storport-pool --features checked --test contract --test misuse --test hook --test model --test threads
export STORPORT_POOL_ROUNDS=full
cargo test --release -p storport-pool --test sections
without_rseq cargo test --release -p storport-pool --test sections
