#!/usr/bin/env bash
# The simulated machine that interrupts before each atomic operation; free's bound, counted; and what it costs on up
# to 256 CPUs, counted (STORPORT_POOL_GROWTH=<file> keeps the figures as JSON). A failing
# seed is printed; STORPORT_POOL_SEED=<seed> replays it, STORPORT_POOL_STEPS says how long to run.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTFLAGS="--cfg storport_pool_steps" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/steps"
export STORPORT_POOL_STEPS="${STORPORT_POOL_STEPS:-300000000}"
cargo test -p storport-pool --test machine --test bound --test growth --test overtakings --test reclaimed --test half_removal --test trace_ring -- --nocapture
cargo test -p storport-pool --features checked --test machine --test bound -- --nocapture masked
