//! The results on a terminal of 100 to 120 columns.

use std::io::{self, Write};

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use super::compare::{Measure, contract_summary, losses, overall};
use super::files::Files;
use super::sheets::{self, Sheet};
use crate::results::Report;

const WIDTH: u16 = 112;

/// Prints; that nobody reads on (`| head`) is no fault.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Text in lines of the tables' width.
fn wrapped(text: &str) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let len = word.chars().count();
        if column > 0 && column + 1 + len > usize::from(WIDTH) {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += len;
    }
    out + "\n"
}

/// Heading, explanation, table.
fn show(sheet: &Sheet) {
    if sheet.rows.is_empty() {
        return;
    }
    let mut table = Table::new();
    table
        .load_style(UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(&sheet.columns);
    for row in &sheet.rows {
        table.add_row(&row.cells);
    }
    for column in table.column_iter_mut().skip(sheet.words) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    print(&format!("\n{}\n{}{}\n", sheet.heading.to_uppercase(), wrapped(sheet.about), table.trim_fmt()));
}

/// What it runs on.
pub(crate) fn machine(report: &Report) {
    let machine = &report.machine;
    let effort = if machine.quick { "quick (rough numbers)" } else { "full" };
    print(&format!(
        "storport-pool: StorPortAllocatePool and StorPortFreePool outside Windows\n\
         {}, {} CPUs, {}; per-CPU commits by {}; effort: {effort}\n",
        machine.cpu, machine.cpus, machine.kernel, machine.commit
    ));
}

/// The contract's tables and its summary.
pub(crate) fn contract(report: &Report) {
    for sheet in sheets::contract(report) {
        show(&sheet);
    }
    print(&format!("Contract: {}.\n", contract_summary(report)));
    for check in report.contract.iter().filter(|check| !check.ok) {
        print(&format!(
            "✗ {}: {}: expected {}, got {}\n",
            check.group, check.what, check.expected, check.got
        ));
    }
}

/// The scenarios, a table per measure, and who wins.
pub(crate) fn latency(report: &Report) {
    show(&sheets::scenarios(report));
    show(&sheets::percentiles(report, Measure::Free));
    let mut allocate = sheets::percentiles(report, Measure::Allocate);
    allocate.about = "Read as the table above.";
    show(&allocate);
    let mut pair = sheets::percentiles(report, Measure::Pair);
    pair.about = "What a block costs, allocate and free together. Read as the tables above.";
    show(&pair);
    print("\n");
    for line in overall(report) {
        print(&wrapped(&line));
    }
    let losses = losses(report);
    if losses.is_empty() {
        print("The pool loses nowhere in this run (by more than 2 %).\n");
    } else {
        print("Where the pool loses (by more than 2 %):\n");
        for loss in losses {
            let lines = wrapped(&format!("- {loss}"));
            print(&format!("{}\n", lines.trim_end().replace('\n', "\n  ")));
        }
    }
}

/// The phases, what the leaking adapter left, and PoolMon's table.
pub(crate) fn replay(report: &Report) {
    show(&sheets::phases(report));
    show(&sheets::leaks(report));
    show(&sheets::tags(report));
}

/// Notes, and where the results are.
pub(crate) fn ending(report: &Report, files: &Files) {
    print("\n");
    for note in &report.notes {
        print(&wrapped(&format!("Note: {note}")));
    }
    print(&format!("Results: {}\n         {}\n", files.json.display(), files.html.display()));
}
