#!/usr/bin/env bash
# Instructions of each call over the portable commit, counted by Valgrind, against ci/instructions.golden. A count
# that grows by more than 2 % fails, and so does one that is missing; `ci/instructions.sh --write` accepts what is.
# (2 %: the system's allocator, which adding an adapter calls, and the compiler's choices outside the pool; the
# pool's own counts repeat exactly.)
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n '/^name = "gungraun"$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)
if ! gungraun-runner --version 2>/dev/null | grep -qF "$version"; then
    echo "gungraun-runner $version is missing: installing it by 'cargo install gungraun-runner'"
    cargo install gungraun-runner --version "$version" --locked
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo bench -q --bench instructions >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
python3 - "$log" ci/instructions.golden "${1:-}" <<'COMPARE'
import re, sys
log, golden, write = sys.argv[1:]
name, counts = None, {}
for line in open(log):
    if found := re.match(r"instructions::calls::(\w+) (\w+):", line):
        name = " ".join(found.groups())
    elif found := re.match(r"\s+Instructions:\s+(\d+)", line):
        counts[name] = int(found.group(1))
if write == "--write":
    with open(golden, "w") as file:
        file.writelines(f"{count:8} {name}\n" for name, count in counts.items())
known = {name: int(count) for count, name in (line.split(maxsplit=1) for line in map(str.strip, open(golden)))}
wrong = [f"{name}: not counted" for name in known.keys() - counts.keys()]
wrong += [f"{name}: not in {golden}" for name in counts.keys() - known.keys()]
for name, count in counts.items():
    print(f"{count:8} {name}")
    if count > known.get(name, count) * 1.02:
        wrong.append(f"{name}: {count} instructions, were {known[name]}")
assert len(counts) > 10, "nothing was counted"
if wrong:
    sys.exit("\n".join(wrong))
COMPARE
