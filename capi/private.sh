#!/usr/bin/env bash
# Makes a static library that shows nothing but this project's own names, from the one that cargo makes, for programs
# that link another Rust static library too: `capi/private.sh target/release/libstorport_pool.a libstorport_pool.a`.
# The Rust runtime's symbols become local; the driver kit's names stay objects of their own. It uses the linker and the
# objcopy that come with rustc, and ar.
set -euo pipefail
[ $# = 2 ] || { echo "usage: $0 <libstorport_pool.a of cargo's> <new library>" >&2; exit 2; }
# The linker plugins of other compilers do not know Rust's objects, and say so for each.
exec 2> >(grep -v '^bfd plugin: ' >&2 || true)
header=$(realpath "$(dirname "$0")/include/storport_pool.h")
from=$(realpath "$1")
to=$(realpath -m "$2")
rust=$(rustc --print sysroot)
tools=$rust/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# The functions that the header declares.
grep -oE '^[a-z][a-z0-9_ ]*[ *]sp_[a-z0-9_]+\(' "$header" | grep -oE 'sp_[a-z0-9_]+\($' | tr -d '(' | sort -u >names
[ -s names ] || { echo "$header declares no function" >&2; exit 1; }
# One object of what they need. Groups are resolved, so that no other library's can stand in for one of ours.
"$tools/rust-lld" -flavor gnu -r --force-group-allocation -o all.o $(sed 's/^/-u /' names) "$from"
LD_LIBRARY_PATH=$rust/lib "$tools/rust-objcopy" --keep-global-symbols=names \
    --remove-section=.llvmbc --remove-section=.llvmcmd all.o storport_pool.o
kit=$(ar t "$from" | grep -E -e '-(storport|executive|irql)\.o$')
ar x "$from" $kit
rm -f "$to"
ar rcs "$to" storport_pool.o $kit
