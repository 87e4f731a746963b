#!/usr/bin/env bash
# The tests, with all their rounds: as the README's command runs them; with features, and with locked claims; with
# restartable sequences off; and the sections as they are shipped, either way.
set -euo pipefail
cd "$(dirname "$0")/.."
without_rseq() { GLIBC_TUNABLES=glibc.pthread.rseq=0 "$@"; }

STORPORT_POOL_ROUNDS=full cargo test
# What runs without rseq anyway has had its rounds. The library's tests are chosen by their names, and not by `-p`: that
# would build everything anew, with fewer features of the dependencies. Others of those names run too.
mapfile -t tests < <(cargo metadata --no-deps --format-version 1 | python3 -c '
import json, sys
packages = json.load(sys.stdin)["packages"]
library = next(package for package in packages if package["name"] == "storport-pool")
for target in library["targets"]:
    if target["kind"] == ["test"] and not target.get("required-features"):
        print("--test", target["name"], sep="\n")')
without_rseq cargo test --lib "${tests[@]}"
without_rseq cargo test --doc
cargo test -p storport-pool --features allocator-api2 --test adaptor
cargo test -p storport-pool --features allocator-api2 --doc
cargo test -p storport-pool --features tracing --test tracing
cargo test -p storport-pool --features checked --test contract --test misuse --test hook --test model --test threads
export STORPORT_POOL_ROUNDS=full
cargo test --release -p storport-pool --test sections
without_rseq cargo test --release -p storport-pool --test sections
