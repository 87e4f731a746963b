#!/usr/bin/env bash
# Runs each fuzz target for so many seconds (default 60), from the committed corpus, by a nightly toolchain; as many
# targets at a time as there are processors. `ci/fuzz.sh [seconds [folder]]`: what is new goes into the folder, for
# ci/fuzz-pack.sh to pack; without one it is thrown away.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds="${1:-60}"
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "cargo-fuzz is missing: installing it by 'cargo install cargo-fuzz --locked'"
    cargo install cargo-fuzz --locked
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
new=$work/new
if [ $# -gt 1 ]; then
    mkdir -p "$2"
    new=$(realpath "$2")
fi
# Its lock file is checked here; cargo-fuzz has no such flag.
cargo +nightly metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
# Inputs are structures: what the code compares with helps little to find them, and costs a third of the time.
fast=--no-trace-compares
cargo +nightly fuzz build $fast
targets=$(cargo +nightly fuzz list)
packed=$(cd fuzz/corpus && printf '%s\n' *.tar | sed 's/\.tar$//')
[ "$targets" = "$packed" ] || { echo "targets without a corpus, or none: $targets" >&2; exit 1; }

# One target; its verdict goes to standard output, what went wrong to standard error.
fuzz() {
    local target=$1 corpus=$work/corpus/$1 log=$work/$1.log files found read_in runs
    mkdir -p "$new/$target" "$corpus"
    tar -xf "fuzz/corpus/$target.tar" -C "$corpus"
    files=$(find "$corpus" -type f | wc -l)
    [ "$files" -gt 0 ] || { echo "$target: no corpus" >&2; return 1; }
    if ! cargo +nightly fuzz run $fast "$target" "$new/$target" "$corpus" -- \
        -max_total_time="$seconds" -timeout=60 -len_control=0 -max_len=4096 -print_final_stats=1 \
        >"$log" 2>&1; then
        # The stack of a panic is long, and its reason stands before it.
        grep -m 1 -A 4 'panicked at' "$log" >&2 || true
        tail -n 40 "$log" >&2
        found=$(grep -o 'Test unit written to .*' "$log" | sed 's/.* //' || true)
        echo "$target failed; replay: cargo +nightly fuzz run $target ${found:-<file>}" >&2
        return 1
    fi
    # A run that did nothing is no pass: it read the whole corpus, and went on from there.
    read_in=$(sed -n 's/^INFO: seed corpus: files: \([0-9]*\).*/\1/p' "$log")
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    if [ "${read_in:-0}" -lt "$files" ] || [ "${runs:-0}" -le "$files" ]; then
        echo "$target: ${read_in:-no} files of $files read, ${runs:-no} runs" >&2
        return 1
    fi
    echo "$target: $runs runs in $seconds s, from $files files: nothing found"
}
export -f fuzz
export work new seconds fast
echo "$targets" | xargs -P "$(nproc)" -I '{}' bash -euo pipefail -c 'fuzz {}'
