#!/usr/bin/env bash
# All kinds of traffic at once for so many minutes (default 30), half of them with restartable sequences and half
# with the portable twin. After each round all is compared with what its owners know; memory must be flat. Then a fifth
# of that time at the edge of exhaustion (ci/edge.sh).
set -euo pipefail
cd "$(dirname "$0")/.."
half=$(python3 -c 'import sys; print(float(sys.argv[1]) / 2)' "${1:-30}")
edge=$(python3 -c 'import sys; print(float(sys.argv[1]) * 60 / 10)' "${1:-30}")
cargo build --release
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Said once over, or one half would have been soaked twice.
soak() {
    "${CARGO_TARGET_DIR:-target}/release/storport-pool" soak --minutes "$half" | tee "$log"
    grep -q "$1" "$log" || { echo "no half with $1" >&2; exit 1; }
}
soak "restartable sequences"
GLIBC_TUNABLES=glibc.pthread.rseq=0 soak "portable twin"
ci/edge.sh "$edge"
