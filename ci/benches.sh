#!/usr/bin/env bash
# Each of criterion's benchmarks runs once, as `cargo bench` at the root runs them. The other ones are left out there,
# and so by `--all-targets`: their lints are checked here.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo bench -q -- --test
cargo clippy --workspace --bench instructions -- -D warnings
