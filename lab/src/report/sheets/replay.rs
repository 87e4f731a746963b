//! The contract and the replay.

use super::super::text::{delta, grouped, ns};
use super::{Cell, Sheet, Tone};
use crate::results::Report;

/// The contract, a table for each group of checks.
pub(in super::super) fn contract(report: &Report) -> Vec<Sheet> {
    let groups = [
        (
            "allocate",
            "Contract: StorPortAllocatePool",
            "Each documented status, produced live (STOR_STATUS_ is left out). Out: what the out pointer is afterwards.",
        ),
        (
            "free",
            "Contract: StorPortFreePool",
            "Each documented status. \"then SUCCESS\": the refused free left the block alive, and the right one frees it.",
        ),
        (
            "misuse",
            "Contract: misuse",
            "Refused, and reported with the bug check Windows would have stopped with (code/parameter 1). \
             Intact: the count of live blocks is as before, and a correct allocate and free work afterwards.",
        ),
    ];
    let mut sheets = Vec::new();
    for (group, heading, about) in groups {
        let mut sheet = Sheet::new(heading, about, &["", "call", "expected", "got"], 4);
        for check in report.contract.iter().filter(|check| check.group == group) {
            let mark = if check.ok { Cell::new("✓", Tone::Good) } else { Cell::new("✗", Tone::Bad) };
            // Misuse says more: its status on a line of its own.
            let cell =
                |text: &str| if group == "misuse" { text.replacen(", ", "\n", 1) } else { text.to_owned() };
            let words = [check.what.clone(), cell(&check.expected), cell(&check.got)];
            sheet.row(false, std::iter::once(mark).chain(words.map(Cell::from)));
        }
        sheets.push(sheet);
    }
    sheets
}

/// The phases of the replay.
pub(in super::super) fn phases(report: &Report) -> Sheet {
    let columns = ["phase", "allocator", "blocks", "bytes", "allocate ns", "free ns"];
    let about = "ns per block, the median of several rounds; allocate includes the first write into the block, and \
                 phases of one or two blocks include the timer. Phase B, the I/O itself, is the scenarios \
                 storport-b1 and storport-b2. What a phase allocates follows public drivers; how often is assumed.";
    let mut sheet = Sheet::new("Replay: a disk controller's life", about, &columns, 2);
    let mut last = "";
    for phase in &report.phases {
        let first = phase.name != last;
        last = &phase.name;
        let name = if first { phase.name.clone() } else { String::new() };
        let numbers = [grouped(phase.blocks), grouped(phase.bytes), ns(phase.alloc_ns), ns(phase.free_ns)];
        sheet.row(first, [name, phase.allocator.clone()].into_iter().chain(numbers));
    }
    sheet
}

/// What a removed adapter had left.
pub(in super::super) fn leaks(report: &Report) -> Sheet {
    let about = "An adapter was removed with blocks outstanding; the pool names them by tag.";
    let columns = ["adapter", "tag", "blocks", "bytes"];
    let mut sheet = Sheet::new("Replay: what the leaking adapter left", about, &columns, 2);
    for leak in &report.leaks {
        sheet.row(false, [leak.adapter.clone(), leak.tag.clone(), grouped(leak.blocks), grouped(leak.bytes)]);
    }
    sheet
}

/// PoolMon's table.
pub(in super::super) fn tags(report: &Report) -> Sheet {
    let about =
        "The replay's pool at its end, in PoolMon's columns; in parentheses, the change since its start.";
    let columns = ["Tag", "Type", "Allocs", "( )", "Frees", "( )", "Diff", "Bytes", "( )", "Per Alloc"];
    let mut sheet = Sheet::new("Replay: the tag table", about, &columns, 2);
    for tag in &report.tags {
        let cells = [
            tag.tag.clone(),
            tag.kind.clone(),
            grouped(tag.allocs),
            delta(tag.allocs_delta),
            grouped(tag.frees),
            delta(tag.frees_delta),
            grouped(tag.diff),
            grouped(tag.bytes),
            delta(tag.bytes_delta),
            grouped(tag.per_alloc),
        ];
        sheet.row(false, cells);
    }
    sheet
}
