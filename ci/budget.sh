#!/usr/bin/env bash
# Counts the machine code of both routines in the release build, and compares with ci/budget.golden: no figure may
# grow. `ci/budget.sh --update` writes them anew.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(uname -m)" = x86_64 ] || { echo "the budget is for x86-64" >&2; exit 1; }
cargo build --release --example fast_paths
python3 ci/budget.py "${CARGO_TARGET_DIR:-target}/release/examples/fast_paths" ci/budget.golden "$@"
