#!/usr/bin/env bash
# The tests: as the README's command runs them, with restartable sequences off, with locked claims, and the sections
# as they are shipped.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo test
cargo test -p storport-pool --features allocator-api2 --test adaptor
cargo test -p storport-pool --features allocator-api2 --doc
cargo test -p storport-pool --features tracing --test tracing
GLIBC_TUNABLES=glibc.pthread.rseq=0 cargo test -p storport-pool --features verifier
cargo test -p storport-pool --features checked --test contract --test misuse --test hook --test model --test threads
cargo test --release -p storport-pool --test sections
