//! Bulk calls beside their allocator's single ones.

use super::super::ratio::{Measure, Quantity, Ratio};
use super::super::text::ns;
use super::latency::marked;
use super::{Cell, Sheet};
use crate::bulk::{WAYS, split};
use crate::peers;
use crate::results::{Measured, Report, Scenario};

const ABOUT: &str = "Many blocks by one call, in the loops of the scenarios; hint: 64 blocks are hinted at, then freed \
    one by one. Medians of this run in ns for each block, and in parentheses the ratio to the same allocator's single \
    calls, turn by turn: below 1, bulk is faster. No other figure of this report has these rows in it. The last column \
    is the fastest other allocator's single call.";

/// The calls that bulk calls stand in for.
const MEASURES: [Measure; 2] = [Measure::Free, Measure::Allocate];

/// A row for each scenario, call and allocator that has bulk calls there.
pub(in super::super) fn calls(report: &Report) -> Sheet {
    let columns: Vec<_> =
        ["scenario", "call", "single"].into_iter().chain(WAYS).chain(["fastest other"]).collect();
    let mut sheet = Sheet::new("Bulk calls", ABOUT, &columns, 2);
    for scenario in &report.scenarios {
        let mut first = true;
        for measure in MEASURES {
            for (place, single) in scenario.allocators.iter().enumerate() {
                let Some(ways) = ways(report, scenario, single, measure) else { continue };
                let name = if first { scenario.name.as_str() } else { "" };
                let call = measure.name();
                let call = if place == 0 { call.to_owned() } else { format!("{call}, {}", single.name) };
                let other = if place == 0 { fastest(scenario, measure) } else { String::new() };
                let own = measure.latency(single).and_then(|latency| Quantity::Mean.of(latency));
                let mut cells = Vec::from([name.to_owned(), call, own.map_or_else(none, ns)].map(Cell::from));
                cells.extend(ways);
                cells.push(other.into());
                sheet.row(first, cells);
                first = false;
            }
        }
    }
    sheet
}

/// What an allocator's calls of one kind take, way by way. `None`: it makes none in bulk.
fn ways(report: &Report, scenario: &Scenario, single: &Measured, measure: Measure) -> Option<Vec<Cell>> {
    let own =
        || scenario.bulk.iter().filter(|row| split(&row.name).is_some_and(|(whose, _)| whose == single.name));
    own().find(|row| measure.latency(row).is_some())?;
    let cell = |way| {
        let row = own().find(|row| split(&row.name).is_some_and(|(_, its)| its == way));
        let many = row.and_then(|row| measure.latency(row));
        let time = many.and_then(|many| Quantity::Mean.of(many));
        let Some((many, time)) = many.zip(time) else { return Cell::from(none()) };
        let single = measure.latency(single);
        match single.and_then(|single| Ratio::paired(many, single, Quantity::Mean, &report.timer)) {
            Some(ratio) => {
                let Cell { text, tone } = marked(ratio.value, ratio.verdict);
                Cell::new(format!("{} ({text})", ns(time)), tone)
            }
            None => Cell::from(ns(time)),
        }
    };
    Some(WAYS.into_iter().map(cell).collect())
}

/// "8.1 mimalloc": the fastest allocator but the pool, call by call.
fn fastest(scenario: &Scenario, measure: Measure) -> String {
    let others = scenario.allocators.iter().skip(1).filter(|other| !peers::is_the_pool(&other.name));
    let time = |other| Some((Quantity::Mean.of(measure.latency(other)?)?, &other.name));
    let fastest = others.filter_map(time).min_by(|(a, _), (b, _)| a.total_cmp(b));
    fastest.map_or_else(none, |(time, name)| format!("{} {name}", ns(time)))
}

/// What stands where there is nothing.
fn none() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::super::made_up::{self, TURNS, cannot, frees, scenario};
    use super::super::Tone;
    use super::*;

    /// Rows of free and allocate.
    fn both(name: &str, mean: f64) -> Measured {
        Measured { alloc: Some(made_up::latency(2.0 * mean, &TURNS)), ..frees(name, mean, &TURNS) }
    }

    fn texts(sheet: &Sheet) -> Vec<Vec<&str>> {
        sheet.rows.iter().map(|row| row.cells.iter().map(|cell| cell.text.as_str()).collect()).collect()
    }

    #[test]
    fn ratios_are_to_the_own_single_calls() {
        let others =
            [frees("system", 9.0, &TURNS), frees("pool-portable", 1.0, &TURNS), frees("b", 7.0, &TURNS)];
        let mut one = scenario("remote", [vec![frees("pool", 8.0, &TURNS)], others.to_vec()].concat());
        one.bulk = vec![
            frees("pool bulk 8", 4.0, &TURNS),
            cannot("pool bulk 32", "it ended"),
            frees("pool hint", 10.0, &TURNS),
        ];
        let sheet = calls(&made_up::report(vec![scenario("hot", vec![frees("pool", 2.0, &TURNS)]), one]));
        assert_eq!(
            texts(&sheet),
            [["remote", "free", "8.0", "4.0 (0.50)", "-", "-", "10.0 (1.25)", "7.0 b"]]
        );
        assert_eq!(sheet.columns.len(), sheet.rows[0].cells.len());
        assert!(sheet.rows[0].cells[3].tone == Tone::Good && sheet.rows[0].cells[6].tone == Tone::Bad);
    }

    #[test]
    fn each_call_and_allocator_has_a_row() {
        let mut burst =
            scenario("burst", vec![both("pool", 8.0), both("system", 9.0), both("jemalloc", 6.0)]);
        let batch = Measured { free: None, ..both("jemalloc bulk 8", 3.0) };
        burst.bulk = vec![both("pool bulk 8", 4.0), batch];
        let report = made_up::report(vec![burst]);
        assert_eq!(
            texts(&calls(&report)),
            [
                ["burst", "free", "8.0", "4.0 (0.50)", "-", "-", "-", "6.0 jemalloc"],
                ["", "allocate", "16.0", "8.0 (0.50)", "-", "-", "-", "12.0 jemalloc"],
                ["", "allocate, jemalloc", "12.0", "6.0 (0.50)", "-", "-", "-", ""],
            ]
        );
    }

    /// One turn has no interval.
    #[test]
    fn quick_runs_tell_nothing() {
        let mut quick = scenario("quick", vec![frees("pool", 8.0, &[1.0])]);
        quick.bulk = vec![frees("pool bulk 64", 2.0, &[1.0])];
        let report = made_up::report(vec![quick]);
        assert_eq!(texts(&calls(&report)), [["quick", "free", "8.0", "-", "-", "2.0 (~0.25)", "-", "-"]]);
    }

    #[test]
    fn no_shape_is_too_odd() {
        for report in made_up::shapes() {
            assert!(calls(&report).rows.iter().all(|row| row.cells.len() == 8));
        }
    }
}
