#!/usr/bin/env bash
# Restartable sections that take long: preempted, migrated, interrupted and forked in the middle. Prints how
# often each was aborted.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTFLAGS="--cfg storport_pool_stretch" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/stretch"
cargo test -p storport-pool --test stretched -- --nocapture
cargo test -p storport-pool --test threads
