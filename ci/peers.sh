#!/usr/bin/env bash
# Builds all allocators that the pool is compared with, and runs each scenario on each of them, quickly: each has
# figures there, or says why not.
set -euo pipefail
cd "$(dirname "$0")/.."
# The libraries are built where the program will look for them: once.
lint=(cargo clippy --release --locked --manifest-path lab/peers/Cargo.toml)
"${lint[@]}" --target-dir "${CARGO_TARGET_DIR:-target}/peers" -- -D warnings
"${lint[@]}" --target-dir "${CARGO_TARGET_DIR:-target}/peers-checking" --no-default-features --features checking -- -D warnings
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cargo run --release -- latency --quick --peers all --json "$out/peers.json"
python3 - "$out/peers.json" <<'CHECK'
import json, sys
report = json.load(open(sys.argv[1]))
missing = [note for note in report["notes"] if "is missing" in note]
assert not missing, missing
for scenario in report["scenarios"]:
    allocators = {allocator["name"]: allocator for allocator in scenario["allocators"]}
    assert len(allocators) == 15, allocators.keys()
    for name, allocator in allocators.items():
        measured = [allocator[side] for side in ("alloc", "free", "pair") if side in allocator]
        if scenario["name"] == "interrupted" and "pool" not in name and name != "textbook-tagged":
            assert "signal handler" in allocator["cannot"], (name, allocator["cannot"])
        else:
            assert measured, (scenario["name"], name, allocator.get("cannot"))
            assert all(latency["mean"] > 0 for latency in measured), (scenario["name"], name)
    rows = {row["name"]: row for row in scenario.get("bulk", [])}
    for row in rows.values():
        measured = [row[side] for side in ("alloc", "free") if side in row]
        assert measured, (scenario["name"], row["name"], row.get("cannot"))
        assert all(latency["mean"] > 0 for latency in measured), (scenario["name"], row["name"])
    batches = [name for name in rows if name.startswith("jemalloc bulk ")]
    assert len(batches) == 3 * scenario["name"].startswith("burst-"), (scenario["name"], batches)
    if batches:
        assert all("alloc" in rows[name] and "free" not in rows[name] for name in batches), scenario["name"]
print("all of", *allocators)
CHECK
