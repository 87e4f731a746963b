#!/usr/bin/env bash
# What is rare: the checks of .ci/run that gain by time, for so many minutes each (default 10): the soak over both
# commits, the edge of exhaustion, each fuzz target, and the simulated machine. About six times as many in all, and
# more of the programs that ci/preload.sh runs.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes="${1:-10}"
seconds=$(python3 -c 'import sys; print(max(10, int(float(sys.argv[1]) * 60)))' "$minutes")
run() {
    echo "== $*"
    local start=$SECONDS
    "$@"
    echo "== $1 passed in $((SECONDS - start)) s"
}
run ci/soak.sh "$minutes"
# Each instruction interrupted, where claims are locked instructions: some three minutes.
STORPORT_POOL_ROUNDS=full run cargo test -p storport-pool --features checked --test sections
run ci/edge.sh "$((seconds / 2))"
run ci/fuzz.sh "$seconds"
run ci/preload.sh --full
# Some 5 million operations a second and core.
STORPORT_POOL_STEPS=$((seconds * 5000000)) run ci/interrupts.sh
