#!/usr/bin/env bash
# The README's main command: what it must say, and leave behind.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf target/storport-pool
said=$(mktemp)
trap 'rm -f "$said"' EXIT
COLUMNS=80 cargo run --release | tee "$said"
python3 - "$said" <<'CHECK'
import json, re, sys
report = json.load(open("target/storport-pool/results.json"))
assert report["schema"] == 2 and report["machine"]["turn_ms"] == 25
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

# The summary: some ten lines, each question answered, and as the files have it.
said = open(sys.argv[1]).read()
lines = said.splitlines()
assert len(lines) <= 17 and max(map(len, lines)) <= 80, said
words = " ".join(said.split())
labels = ["Contract", "Free", "Slowest", "Allocate", "Loses", "Leak", "Page", "More"]
assert [line[:9].strip() for line in lines if re.match(r"[A-Z][a-z ]{8} [^ ]", line)] == labels, said
assert f"Contract Kept: all {len(report['contract'])} checks" in words, said
for label, next_label in zip(labels[1:4], labels[2:5]):
    answer = words.split(f" {label} ")[1].split(f" {next_label} ")[0]
    assert re.search(r"([Ff]aster than|[Ss]lower than|[Aa]bout as fast as) ", answer), (label, answer)
    for name in ["system malloc", "mimalloc"]:
        assert re.search(name + r" \([<0-9.,]+( of its time)?\)", answer), (name, answer)
blocks = sum(leak["blocks"] for leak in report["leaks"])
assert blocks > 0 and f"A driver leaked {blocks} blocks" in words, said
assert "target/storport-pool/results.html" in words and "target/storport-pool/results.json" in words, said
print("the report and its summary are complete")
CHECK
