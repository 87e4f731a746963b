#!/usr/bin/env bash
# All kinds of traffic at once for so many minutes (default 30), half of them with restartable sequences and half
# with the portable twin. After each round all is compared with what its owners know; memory must be flat.
set -euo pipefail
cd "$(dirname "$0")/.."
half=$(python3 -c 'import sys; print(float(sys.argv[1]) / 2)' "${1:-30}")
cargo build --release
soak() {
    "${CARGO_TARGET_DIR:-target}/release/storport-pool" soak --minutes "$half" | tee /dev/stderr
}
soak | grep -q "restartable sequences" || { echo "no half with restartable sequences" >&2; exit 1; }
GLIBC_TUNABLES=glibc.pthread.rseq=0 soak | grep -q "portable twin" || { echo "no half with the twin" >&2; exit 1; }
