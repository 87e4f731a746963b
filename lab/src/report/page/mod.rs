//! The results as one self-contained page: no script, nothing from the network.

mod drawn;
mod heat;
mod markup;

use super::charts::ratios as ratios_chart;
use super::grid::{Grid, allocators};
use super::ratio::Measure;
use super::sheets::{bulk, latency, replay};
use super::standing::{self, RATIOS, SLOWER, contract_summary, nowhere, slower, standings, verdict};
use super::versus::{CHANGED, CHANGES, FURTHEST, Versus};
use crate::results::Report;
use markup::{dim, escape, heading, list, paragraph, section};

const PALETTE: &str = include_str!("palette.css");
const STYLE: &str = concat!(include_str!("palette.css"), include_str!("page.css"));

/// The page of a run.
///
/// # Errors
/// A sentence, when a chart could not be drawn.
pub(super) fn render(report: &Report) -> Result<String, String> {
    let grids = standings(report);
    let mut body = headline(report, &grids);
    body += &ratios(report, &grids)?;
    if !report.scenarios.is_empty() {
        body += &drawn::growth(report)?;
        body += &drawn::cpus(report)?;
        body += &drawn::percentiles(report)?;
        body += &drawn::over_time(report)?;
        body += &drawn::resident_bytes(report)?;
        body += &section(&latency::memory(report));
        body += &losses(&grids);
        body += &section(&bulk::calls(report));
        body += &section(&latency::scenarios(report));
    }
    let mut sheets = vec![replay::phases(report), replay::leaks(report), replay::tags(report)];
    sheets.extend(replay::contract(report));
    sheets.extend(Measure::ALL.map(|measure| latency::percentiles(report, measure)));
    body.extend(sheets.iter().map(section));
    body += &notes(report);
    Ok(markup::page("storport-pool: results", STYLE, &body))
}

/// The page of two runs.
pub(super) fn render_versus(versus: &Versus<'_>) -> String {
    let mut body = String::from("<h1>storport-pool: b against a</h1>\n");
    for line in versus.runs() {
        body += &paragraph(&line);
    }
    body += "<div class=\"headline\">\n";
    for line in versus.summary().iter().chain(&versus.warnings()) {
        body += &paragraph(line);
    }
    body += "</div>\n";
    let changed = versus.changed();
    body += &section(&latency::found(CHANGED, FURTHEST, ["b, ns", "a, ns"], &changed));
    if !versus.grids.is_empty() {
        body += &(heading("All ratios", CHANGES) + &heat::key());
    }
    body += &heats(&versus.grids, ["b", "a"]);
    markup::page("storport-pool: b against a", STYLE, &body)
}

fn heats(grids: &[Grid], between: [&str; 2]) -> String {
    let heat = |grid| {
        format!("<div>\n<h3>{}</h3>\n{}</div>\n", escape(&Grid::name(grid)), heat::table(grid, between))
    };
    format!("<div class=\"heats\">\n{}</div>\n", grids.iter().map(heat).collect::<String>())
}

fn headline(report: &Report, grids: &[Grid]) -> String {
    let mut out = String::from(
        "<h1>storport-pool</h1>\n<p class=\"dim\">StorPortAllocatePool and StorPortFreePool outside Windows: \
         the contract checked live, Storport workloads replayed, latency beside other allocators.</p>\n\
         <div class=\"headline\">\n",
    );
    if !report.contract.is_empty() {
        out += &paragraph(&format!("Contract: {}.", contract_summary(report)));
    }
    for grid in grids {
        let lines = verdict(grid);
        if let Some((first, rest)) = lines.split_first() {
            out += &format!("<p><b>{}</b> {}</p>\n", escape(first), escape(&rest.join(" ")));
        }
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
    out + "</div>\n" + &dim(&format!("{}.", standing::run(&report.machine)))
}

fn ratios(report: &Report, grids: &[Grid]) -> Result<String, String> {
    let Some(first) = grids.first() else { return Ok(String::new()) };
    let chart = drawn::ratios(report, first)?;
    Ok(heading("The pool's time over the others'", RATIOS)
        + &chart
        + &heat::key()
        + &heats(grids, ["pool", "other"]))
}

/// The ratios of free by themselves, as an SVG that brings its colours.
///
/// # Errors
/// A sentence, when the run has none, or the chart could not be drawn.
pub(super) fn chart(report: &Report) -> Result<String, String> {
    let grids = standings(report);
    let drawing = match grids.first() {
        Some(grid) => ratios_chart::draw(grid, &allocators(report))?,
        None => None,
    };
    let drawing = drawing.ok_or("has no ratios to draw")?;
    let style =
        format!("<style>\n{PALETTE}svg {{ background: var(--paper); color: var(--ink); }}\n</style>\n");
    // The first tag's end.
    let (tag, rest) = drawing.split_once('>').ok_or("makes no drawing")?;
    Ok(format!("{tag}>\n{style}{rest}"))
}

/// Where the pool is slower.
fn losses(grids: &[Grid]) -> String {
    let slower = slower(grids);
    if grids.is_empty() {
        String::new()
    } else if slower.is_empty() {
        heading(SLOWER, nowhere(grids))
    } else {
        section(&latency::found(SLOWER, "All such rows, the worst first.", ["pool, ns", "its, ns"], &slower))
    }
}

fn notes(report: &Report) -> String {
    let mut lines = report.notes.clone();
    if !report.scenarios.is_empty() {
        let pinned =
            if report.machine.pinned { "Threads were pinned to CPUs." } else { "Threads were not pinned." };
        lines.push(pinned.to_owned());
    }
    if lines.is_empty() { String::new() } else { format!("<h2>Notes</h2>\n{}", list(&lines)) }
}

#[cfg(test)]
mod tests {
    use super::super::made_up;
    use super::*;

    #[test]
    fn every_shape_makes_a_page_that_stands_alone() {
        for report in made_up::shapes() {
            let page = render(&report).unwrap();
            for wrong in [
                "<script",
                "<link",
                "src=",
                "url(",
                "NaN",
                "inf ",
                "peer <",
                "#010",
                "stroke-dasharray=\"\" ",
            ] {
                assert!(!page.contains(wrong), "{wrong} in {page}");
            }
            assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        }
    }

    #[test]
    fn the_chart_brings_its_colours() {
        let shapes = made_up::shapes();
        let drawing = chart(&shapes[6]).unwrap();
        assert!(drawing.starts_with("<svg ") && drawing.contains("--hue-6: #"), "{drawing}");
        // One mark for each of 13 others, in the legend, in its row, and for the mean.
        assert_eq!(drawing.matches("<circle").count(), 3 * 7);
        for part in ["\nhot\n", "\ngeometric mean\n", "\nthe pool is faster\n", "\npeer &lt;1&gt;\n"] {
            assert!(drawing.contains(part), "no {part} in {drawing}");
        }
        assert!(chart(&shapes[0]).unwrap_err().contains("no ratios"));
    }

    #[test]
    fn many_allocators_are_all_named_beside_their_curves() {
        let report = &made_up::shapes()[6];
        let page = render(report).unwrap();
        assert!(page.contains("heat upright") && page.contains("x &lt; y"));
        for peer in 0..14 {
            // Legend, grids, curve, memory bars, tables.
            assert!(page.matches(&format!("peer &lt;{peer}&gt;")).count() >= 5, "{peer}");
        }
    }
}
