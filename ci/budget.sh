#!/usr/bin/env bash
# Counts the machine code of both routines in the release build, Rust's and C's, and compares with
# ci/budget.golden: no figure may grow. `ci/budget.sh --update` writes them anew.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(uname -m)" = x86_64 ] || { echo "the budget is for x86-64" >&2; exit 1; }
cargo build --release --example fast_paths
cargo build --release -p storport-pool-capi --lib
built="${CARGO_TARGET_DIR:-target}/release"
python3 ci/budget.py "$built/examples/fast_paths" "$built/libstorport_pool.so" ci/budget.golden "$@"
