#!/usr/bin/env bash
# Counts the instructions of both fast paths in the release build: from the entry to the first
# return. No lock prefix, no call, no backward jump may stand on them.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(uname -m)" = x86_64 ] || { echo "the budget is for x86-64" >&2; exit 1; }
cargo build --release --example fast_paths
python3 - target/release/examples/fast_paths <<'CHECK'
import re, subprocess, sys

# The functions that programs call and that the program measures.
BUDGET = {"storport_pool4free4free": 38, "storport_pool8allocate8allocate": 56}
listing = subprocess.run(
    ["objdump", "-d", "--no-show-raw-insn", "-M", "intel", sys.argv[1]],
    check=True, capture_output=True, text=True,
).stdout
failed = False
for symbol, budget in BUDGET.items():
    body = re.search(rf"<_ZN13{symbol}17h\w+>:\n(.*?)\n\n", listing, re.S).group(1)
    path = []
    for line in body.splitlines():
        address, _, text = line.strip().partition(":")
        path.append((int(address, 16), text.strip()))
        if text.strip().startswith("ret"):
            break
    faults = []
    for address, text in path:
        mnemonic, _, operands = text.partition(" ")
        if "lock" in text.split() or mnemonic == "xchg" and "[" in operands:
            faults.append(f"locked: {text}")
        if mnemonic == "call":
            faults.append(f"call: {text}")
        target = re.match(r"\s*([0-9a-f]+)\b", operands) if mnemonic.startswith("j") else None
        if target and path[0][0] <= int(target.group(1), 16) <= address:
            faults.append(f"backward jump: {text}")
    if not path[-1][1].startswith("ret"):
        faults.append("no return found")
    if len(path) > budget:
        faults.append(f"{len(path)} instructions, {budget} allowed")
    print(f"{symbol}: {len(path)} instructions of {budget}")
    for fault in faults:
        print(f"  {fault}")
    failed |= bool(faults)
sys.exit(failed)
CHECK
