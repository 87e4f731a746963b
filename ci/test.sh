#!/usr/bin/env bash
# The tests: as the README's command runs them; those that have more rounds, with all of them; all again with restartable
# sequences off; with more features, and with locked claims; and the sections as they are shipped, with all rounds, with
# restartable sequences and without.
set -euo pipefail
cd "$(dirname "$0")/.."
without_rseq() { GLIBC_TUNABLES=glibc.pthread.rseq=0 "$@"; }

cargo test
# All that ask for rounds. No package is named here and in the next one, so that nothing is built anew.
STORPORT_POOL_ROUNDS=full cargo test --test exhaustion --test races --test removal --test sections --test signals
# With few rounds, since the twin has had its own above.
without_rseq cargo test
more=(cargo test -p storport-pool --features allocator-api2,tracing,serde)
"${more[@]}" --test adaptor --test tracing --test values
"${more[@]}" --doc
cargo test -p storport-pool --features checked --test contract --test misuse --test hook --test model --test threads
export STORPORT_POOL_ROUNDS=full
cargo test --release -p storport-pool --test sections
without_rseq cargo test --release -p storport-pool --test sections
