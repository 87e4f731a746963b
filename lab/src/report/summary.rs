//! A run in some ten lines, for somebody who has seen nothing of it before.

use super::grid::{Found, Grid};
use super::ratio::{Measure, Quantity, Verdict};
use super::standing::{nowhere, slower, standings};
use super::text::{grouped, ratio};
use crate::results::Report;
use crate::{peers, phases, scenarios};

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

const FREE: &str = "Free";
/// The slowest of many.
const SLOWEST: &str = "Slowest";

/// What a grid's times are called.
fn label(grid: &Grid) -> Option<&'static str> {
    match (grid.measure, grid.quantity) {
        (Measure::Free, Quantity::Mean) => Some(FREE),
        (Measure::Free, Quantity::Tail) => Some(SLOWEST),
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
    let means: Vec<_> = others.filter_map(|(column, name)| Some((name, grid.overall(column)?.0))).collect();
    // What the figures are is said once.
    let mut unit = if label == FREE { " of its time" } else { "" };
    let mut parts = Vec::new();
    for (relation, low, high) in [
        ("faster than", 0.0, 1.0 / ALIKE),
        ("about as fast as", 1.0 / ALIKE, ALIKE),
        ("slower than", ALIKE, f64::INFINITY),
    ] {
        let those = means.iter().filter(|(_, mean)| (low..high).contains(mean));
        let those: Vec<_> = those
            .map(|(name, mean)| format!("{} ({}{})", known(name), ratio(*mean), std::mem::take(&mut unit)))
            .collect();
        if !those.is_empty() {
            parts.push(format!("{relation} {}", listed(&those)));
        }
    }
    let said = parts.join("; ");
    let text = match grid.quantity {
        Quantity::Tail => format!("Of 1000 frees: {said}."),
        Quantity::Mean => format!("{}.", capital(&said)),
    };
    (!parts.is_empty()).then(|| line(label, text))
}

/// Where another allocator is faster: how often, and the worst row of each kind.
fn losses(grids: &[Grid]) -> Vec<Line> {
    let slower = slower(grids);
    if slower.is_empty() {
        let sure = grids.iter().any(|grid| grid.count(|verdict| !matches!(verdict, Verdict::Unclear(_))) > 0);
        return vec![line(if sure { "Loses" } else { "Unsure" }, nowhere(grids).to_owned())];
    }
    let all: usize = grids.iter().map(|grid| grid.count(|_| true)).sum();
    let mut lines = vec![line(
        "Loses",
        format!("Those are means. In {} of {all} comparisons another surely wins. Worst:", slower.len()),
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

/// "Free in bleeding: 1.45 times mimalloc's time (threads come and go)."
fn loss(label: &str, found: &Found<'_>) -> String {
    let call = if label == SLOWEST { "Slowest free" } else { label };
    let what = scenarios::find(found.scenario).map_or("", |about| about.short);
    let what = if what.is_empty() { String::new() } else { format!(" ({what})") };
    let (scenario, worse, name) = (found.scenario, ratio(found.compared.ratio.value), known(found.allocator));
    format!("{call} in {scenario}: {worse} times {name}'s time{what}.")
}

/// What the pool said of the blocks that a replay leaks; nothing, if there was none.
fn leak(report: &Report) -> Option<Line> {
    let (all, told) = (phases::leaked(), report.leaks.iter().map(|leak| leak.blocks).sum::<u64>());
    let told = if told == all { "all".to_owned() } else { format!("{} of them", grouped(told)) };
    let text = || format!("A driver leaked {all} blocks, on purpose. The pool listed {told}, by tag.");
    (!report.phases.is_empty()).then(|| line("Leak", text()))
}

/// As somebody knows it who has not read what "system" is.
fn known(name: &str) -> &str {
    if name == "system" { "system malloc" } else { name }
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
    use crate::results::{Check, Leak, Phase};

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
            phases: vec![Phase::default()],
            leaks: vec![leak("LkRq", 12), leak("LkSm", 3)],
            ..made_up::report(vec![scenario("hot", two(4.0, 8.0, 2.0)), scenario("cold", two(4.0, 8.0, 4.0))])
        };
        let said = text(&report);
        for part in [
            "Contract|Kept: all 2 checks",
            "Free|Faster than system malloc (0.50 of its time); slower than mimalloc (1.41).",
            "Slowest|Of 1000 frees: faster than system malloc (0.50); slower than mimalloc (1.41).",
            "Loses|Those are means. In 2 of 8 comparisons another surely wins. Worst:",
            "|Free in hot: 2.00 times mimalloc's time (1000 blocks).",
            "|Slowest free in hot: 2.00 times mimalloc's time (1000 blocks).",
            "Leak|A driver leaked 15 blocks, on purpose. The pool listed all, by tag.",
        ] {
            assert!(said.contains(part), "no {part} in {said}");
        }
        let fewer = text(&Report { leaks: vec![leak("LkSm", 3)], ..report });
        assert!(fewer.contains("on purpose. The pool listed 3 of them, by tag."), "{fewer}");
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
            assert!(
                (said.contains("\nLoses|") || said.contains("\nUnsure|"))
                    && !said.contains("NaN")
                    && !said.contains("inf"),
                "{said}"
            );
        }
    }
}
