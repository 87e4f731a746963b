#!/usr/bin/env bash
# The README's main command, and what it must leave behind.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf target/storport-pool
cargo run --release
python3 - <<'CHECK'
import json
report = json.load(open("target/storport-pool/results.json"))
assert report["schema"] == 2
names = [scenario["name"] for scenario in report["scenarios"]]
assert len(names) == 25 and {"pair", "hot", "cold", "remote-100", "storport-b1"} <= set(names), names
for scenario in report["scenarios"]:
    measured = {allocator["name"]: allocator for allocator in scenario["allocators"]}
    assert {"storport-pool", "mimalloc", "system"} <= measured.keys(), measured.keys()
    for allocator in measured.values():
        latencies = [allocator[side] for side in ("alloc", "free", "pair") if side in allocator]
        assert latencies or allocator["cannot"], (scenario["name"], allocator["name"])
        for latency in latencies:
            assert all(latency[key] > 0 for key in ("mean", "p50", "p99", "p999", "p9999", "max"))
assert all(check["ok"] for check in report["contract"]) and len(report["contract"]) > 20
page = open("target/storport-pool/results.html").read()
assert "<svg" in page and "http-equiv" not in page and "src=\"http" not in page
print("the report is complete")
CHECK
