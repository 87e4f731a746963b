#!/usr/bin/env bash
# The documentation, warnings denied: for each set of features, and with private items. Each public item has an example.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTDOCFLAGS="-D warnings -D rustdoc::missing_crate_level_docs -D rustdoc::unescaped_backticks"
document=(cargo doc -p storport-pool --no-deps)
"${document[@]}" --no-default-features
"${document[@]}" --no-default-features --features alloc
"${document[@]}"
"${document[@]}" --all-features
"${document[@]}" --all-features --document-private-items
# Rustdoc's JSON is a nightly toolchain's.
cargo +nightly rustdoc -p storport-pool --all-features --target-dir "${CARGO_TARGET_DIR:-target}/nightly" -- -Zunstable-options --output-format json
python3 ci/examples.py "${CARGO_TARGET_DIR:-target}/nightly/doc/storport_pool.json"
