#!/usr/bin/env bash
# Each of criterion's benchmarks runs once.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo bench -q -p storport-pool-benches --bench means -- --test
