#!/usr/bin/env bash
# The documentation, warnings denied.
set -euo pipefail
cd "$(dirname "$0")/.."
RUSTDOCFLAGS="-D warnings" cargo doc -p storport-pool --all-features --no-deps --document-private-items
