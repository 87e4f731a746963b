#!/usr/bin/env bash
# Packs the corpora of the fuzz targets anew: `ci/fuzz-pack.sh [folder [target...]]`. With a folder, as
# `ci/fuzz.sh 600 folder` leaves it, libFuzzer keeps from the old inputs and the new ones those that reach something of
# their own. Without one the archives are written as they are: the same bytes, if nothing is wrong.
set -euo pipefail
cd "$(dirname "$0")/.."
new="${1:-}"
[ -z "$new" ] || [ -d "$new" ] || { echo "$new: no such folder" >&2; exit 2; }
[ $# -eq 0 ] || shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ $# -eq 0 ]; then
    mapfile -t targets < <(cd fuzz/corpus && printf '%s\n' *.tar | sed 's/\.tar$//')
else
    targets=("$@")
fi
for target in "${targets[@]}"; do
    old=$work/$target/old keep=$work/$target/keep
    mkdir -p "$old" "$keep"
    # A new target has none yet.
    [ ! -e "fuzz/corpus/$target.tar" ] || tar -xf "fuzz/corpus/$target.tar" -C "$old"
    if [ -n "$new" ]; then
        mkdir -p "$new/$target"
        cargo +nightly fuzz run --no-trace-compares "$target" "$keep" "$old" "$new/$target" -- \
            -merge=1 -max_len=4096 >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; exit 1; }
    else
        keep=$old
    fi
    before=$(find "$old" -type f | wc -l) now=$(find "$keep" -type f | wc -l)
    [ "$now" -gt 0 ] || { echo "$target: no inputs" >&2; exit 1; }
    # The same inputs make the same archive: sorted, without times, owners and modes.
    (cd "$keep" && find . -type f -printf '%P\n' | LC_ALL=C sort) >"$work/names"
    tar --format=ustar --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=0644 \
        -cf "fuzz/corpus/$target.tar" -C "$keep" -T "$work/names"
    echo "$target: $now inputs, $before before"
done
