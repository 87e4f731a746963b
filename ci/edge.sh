#!/usr/bin/env bash
# Many threads keep small pools nearly full, for so many seconds (default 20) with restartable sequences, and as many
# with the portable twin. No request may be refused while more is free than others may have in their hands.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=$(python3 -c 'import sys; print(float(sys.argv[1]) / 60)' "${1:-20}")
cargo build --release
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Said once over, or one commit would be tried twice.
edge() {
    "${CARGO_TARGET_DIR:-target}/release/storport-pool" soak --edge --minutes "$minutes" --commit "$1" | tee "$log"
    grep -q "$2" "$log" || { echo "nothing was tried with $2" >&2; exit 1; }
}
edge auto "restartable sequences"
edge portable "portable twin"
