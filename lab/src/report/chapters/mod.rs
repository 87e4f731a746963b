//! What is told of a run, or of two, in the order of the page.

mod drawn;
mod summary;

use super::charts::{Drawing, panels};
use super::document::{Document, Figure, Figures, Kind, Part, Term};
use super::grid::{Grid, allocators};
use super::ratio::Measure;
use super::sheets::{bulk, latency, replay};
use super::standing::{self, ASSUMPTION, RATIOS, SLOWER, nowhere, slower, verdict};
use super::versus::{CHANGED, CHANGES, FURTHEST, Versus};
use super::whom;
use crate::peers;
use crate::results::Report;

const LEAD: &str = "StorPortAllocatePool and StorPortFreePool outside Windows: the contract checked live, Storport workloads \
    replayed, latency beside other allocators.";

/// What a run found. `grids` are its standings.
pub(super) fn run<'a>(report: &'a Report, grids: &'a [Grid]) -> Document<'a> {
    let mut told = Document {
        title: "storport-pool: results".to_owned(),
        lead: LEAD.to_owned(),
        summary: summary::of(report, grids),
        words: if grids.is_empty() { Vec::new() } else { summary::words(&report.machine) },
        under: vec![format!("{}.", standing::run(&report.machine))],
        sections: Vec::new(),
    };
    if !report.scenarios.is_empty() {
        told.section("Who is compared", vec![Part::Terms(allocators_told(report))]);
        told.section(
            "The scenarios",
            vec![Part::Text(ASSUMPTION.to_owned()), Part::Terms(scenarios_told(report))],
        );
    }
    drawn::growth(&mut told, report);
    drawn::cpus(&mut told, report);
    ratios(&mut told, report, grids);
    if !report.scenarios.is_empty() {
        losses(&mut told, grids);
        drawn::percentiles(&mut told, report);
        drawn::over_time(&mut told, report);
        drawn::resident_bytes(&mut told, report);
        told.table(bulk::calls(report));
    }
    for sheet in [replay::phases(report), replay::leaks(report), replay::tags(report)] {
        told.table(sheet);
    }
    for sheet in replay::contract(report) {
        told.table(sheet);
    }
    for measure in Measure::ALL {
        told.table(latency::percentiles(report, measure));
    }
    told.section("Notes", vec![Part::List(notes(report))]);
    told
}

/// How two runs differ.
pub(super) fn versus<'a>(versus: &'a Versus<'_>) -> Document<'a> {
    let said = versus.summary().into_iter().chain(versus.warnings());
    let mut told = Document {
        title: "storport-pool: b against a".to_owned(),
        lead: "Two runs of the program, the later one over the earlier one.".to_owned(),
        summary: said.map(|line| (String::new(), line)).collect(),
        words: Vec::new(),
        under: versus.runs().into(),
        sections: Vec::new(),
    };
    told.table(latency::found(CHANGED, FURTHEST, ["b, ns", "a, ns"], &versus.changed()));
    let grids = versus.grids.iter().map(|grid| Part::Ratios { grid, between: ["b", "a"] });
    told.section(
        "All ratios",
        [Part::Text(CHANGES.to_owned()), Part::Key].into_iter().chain(grids).collect(),
    );
    told
}

fn allocators_told(report: &Report) -> Vec<Term> {
    let told = |name: &str| Term {
        kind: Kind::Allocator,
        name: name.to_owned(),
        about: whom::about(name).unwrap_or_else(|| "Not known to this program.".to_owned()),
    };
    allocators(report).into_iter().map(told).collect()
}

fn scenarios_told(report: &Report) -> Vec<Term> {
    let told = |name: &String, about: &String| Term {
        kind: Kind::Scenario,
        name: name.clone(),
        about: about.clone(),
    };
    report.scenarios.iter().map(|scenario| told(&scenario.name, &scenario.about)).collect()
}

fn ratios<'a>(told: &mut Document<'a>, report: &Report, grids: &'a [Grid]) {
    let mut parts = vec![Part::Text(RATIOS.to_owned())];
    if let Some(grid) = grids.first()
        && let Some(drawing) = picture(grid, &pictured(report))
    {
        let figure = Figure { name: String::new(), about: String::new(), drawing };
        parts.push(Part::Figures(Figures { name: "picture", shared: None, all: vec![figure] }));
    }
    parts.push(Part::Key);
    for grid in grids {
        parts.push(Part::Ratios { grid, between: ["pool", "other"] });
        let lines = verdict(grid);
        if !lines.is_empty() {
            parts.push(Part::Text(lines.join(" ")));
        }
    }
    told.section("The pool's time over the others'", parts);
}

/// Whom a picture shows that nobody chose for: the usual ones, and where the run has not all of them, others in their place.
pub(super) fn pictured(report: &Report) -> Vec<&str> {
    let all = allocators(report);
    let usual = whom::PICTURED.into_iter().filter(|name| all.contains(name));
    let others = all
        .iter()
        .skip(1)
        .copied()
        .filter(|name| !peers::is_the_pool(name) && !whom::PICTURED.contains(name));
    usual.chain(others).take(whom::PICTURED.len()).collect()
}

/// The ratios of a measure, for some allocators. `None`: there are none.
pub(super) fn picture(grid: &Grid, whom: &[&str]) -> Option<Drawing> {
    let check = whom.iter().copied().filter(|name| whom::checks(name) && !peers::is_the_pool(name));
    let check: Vec<_> = check.collect();
    panels::draw(grid, whom, &check)
}

/// Where the pool is slower.
fn losses(told: &mut Document<'_>, grids: &[Grid]) {
    let slower = slower(grids);
    if grids.is_empty() {
        return;
    }
    if slower.is_empty() {
        told.section(SLOWER, vec![Part::List(vec![nowhere(grids).to_owned()])]);
    } else {
        let about = "All such rows, the worst first.";
        told.table(latency::found(SLOWER, about, ["pool, ns", "its, ns"], &slower));
    }
}

fn notes(report: &Report) -> Vec<String> {
    let mut lines = report.notes.clone();
    if !report.scenarios.is_empty() {
        let pinned =
            if report.machine.pinned { "Threads were pinned to CPUs." } else { "Threads were not pinned." };
        lines.push(pinned.to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{self, TURNS, cannot, frees, scenario};
    use super::super::ratio::Quantity;
    use super::*;

    /// Four that a reader knows, named in the picture itself; a row for each scenario, and where the pool loses a number.
    #[test]
    fn the_picture_needs_no_legend() {
        let names = [
            "storport-pool",
            "system",
            "mimalloc",
            "jemalloc",
            "rpmalloc",
            "pool-portable",
            "snmalloc-check",
        ];
        let of = |mean: fn(usize) -> f64| {
            names.iter().enumerate().map(move |(at, name)| frees(name, mean(at), &TURNS))
        };
        let alone =
            vec![frees(names[0], 4.0, &TURNS), frees("system", 8.0, &TURNS), cannot("mimalloc", "why")];
        let report = made_up::report(vec![
            scenario("hot", of(|at| 4.0 + at as f64).collect()),
            scenario("cold", of(|at| if at == 0 { 6.0 } else { 3.0 }).collect()),
            scenario("far <&>", of(|at| if at == 0 { 1.0 } else { 900.0 }).collect()),
            scenario("interrupted", alone),
        ]);
        assert_eq!(pictured(&report), whom::PICTURED);
        let grid = Grid::standing(&report, Measure::Free, Quantity::Mean);
        let drawing = picture(&grid, &pictured(&report)).unwrap().alone(100);
        let parsed = roxmltree::Document::parse(&drawing).unwrap();
        let texts = parsed.descendants().filter(|node| node.tag_name().name() == "text");
        let texts: Vec<_> = texts.filter_map(|node| node.text()).collect();
        for text in [
            "Time to free a block, relative to storport-pool",
            "mimalloc",
            "rpmalloc",
            "jemalloc",
            "snmalloc",
            "-check",
            "hot",
            "cold",
            "far <&>",
            "geometric mean",
        ] {
            assert!(texts.contains(&text), "no {text} in {texts:?}");
        }
        assert!(!texts.contains(&"system"), "{texts:?}");
        // The pool loses to four, and the means have their numbers.
        assert_eq!(texts.iter().filter(|text| text.ends_with('×')).count(), 4 + 4, "{texts:?}");
        assert_eq!(texts.iter().filter(|text| **text == "2.0×").count(), 4, "{texts:?}");
        assert_eq!(texts.iter().filter(|text| **text == "›").count(), 4, "{texts:?}");
        let below = texts.join(" ");
        assert!(
            below.contains("snmalloc-check looks for misuse") && below.contains("interrupted."),
            "{below}"
        );
        // It brings its colours, for light and dark.
        assert!(
            drawing.contains("prefers-color-scheme: dark") && drawing.contains("--paper: #"),
            "{drawing}"
        );
        assert!(!drawing.contains("href") && !drawing.contains("url("), "{drawing}");
    }

    #[test]
    fn a_run_of_others_is_pictured_too() {
        let of = |names: &[&str]| {
            made_up::report(vec![scenario(
                "hot",
                names.iter().map(|name| frees(name, 4.0, &TURNS)).collect(),
            )])
        };
        let report = of(&["storport-pool", "system", "mimalloc", "pool-masked"]);
        assert_eq!(pictured(&report), ["mimalloc", "system"]);
        for names in [&["storport-pool"][..], &["storport-pool", "pool-masked"]] {
            let report = of(names);
            let grid = Grid::standing(&report, Measure::Free, Quantity::Mean);
            assert!(pictured(&report).is_empty() && picture(&grid, &[]).is_none(), "{names:?}");
        }
    }
}
