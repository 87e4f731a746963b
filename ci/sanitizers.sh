#!/usr/bin/env bash
# The library's tests under AddressSanitizer, by a nightly toolchain with its runtime: with restartable
# sequences, with the portable twin, and with free blocks poisoned. Then tests/races.rs under ThreadSanitizer.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTFLAGS="-Zsanitizer=address" RUSTDOCFLAGS="-Zsanitizer=address"
# A target of its own: the flags would rebuild everything else. The host's triple keeps build scripts plain.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/sanitizers"
# Tests leak the metadata that they give to pools.
export ASAN_OPTIONS=detect_leaks=0
host=$(rustc -vV | sed -n 's/^host: //p')
tests=(--test aligned --test image --test contract --test misuse --test hook --test model --test accounts --test threads --test safe)
cargo +nightly test --target "$host" -p storport-pool --features verifier --lib --test verifier --test verified_races "${tests[@]}"
GLIBC_TUNABLES=glibc.pthread.rseq=0 cargo +nightly test --target "$host" -p storport-pool --features verifier "${tests[@]}"
RUSTFLAGS+=" --cfg storport_pool_asan" cargo +nightly test --target "$host" -p storport-pool --test poison "${tests[@]}"
export RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" STORPORT_POOL_ROUNDS=full
export TSAN_OPTIONS="halt_on_error=1 exitcode=66"
races=(cargo +nightly test --target "$host" -p storport-pool --test races)
"${races[@]}"
# It must report what is wrong, or it says nothing.
log="$CARGO_TARGET_DIR/mistake.log"
if STORPORT_POOL_MISTAKE=1 "${races[@]}" >"$log" 2>&1 || ! grep -q "WARNING: ThreadSanitizer: data race" "$log"; then
    cat "$log" >&2
    echo "ThreadSanitizer reported no race where there is one" >&2
    exit 1
fi
echo "ThreadSanitizer is at work"
