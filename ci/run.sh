#!/usr/bin/env bash
# The README's main command, and what it must leave behind.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf target/storport-pool
cargo run --release
python3 - <<'CHECK'
import json
report = json.load(open("target/storport-pool/results.json"))
assert report["schema"] == 1
names = [scenario["name"] for scenario in report["scenarios"]]
assert names == ["pair", "hot", "cold", "remote-25", "remote-100", "storport-b1", "storport-b2"], names
for scenario in report["scenarios"]:
    measured = {allocator["name"]: allocator for allocator in scenario["allocators"]}
    assert {"storport-pool", "mimalloc", "system"} <= measured.keys(), measured.keys()
    for allocator in measured.values():
        if scenario["name"] == "pair":
            assert allocator["pair_ns"] > 0
        else:
            for side in ("alloc_ns", "free_ns"):
                assert all(allocator[side][key] > 0 for key in ("mean", "p50", "p99", "p999", "p9999", "max"))
assert all(check["ok"] for check in report["contract"]) and len(report["contract"]) > 20
page = open("target/storport-pool/results.html").read()
assert "<svg" in page and "http-equiv" not in page and "src=\"http" not in page
print("the report is complete")
CHECK
