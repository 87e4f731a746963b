//! The results on a terminal.

use super::places::Files;
use super::sheets::{Sheet, bulk, latency as times, replay as acts};
use super::standing::{self, RATIOS, SLOWER, contract_summary, nowhere, slower, standings, verdict};
use super::versus::{CHANGED, CHANGES, FURTHEST, Versus};
use super::{summary as tens, table};
use crate::out::{self, print, width};
use crate::results::Report;
use crate::sink::Sink;

/// A paragraph.
fn text(text: &str) {
    print(&table::wrapped("", text, width()));
}

fn show(sheet: &Sheet) {
    print(&table::drawn(sheet, width()));
}

/// What this is.
pub(crate) fn opening() {
    text("storport-pool: the memory pool of Windows' storage drivers, outside Windows.");
}

/// What it runs on.
pub(crate) fn machine(report: &Report) {
    text(&standing::run(&report.machine));
}

/// The contract's tables and its summary.
pub(crate) fn contract(report: &Report) {
    for sheet in acts::contract(report) {
        show(&sheet);
    }
    print(&format!("Contract: {}.\n", contract_summary(report)));
    for check in report.contract.iter().filter(|check| !check.ok) {
        text(&format!("✗ {}: {}: expected {}, got {}", check.group, check.what, check.expected, check.got));
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
        print(&table::wrapped("- ", &lines.join(" "), width()));
    }
    let slower = slower(&grids);
    if slower.is_empty() && !grids.is_empty() {
        text(nowhere(&grids));
    }
    if !slower.is_empty() {
        let (shown, more) = slower.split_at(slower.len().min(WORST));
        let mut sheet = times::found(SLOWER, "The worst first.", ["pool, ns", "its, ns"], shown);
        if !more.is_empty() {
            sheet.footnotes.push(format!("And {} more; a page (--html) has all.", more.len()));
        }
        show(&sheet);
    }
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
        text(&line);
    }
    for warning in versus.warnings() {
        text(&format!("Note: {warning}"));
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
        text(&line);
    }
}

/// What a reader of the tables must know.
pub(crate) fn notes(report: &Report) {
    if !report.notes.is_empty() {
        print("\n");
    }
    for note in &report.notes {
        text(&format!("Note: {note}"));
    }
}

/// Columns of what stands before a summary's text.
const LABEL: usize = 9;

fn labelled(label: &str, what: &str) {
    print(&table::wrapped(&format!("{label:LABEL$} "), what, width()));
}

/// What all of it comes to, for somebody who has seen none of it before.
pub(crate) fn summary(report: &Report) {
    print("\n");
    for line in tens::lines(report) {
        labelled(line.label, &line.text);
    }
}

/// Where the results are. `more`: there are tables that were not shown.
pub(crate) fn files(files: &Files, more: bool) {
    let name = |sink: &Option<Sink>| sink.as_ref()?.file().map(out::name);
    let (page, data) = (name(&files.html), name(&files.json));
    if more {
        if let Some(page) = page {
            labelled("Page", &page);
        }
        let data = data.map(|data| format!(" Data: {data}")).unwrap_or_default();
        labelled("More", &format!("All tables here: --verbose.{data}"));
    } else {
        let mut label = "\nResults:";
        for file in data.into_iter().chain(page) {
            print(&format!("{label} {file}\n"));
            label = "        ";
        }
    }
}
