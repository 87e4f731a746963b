//! The results as one self-contained page: no script, nothing from the network.

use super::charts;
use super::compare::{Measure, contract_summary, losses, overall};
use super::sheets::{self, Sheet};
use crate::results::Report;

const STYLE: &str = include_str!("page.css");

/// The page.
///
/// # Errors
/// A sentence, when a chart could not be drawn.
pub(super) fn render(report: &Report) -> Result<String, String> {
    let mut body = headline(report);
    if !report.scenarios.is_empty() {
        body += &latency(report)?;
    }
    let replayed = [sheets::phases(report), sheets::leaks(report), sheets::tags(report)];
    for sheet in replayed.iter().chain(&sheets::contract(report)) {
        body += &section(sheet);
    }
    body += &ending(report);
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>storport-pool: results</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    ))
}

/// Text as it may stand in a page.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\n', "<br>")
}

fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escape(text))
}

fn heading(title: &str, about: &str) -> String {
    format!("<h2>{}</h2>\n<p class=\"dim\">{}</p>\n", escape(title), escape(about))
}

fn list(items: &[String]) -> String {
    let items: String = items.iter().map(|item| format!("<li>{}</li>\n", escape(item))).collect();
    format!("<ul>\n{items}</ul>\n")
}

/// Heading, explanation, table; nothing of an empty one.
fn section(sheet: &Sheet) -> String {
    if sheet.rows.is_empty() {
        return String::new();
    }
    heading(&sheet.heading, sheet.about) + &table(sheet)
}

fn table(sheet: &Sheet) -> String {
    let class = |place: usize, cell: &str| match cell {
        // A ratio below 1: the pool loses.
        _ if cell.starts_with("0.") && cell.ends_with('x') => " class=\"n bad\"",
        _ if place >= sheet.words => " class=\"n\"",
        "✓" => " class=\"good\"",
        "✗" => " class=\"bad\"",
        _ => "",
    };
    let mut out = String::from("<div class=\"scroll\"><table>\n<thead><tr>");
    for (place, column) in sheet.columns.iter().enumerate() {
        out += &format!("<th{}>{}</th>", class(place, column), escape(column));
    }
    out += "</tr></thead>\n<tbody>\n";
    for row in &sheet.rows {
        out += if row.first { "<tr class=\"first\">" } else { "<tr>" };
        for (place, cell) in row.cells.iter().enumerate() {
            out += &format!("<td{}>{}</td>", class(place, cell), escape(cell));
        }
        out += "</tr>\n";
    }
    out + "</tbody>\n</table></div>\n"
}

fn headline(report: &Report) -> String {
    let mut out = String::from(
        "<h1>storport-pool</h1>\n<p class=\"dim\">StorPortAllocatePool and StorPortFreePool outside Windows: \
         the contract checked live, Storport workloads replayed, latency beside other allocators.</p>\n\
         <div class=\"headline\">\n",
    );
    if !report.contract.is_empty() {
        out += &paragraph(&format!("Contract: {}.", contract_summary(report)));
    }
    for line in overall(report) {
        out += &paragraph(&line);
    }
    if !report.leaks.is_empty() {
        let blocks: u64 = report.leaks.iter().map(|leak| leak.blocks).sum();
        out += &paragraph(&format!(
            "Removing the leaking adapter named all {blocks} blocks it had left, by tag."
        ));
    }
    if report.machine.quick {
        out += &paragraph("A quick run: the numbers are rough.");
    }
    out + "</div>\n"
}

fn latency(report: &Report) -> Result<String, String> {
    let mut out = section(&sheets::scenarios(report));
    out += &section(&sheets::means(report));
    let losses = losses(report);
    if losses.is_empty() {
        out += &paragraph("The pool loses nowhere in this run (by more than 2 %).");
    } else {
        out += "<h3>Where the pool loses (by more than 2 %)</h3>\n";
        out += &list(&losses);
    }
    out += &legend(report, false);
    out += "<div class=\"grid two\">\n";
    for measure in Measure::ALL {
        if let Some(chart) = charts::means(report, measure)? {
            out += &figure(&format!("Mean of {}", measure.name()), &chart);
        }
    }
    out += "</div>\n";
    out += &tails(report)?;
    for measure in [Measure::Free, Measure::Allocate] {
        out += &section(&sheets::percentiles(report, measure));
    }
    Ok(out)
}

fn figure(caption: &str, chart: &str) -> String {
    format!("<figure><figcaption>{}</figcaption>{chart}</figure>\n", escape(caption))
}

/// The percentiles of free, a chart for each scenario that has them.
fn tails(report: &Report) -> Result<String, String> {
    let mut figures = String::new();
    for scenario in &report.scenarios {
        if let Some(chart) = charts::percentiles(scenario, &report.timer)? {
            figures += &figure(&scenario.name, &chart);
        }
    }
    if figures.is_empty() {
        return Ok(figures);
    }
    let about = "Each free timed alone, the timer included. Times are logarithmic. The maximum is one operation \
                 out of all and holds whatever interrupted it.";
    let (heading, legend) = (heading("The tail of free", about), legend(report, true));
    Ok(format!("{heading}{legend}<div class=\"grid\">\n{figures}</div>\n"))
}

/// The series' colours; the same in all charts.
fn legend(report: &Report, timer: bool) -> String {
    let names = report.scenarios.first().map(|scenario| scenario.allocators.as_slice()).unwrap_or_default();
    let mut out = String::from("<div class=\"legend\">");
    for (place, measured) in names.iter().enumerate() {
        let name = escape(&measured.name);
        out += &format!("<span><i style=\"background:var(--series-{})\"></i>{name}</span>", place % 4);
    }
    if timer {
        out += "<span><i style=\"background:var(--timer)\"></i>empty timer</span>";
    }
    out + "</div>\n"
}

fn ending(report: &Report) -> String {
    let machine = &report.machine;
    let mut lines = vec![
        format!("{}, {} CPUs, {}", machine.cpu, machine.cpus, machine.kernel),
        format!("Per-CPU commits by {}", machine.commit),
    ];
    if !report.scenarios.is_empty() {
        lines.push(if machine.pinned { "Threads pinned to CPUs" } else { "Threads not pinned" }.to_owned());
    }
    lines.push(if machine.quick { "A quick run" } else { "A full run" }.to_owned());
    let mut out = format!("<h2>The machine</h2>\n{}", list(&lines));
    if !report.notes.is_empty() {
        out += &format!("<h2>Notes</h2>\n{}", list(&report.notes));
    }
    out
}
