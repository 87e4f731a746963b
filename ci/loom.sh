#!/usr/bin/env bash
# The models of loom-tests/, with at most LOOM_PREEMPTIONS preemptions an execution (default 2; 3 takes hours).
# Once as shipped, once with locked claims.
set -euo pipefail
cd "$(dirname "$0")/../loom-tests"
export RUSTFLAGS="--cfg storport_pool_loom"
# A target of its own: the flags would rebuild everything else.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-../target}/loom"
cargo test --release
cargo test --release --features checked --test caches double_free
