#!/usr/bin/env bash
# The C libraries as they are shipped: which names they show, how much thread-local memory and stack they take, and the C
# tests over them.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release -p storport-pool-capi --lib
export STORPORT_POOL_LIBRARIES=${CARGO_TARGET_DIR:-$PWD/target}/release
cargo test --release -p storport-pool-capi --test link --test c --test stack
