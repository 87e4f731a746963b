#!/usr/bin/env bash
# Lints, warnings denied: everything, the fuzz targets, and the library with each smaller set of features.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo clippy --workspace --all-targets -- -D warnings
cargo clippy -p storport-pool --no-default-features -- -D warnings
cargo clippy -p storport-pool --no-default-features --features alloc -- -D warnings
cargo clippy -p storport-pool --no-default-features --features allocator-api2 -- -D warnings
cargo clippy -p storport-pool --all-features --all-targets -- -D warnings
cargo clippy --manifest-path fuzz/Cargo.toml --locked --all-targets -- -D warnings
