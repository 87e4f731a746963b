//! A run in some ten lines, for somebody who has seen nothing of it before.

use super::grid::{Found, Grid};
use super::ratio::{Measure, Quantity};
use super::standing::{nowhere, slower, standings};
use super::text::{grouped, ratio};
use crate::peers;
use crate::results::Report;
use crate::scenarios;

/// A line, and what it is about in a word or two; nothing: it belongs to the line before.
pub(super) struct Line {
    pub(super) label: &'static str,
    pub(super) text: String,
}

fn line(label: &'static str, text: String) -> Line {
    Line { label, text }
}

/// Wrong rows of the contract that are named.
const NAMED: usize = 3;

/// All of it.
pub(super) fn lines(report: &Report) -> Vec<Line> {
    let grids = standings(report);
    let mut lines = vec![line("Contract", contract(report))];
    lines.extend(grids.iter().filter_map(speed));
    lines.extend(losses(&grids));
    lines.extend(leak(report));
    lines
}

fn contract(report: &Report) -> String {
    let all = report.contract.len();
    let wrong: Vec<_> = report.contract.iter().filter(|check| !check.ok).collect();
    if wrong.is_empty() {
        return format!("Kept: all {all} checks of allocate and free gave the documented answer.");
    }
    let named = wrong.iter().take(NAMED);
    let named = named.map(|check| {
        format!("{}: {}: expected {}, got {}", check.group, check.what, check.expected, check.got)
    });
    let named: Vec<_> = named.collect();
    let more = if wrong.len() > NAMED { "; and more" } else { "" };
    format!("BROKEN: {} of {all} checks went wrong: {}{more}.", wrong.len(), named.join("; "))
}

/// What a grid's times are called.
fn label(grid: &Grid) -> Option<&'static str> {
    match (grid.measure, grid.quantity) {
        (Measure::Free, Quantity::Mean) => Some("Free"),
        (Measure::Free, Quantity::Tail) => Some("Slow frees"),
        (Measure::Allocate, _) => Some("Allocate"),
        (Measure::Pair, _) => None,
    }
}

/// Closer to 1 than this, a mean over many scenarios says neither.
const ALIKE: f64 = 1.03;

/// How fast in the mean, against each other allocator. `None`: nobody to compare with, or a lone row.
fn speed(grid: &Grid) -> Option<Line> {
    let label = label(grid)?;
    let others = grid.columns.iter().enumerate().filter(|(_, name)| !peers::is_the_pool(name));
    let means: Vec<_> =
        others.filter_map(|(column, name)| Some((whole_name(name), grid.overall(column)?.0))).collect();
    let mut parts = Vec::new();
    for (relation, unit, is_it) in [
        ("faster than", " of its time", &(|mean| mean < 1.0 / ALIKE) as &dyn Fn(f64) -> bool),
        ("about as fast as", " of its time", &|mean| (1.0 / ALIKE..=ALIKE).contains(&mean)),
        ("slower than", " times its time", &|mean| mean > ALIKE),
    ] {
        let mut unit = unit;
        let those = means.iter().filter(|(_, mean)| is_it(*mean));
        let those: Vec<_> = those
            .map(|(name, mean)| format!("{name} ({}{})", ratio(*mean), std::mem::take(&mut unit)))
            .collect();
        if !those.is_empty() {
            parts.push(format!("{relation} {}", listed(&those)));
        }
    }
    let said = capital(&parts.join("; "));
    (!parts.is_empty()).then(|| {
        line(
            label,
            match (grid.measure, grid.quantity) {
                (_, Quantity::Tail) => format!("The slowest of 1000 frees: {}.", parts.join("; ")),
                (Measure::Free, _) => format!("{said}: the mean of {} workloads.", grid.rows.len()),
                _ => format!("{said}."),
            },
        )
    })
}

/// Where another allocator is faster: how often, and the worst row of each kind.
fn losses(grids: &[Grid]) -> Vec<Line> {
    let slower = slower(grids);
    if slower.is_empty() {
        return vec![line("Loses", nowhere(grids).to_owned())];
    }
    let all: usize = grids.iter().map(|grid| grid.count(|_| true)).sum();
    let mut lines = vec![line(
        "Loses",
        format!(
            "Another is faster, by more than noise, in {} of {all} comparisons. The worst:",
            slower.len()
        ),
    )];
    for grid in grids {
        let Some(label) = label(grid) else { continue };
        // The worst comes first.
        if let Some((_, found)) = slower.iter().find(|(its, _)| std::ptr::eq(*its, grid)) {
            lines.push(line("", loss(label, found)));
        }
    }
    lines
}

/// "Free takes 1.45 times mimalloc's time in bleeding: threads end, new ones go on."
fn loss(label: &str, found: &Found<'_>) -> String {
    let takes = if label.ends_with('s') { "take" } else { "takes" };
    let what = scenarios::find(found.scenario).map_or("", |about| about.short);
    let what = if what.is_empty() { String::new() } else { format!(" ({what})") };
    let name = match found.allocator {
        "system" => "the system's time".to_owned(),
        name => format!("{name}'s time"),
    };
    format!("{label} {takes} {} times {name} in {}{what}.", ratio(found.compared.ratio.value), found.scenario)
}

fn leak(report: &Report) -> Option<Line> {
    let blocks: u64 = report.leaks.iter().map(|leak| leak.blocks).sum();
    let by_tag: Vec<_> =
        report.leaks.iter().map(|leak| format!("{} of {}", grouped(leak.blocks), leak.tag)).collect();
    (blocks > 0).then(|| {
        let by_tag = listed(&by_tag);
        line(
            "Leak",
            format!(
                "On purpose a driver was removed with {} blocks not freed. The pool named all, by the driver's tags: {by_tag}.",
                grouped(blocks)
            ),
        )
    })
}

fn whole_name(name: &str) -> String {
    if name == "system" { "the system's malloc".to_owned() } else { name.to_owned() }
}

/// "a, b and c".
fn listed(all: &[String]) -> String {
    match all {
        [before @ .., last] if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        all => all.concat(),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{self, TURNS, frees, scenario};
    use super::*;
    use crate::results::{Check, Leak};

    fn text(report: &Report) -> String {
        lines(report).iter().map(|line| format!("{}|{}\n", line.label, line.text)).collect()
    }

    fn check(ok: bool) -> Check {
        let words = |text: &str| text.to_owned();
        Check { group: words("free"), what: words("NULL"), expected: words("A"), got: words("B"), ok }
    }

    #[test]
    fn each_question_has_its_answer() {
        let two = |pool, a, b| {
            vec![
                frees("storport-pool", pool, &TURNS),
                frees("system", a, &TURNS),
                frees("mimalloc", b, &TURNS),
            ]
        };
        let leak = |tag: &str, blocks| Leak { tag: tag.to_owned(), blocks, ..Leak::default() };
        let report = Report {
            contract: vec![check(true), check(true)],
            leaks: vec![leak("LkRq", 12), leak("LkSm", 3)],
            ..made_up::report(vec![scenario("hot", two(4.0, 8.0, 2.0)), scenario("cold", two(4.0, 8.0, 4.0))])
        };
        let said = text(&report);
        for part in [
            "Contract|Kept: all 2 checks",
            "Free|Faster than the system's malloc (0.50 of its time); slower than mimalloc (1.41 times its time): the mean of 2 workloads.",
            "Slow frees|The slowest of 1000 frees: faster than",
            "Loses|Another is faster, by more than noise, in 2 of 8 comparisons.",
            "|Free takes 2.00 times mimalloc's time in hot (",
            "|Slow frees take 2.00 times mimalloc's time in hot (",
            "Leak|On purpose a driver was removed with 15 blocks not freed.",
            ": 12 of LkRq and 3 of LkSm.",
        ] {
            assert!(said.contains(part), "no {part} in {said}");
        }
    }

    #[test]
    fn a_broken_contract_is_told_first() {
        let wrong = Report { contract: vec![check(true), check(false)], ..made_up::report(vec![]) };
        let said = text(&wrong);
        assert!(
            said.starts_with("Contract|BROKEN: 1 of 2 checks went wrong: free: NULL: expected A, got B."),
            "{said}"
        );
    }

    #[test]
    fn no_shape_is_too_odd() {
        for report in made_up::shapes() {
            let said = text(&report);
            assert!(said.contains("\nLoses|") && !said.contains("NaN") && !said.contains("inf"), "{said}");
        }
    }
}
