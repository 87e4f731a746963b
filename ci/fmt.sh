#!/usr/bin/env bash
# Formatting, as rustfmt.toml says.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo fmt --all --check
cargo fmt --manifest-path examples/kernel/Cargo.toml --check
cargo fmt --manifest-path fuzz/Cargo.toml --check
cargo fmt --manifest-path lab/peers/Cargo.toml --check
