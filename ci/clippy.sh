#!/usr/bin/env bash
# Lints, warnings denied: everything, the fuzz targets, and the library with each smaller set of features. One of them,
# `incompatible_msrv`, says which function the library's oldest Rust does not have (ci/msrv.sh asks that Rust itself).
set -euo pipefail
cd "$(dirname "$0")/.."
cargo clippy --workspace --all-targets -- -D warnings
cargo clippy -p storport-pool --no-default-features -- -D warnings
cargo clippy -p storport-pool --no-default-features --features alloc -- -D warnings
cargo clippy -p storport-pool --no-default-features --features allocator-api2 -- -D warnings
cargo clippy -p storport-pool --all-features --all-targets -- -D warnings
cargo clippy --manifest-path fuzz/Cargo.toml --locked --all-targets -- -D warnings
cargo clippy --manifest-path examples/kernel/Cargo.toml --locked -- -D warnings
