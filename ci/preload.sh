#!/usr/bin/env bash
# Other people's programs over the preload library, by LD_PRELOAD: each must answer what it answers without it, with
# restartable sequences and without, and the pool must have seen no misuse. Some three minutes; `--full`, for
# ci/deep.sh, some twenty or more, with more of each program.
set -euo pipefail
cd "$(dirname "$0")/.."
full=${1:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Names of commands and files, and the packages that have them.
missing=()
need() { [ -e "$1" ] || command -v "$1" >/dev/null || missing+=("${@:2}"); }
need redis-server redis-server redis-tools
need /usr/include/sqlite3.h libsqlite3-dev
need g++ g++
need git git
need perl perl
if [ -n "$full" ]; then
    need tclsh tcl
    need make make
    need prove perl
fi
python3 -c 'import test.test_list' 2>/dev/null || missing+=("libpython3-testsuite")
if [ ${#missing[@]} -gt 0 ]; then
    echo "installing ${missing[*]}"
    apt-get update -qq
    # Debian has the tests by Python's version alone.
    version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    apt-get install -y --no-install-recommends "${missing[@]/libpython3-testsuite/libpython$version-testsuite}" >/dev/null
fi

# The sources of a Debian package, of the release that runs here and from where its packages come: into $work/$1.
sources() {
    local options
    mkdir -p "$work/lists/partial" "$work/parts" "$work/$1"
    sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >"$work/sources.list" 2>/dev/null || true
    for part in /etc/apt/sources.list.d/debian*.sources; do
        [ ! -e "$part" ] || sed 's/^Types:.*/Types: deb-src/' "$part" >"$work/parts/${part##*/}"
    done
    options=(-qq -o "Dir::Etc::sourcelist=$work/sources.list" -o "Dir::Etc::sourceparts=$work/parts"
        -o "Dir::State::lists=$work/lists" -o APT::Sandbox::User=root -o Acquire::Retries=3)
    (cd "$work" && apt-get "${options[@]}" update && apt-get "${options[@]}" source --download-only "$1") >/dev/null &&
        tar xf "$work/$1"_*.orig.tar.xz -C "$work/$1" --strip-components=1
}
sources sqlite3 || echo "NOTE: Debian's sources of sqlite3 are not to be had; Python's sqlite3 does the work instead of speedtest1.c"
if [ -n "$full" ]; then
    sources perl || echo "NOTE: Debian's sources of perl are not to be had; its own tests are left out"
fi

cargo build -q --release -p storport-pool-preload
library=${CARGO_TARGET_DIR:-$PWD/target}/release/libstorport_preload.so
# Each function's corners, misuse, threads, handlers, forks and C++, over the library as it is shipped.
STORPORT_PRELOAD_LIBRARY=$library cargo test -q -p storport-pool-preload
python3 ci/preload.py "$library" "$work" $full
