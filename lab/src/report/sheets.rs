//! Each table once, as rows of text; terminal and page draw them.

use super::compare::{ASSUMPTION, LEGEND, Measure, pool, rows};
use super::text::{delta, factor, grouped, ns};
use crate::results::{Latency, Report};

/// A table.
pub(super) struct Sheet {
    pub(super) heading: String,
    /// A sentence for who never saw the project.
    pub(super) about: &'static str,
    pub(super) columns: Vec<&'static str>,
    /// So many columns hold words, the others numbers.
    pub(super) words: usize,
    pub(super) rows: Vec<Row>,
}

/// A row of a table.
pub(super) struct Row {
    /// The first of its group.
    pub(super) first: bool,
    pub(super) cells: Vec<String>,
}

impl Sheet {
    fn new(heading: impl Into<String>, about: &'static str, columns: &[&'static str], words: usize) -> Sheet {
        Sheet { heading: heading.into(), about, columns: columns.to_vec(), words, rows: Vec::new() }
    }

    fn row(&mut self, first: bool, cells: impl IntoIterator<Item = String>) {
        self.rows.push(Row { first, cells: cells.into_iter().collect() });
    }
}

/// The contract, a table for each group of checks.
pub(super) fn contract(report: &Report) -> Vec<Sheet> {
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
            let mark = if check.ok { "✓" } else { "✗" };
            // Misuse says more: its status on a line of its own.
            let cell =
                |text: &str| if group == "misuse" { text.replacen(", ", "\n", 1) } else { text.to_owned() };
            sheet.row(false, [mark.to_owned(), check.what.clone(), cell(&check.expected), cell(&check.got)]);
        }
        sheets.push(sheet);
    }
    sheets
}

/// What each scenario does.
pub(super) fn scenarios(report: &Report) -> Sheet {
    let mut sheet = Sheet::new("Latency: the scenarios", ASSUMPTION, &["scenario", "what happens"], 2);
    for scenario in &report.scenarios {
        sheet.row(false, [scenario.name.clone(), scenario.about.clone()]);
    }
    sheet
}

/// All means, with their ratios to the pool.
pub(super) fn means(report: &Report) -> Sheet {
    let columns = ["scenario", "allocator", "free", "vs pool", "allocate", "vs pool", "both", "vs pool"];
    let about = "The means of free, of allocate, and of both together.";
    let mut sheet = Sheet::new("Means, in ns", about, &columns, 2);
    for scenario in &report.scenarios {
        for (place, measured) in scenario.allocators.iter().enumerate() {
            let name = if place == 0 { scenario.name.as_str() } else { "" };
            let mut cells = vec![name.to_owned(), measured.name.clone()];
            for measure in Measure::ALL {
                let mean = measure.mean(measured);
                let own = pool(scenario).and_then(|pool| measure.mean(pool)).filter(|_| place > 0);
                cells.push(mean.map(ns).unwrap_or_default());
                cells.push(mean.zip(own).map(|(mean, own)| factor(mean / own)).unwrap_or_default());
            }
            sheet.row(place == 0, cells);
        }
    }
    sheet
}

/// The distribution of a measure, the empty timer on top.
pub(super) fn percentiles(report: &Report, measure: Measure) -> Sheet {
    let columns = ["scenario", "allocator", "mean", "median", "p50", "p99", "p99.9", "max", "vs pool"];
    let mut sheet = Sheet::new(format!("Latency: {}, in ns", measure.name()), LEGEND, &columns, 2);
    let rows = rows(report, measure);
    if !rows.is_empty() {
        sheet.row(false, latency_cells("(empty timer)", "", &report.timer, None));
    }
    for row in rows {
        if let Some(latency) = measure.latency(row.measured) {
            let cells = latency_cells(row.scenario, &row.measured.name, latency, row.ratio);
            sheet.row(!row.scenario.is_empty(), cells);
        }
    }
    sheet
}

fn latency_cells(scenario: &str, name: &str, latency: &Latency, ratio: Option<f64>) -> Vec<String> {
    let Latency { mean, mean_median, p50, p99, p999, max, .. } = *latency;
    let mut cells = vec![scenario.to_owned(), name.to_owned()];
    cells.extend([mean, mean_median, p50, p99, p999, max].map(ns));
    cells.push(ratio.map(factor).unwrap_or_default());
    cells
}

/// The phases of the replay.
pub(super) fn phases(report: &Report) -> Sheet {
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
pub(super) fn leaks(report: &Report) -> Sheet {
    let about = "An adapter was removed with blocks outstanding; the pool names them by tag.";
    let columns = ["adapter", "tag", "blocks", "bytes"];
    let mut sheet = Sheet::new("Replay: what the leaking adapter left", about, &columns, 2);
    for leak in &report.leaks {
        sheet.row(false, [leak.adapter.clone(), leak.tag.clone(), grouped(leak.blocks), grouped(leak.bytes)]);
    }
    sheet
}

/// PoolMon's table.
pub(super) fn tags(report: &Report) -> Sheet {
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
