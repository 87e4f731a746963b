#!/usr/bin/env bash
# Makes a static library that shows nothing but this project's own names, from the one that cargo makes, for programs
# that link another Rust static library too: `capi/private.sh target/release/libstorport_pool.a libstorport_pool.a`.
# Needs GNU ld, objcopy, nm and ar. The Rust runtime's symbols become local; the driver kit's names stay objects of their
# own.
set -euo pipefail
# Rust's objects are no work for the linker plugins of other compilers, which say so for each.
exec 2> >(grep -v '^bfd plugin: ' >&2 || true)
[ $# = 2 ] || { echo "usage: $0 <libstorport_pool.a of cargo's> <new library>" >&2; exit 2; }
from=$(realpath "$1")
to=$(realpath -m "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
ar x "$from"
mkdir kit
mv ./*-storport.o ./*-executive.o ./*-irql.o kit/
# The interface: what begins with sp_, but for what the objects use among themselves.
nm -g --defined-only ./*.o 2>/dev/null | awk 'NF == 3 && $2 == "T" && $3 ~ /^sp_/ { print $3 }' \
    | grep -vx -e sp_extended_by_code -e sp_pin_module | sort -u >names
[ -s names ] || { echo "$from defines no name that begins with sp_" >&2; exit 1; }
ar rcs all.a ./*.o
# One object of what the interface needs. Groups are resolved, so that no other library's can stand in for one of ours.
ld.bfd -r --force-group-allocation -o storport_pool.o $(sed 's/^/-u /' names) all.a
objcopy --keep-global-symbols=names storport_pool.o
rm -f "$to"
ar rcs "$to" storport_pool.o kit/*.o
