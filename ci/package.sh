#!/usr/bin/env bash
# The package as it would be published, built from its own archive.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo package -p storport-pool --locked "$@"
