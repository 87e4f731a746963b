#!/usr/bin/env bash
# The library builds by the oldest Rust that Cargo.toml promises (`rust-version`), with each set of features. rustup
# installs that toolchain. Where it cannot, Clippy's lint `incompatible_msrv` is all there is (ci/clippy.sh has it).
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(cargo metadata --no-deps --format-version 1 | python3 -c '
import json, sys
packages = json.load(sys.stdin)["packages"]
print(next(package["rust_version"] for package in packages if package["name"] == "storport-pool"))')
toolchain=$(cut -d. -f1-2 <<<"$version").0
if ! cargo "+$toolchain" --version >/dev/null 2>&1; then
    rustup toolchain install "$toolchain" --profile minimal >/dev/null 2>&1 || {
        echo "NOTE: Rust $toolchain is not to be had; only Clippy's lint knows that the library needs no newer one"
        exit 0
    }
fi
export RUSTFLAGS="-D warnings" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/msrv"
for features in "--all-features" "" "--no-default-features" "--no-default-features --features alloc"; do
    # shellcheck disable=SC2086
    cargo "+$toolchain" check --quiet --locked -p storport-pool $features
done
echo "Rust $toolchain builds the library"
