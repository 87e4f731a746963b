//! The results on a terminal of 100 to 120 columns.

use std::path::Path;

use comfy_table::presets::{NOTHING, UTF8_BORDERS_ONLY};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width};

use super::sheets::{Sheet, bulk, latency as times, replay as acts};
use super::standing::{self, RATIOS, SLOWER, contract_summary, nowhere, slower, standings, verdict};
use super::versus::{CHANGED, CHANGES, FURTHEST, Versus};
use crate::out::{name, print};
use crate::results::Report;

const WIDTH: u16 = 112;

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

/// More columns than these stand closer, without a frame.
const MANY: usize = 10;

/// Heading, explanation, table.
fn show(sheet: &Sheet) {
    if sheet.rows.is_empty() {
        return;
    }
    let many = sheet.columns.len() > MANY;
    let mut table = Table::new();
    table
        .load_style(if many { NOTHING } else { UTF8_BORDERS_ONLY })
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(&sheet.columns);
    for row in &sheet.rows {
        table.add_row(row.cells.iter().map(|cell| &cell.text));
    }
    for (place, column) in table.column_iter_mut().enumerate() {
        if place >= sheet.words {
            column.set_cell_alignment(CellAlignment::Right);
        }
        if many {
            column.set_padding((0, 1));
            let width = if place < sheet.words { Width::Fixed(23) } else { Width::Fixed(6) };
            column.set_constraint(ColumnConstraint::Absolute(width));
        }
    }
    print(&format!("\n{}\n{}{}\n", sheet.heading.to_uppercase(), wrapped(&sheet.about), table.trim_fmt()));
    for footnote in &sheet.footnotes {
        print(&wrapped(footnote));
    }
}

/// What it runs on.
pub(crate) fn machine(report: &Report) {
    print("storport-pool: StorPortAllocatePool and StorPortFreePool outside Windows\n");
    print(&wrapped(&standing::run(&report.machine)));
}

/// The contract's tables and its summary.
pub(crate) fn contract(report: &Report) {
    for sheet in acts::contract(report) {
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

const WAVE: &str = "A ~ stands before a ratio that is too noisy to tell.";

/// How many of the worst rows are shown.
const WORST: usize = 8;

/// The scenarios, a table per measure, and who wins.
pub(crate) fn latency(report: &Report) {
    let grids = standings(report);
    show(&times::scenarios(report));
    for (place, grid) in grids.iter().enumerate() {
        let about =
            if place == 0 { format!("{RATIOS} {WAVE}") } else { "Read as the table above.".to_owned() };
        show(&times::ratios(grid, "Latency", &about));
    }
    show(&times::tails(report));
    show(&bulk::calls(report));
    show(&times::memory(report));
    show(&times::overall(&grids));
    print("\n");
    for lines in grids.iter().map(verdict).filter(|lines| !lines.is_empty()) {
        item(&lines.join(" "));
    }
    let slower = slower(&grids);
    if slower.is_empty() && !grids.is_empty() {
        print(&wrapped(nowhere(&grids)));
    }
    if !slower.is_empty() {
        let (shown, more) = slower.split_at(slower.len().min(WORST));
        let mut sheet = times::found(SLOWER, "The worst first.", ["pool, ns", "its, ns"], shown);
        if !more.is_empty() {
            sheet.footnotes.push(format!("And {} more, all in the page.", more.len()));
        }
        show(&sheet);
    }
}

/// A line of a list.
fn item(text: &str) {
    let lines = wrapped(&format!("- {text}"));
    print(&format!("{}\n", lines.trim_end().replace('\n', "\n  ")));
}

/// The phases, what the leaking adapter left, and PoolMon's table.
pub(crate) fn replay(report: &Report) {
    show(&acts::phases(report));
    show(&acts::leaks(report));
    show(&acts::tags(report));
}

/// Two runs.
pub(super) fn versus(versus: &Versus<'_>) {
    for line in versus.runs() {
        print(&wrapped(&line));
    }
    for warning in versus.warnings() {
        print(&wrapped(&format!("Note: {warning}")));
    }
    for (place, grid) in versus.grids.iter().enumerate() {
        let about =
            if place == 0 { format!("{CHANGES} {WAVE}") } else { "Read as the table above.".to_owned() };
        show(&times::ratios(grid, "b over a", &about));
    }
    let changed = versus.changed();
    show(&times::found(CHANGED, FURTHEST, ["b, ns", "a, ns"], &changed));
    print("\n");
    for line in versus.summary() {
        print(&wrapped(&line));
    }
}

/// Notes, and where the results are.
pub(crate) fn ending(report: &Report, files: [&Path; 2]) {
    print("\n");
    for note in &report.notes {
        print(&wrapped(&format!("Note: {note}")));
    }
    let [json, html] = files;
    print(&format!("Results: {}\n         {}\n", name(json), name(html)));
}
