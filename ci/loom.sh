#!/usr/bin/env bash
# The models of loom-tests/, with at most LOOM_PREEMPTIONS preemptions an execution (default 2; 3 takes hours).
# Once as shipped, once with locked claims. A model runs on one thread, so as many run at a time as there are processors.
set -euo pipefail
cd "$(dirname "$0")/../loom-tests"
export RUSTFLAGS="--cfg storport_pool_loom"
# A target of its own: the flags would rebuild everything else.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-../target}/loom"

# model <executable> <name>: runs one, and says how long it took.
model() {
    local log start=$SECONDS
    log=$(mktemp)
    "$1" --exact "$2" >"$log" 2>&1 || { cat "$log" >&2; echo "$2 failed" >&2; exit 1; }
    grep -q '^test result: ok. 1 passed' "$log" || { cat "$log" >&2; echo "$2 did not run" >&2; exit 1; }
    rm -f "$log"
    echo "$2: every interleaving is good ($((SECONDS - start)) s)"
}
export -f model

# models <filter> <cargo's arguments>: all whose name has the filter. Those that take longest begin first.
models() {
    local filter=$1 executables executable
    shift
    executables=$(cargo test --release --no-run --message-format=json-render-diagnostics "$@" | python3 -c '
import json, sys
built = [json.loads(line) for line in sys.stdin]
built = {part["target"]["name"]: part["executable"] for part in built if part.get("executable")}
longest = ["loose", "retirement", "caches"]
print(*(built[name] for name in sorted(built, key=lambda name: (longest + [name]).index(name))), sep="\n")')
    for executable in $executables; do
        "$executable" --list --format terse | sed -n "s|^\(.*$filter.*\): test$|$executable \1|p"
    done | xargs -P "$(nproc)" -n 2 bash -euo pipefail -c 'model "$@"' model
}
models ""
models double_free --features checked --test caches
