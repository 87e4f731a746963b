#!/usr/bin/env bash
# All kinds of traffic at once for so many minutes (default 30), half of them with restartable sequences and half
# with the portable twin. After each round all is compared with what its owners know; memory must be flat.
set -euo pipefail
cd "$(dirname "$0")/.."
half=$(python3 -c 'import sys; print(float(sys.argv[1]) / 2)' "${1:-30}")
cargo build --release
target/release/storport-pool soak --minutes "$half"
GLIBC_TUNABLES=glibc.pthread.rseq=0 target/release/storport-pool soak --minutes "$half"
