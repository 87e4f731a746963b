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
scenarios = [scenario for scenario in report["scenarios"] if "bulk" in scenario]
bulk = {scenario["name"]: {row["name"]: row for row in scenario["bulk"]} for scenario in scenarios}
bursts = {"burst-512", "burst-4224"}
batches = {"remote-25", "remote-100", "remote-n1", "remote-1n", "remote-proxy", "storport-b1"}
assert bulk.keys() == bursts | batches | {"teardown"}, bulk.keys()
for name, rows in bulk.items():
    wanted = [f"storport-pool bulk {blocks}" for blocks in (8, 32, 64)] + ["storport-pool hint"] * (name in batches)
    assert list(rows) == wanted, (name, rows.keys())
    for row in rows.values():
        assert ("alloc" in row) == (name in bursts), (name, row["name"], row.get("cannot"))
        for side in ("free", "alloc")[: 1 + (name in bursts)]:
            assert row[side]["mean_median"] > 0 and len(row[side]["turns"]) == 12, (name, row["name"], side)
assert all(check["ok"] for check in report["contract"]) and len(report["contract"]) > 20
page = open("target/storport-pool/results.html").read()
assert page.count("<h2>Bulk calls</h2>") == 1
assert "<svg" in page and "http-equiv" not in page and "src=\"http" not in page
print("the report is complete")
CHECK
