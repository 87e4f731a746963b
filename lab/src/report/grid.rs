//! Ratios of one measure: a row for each scenario, a column for each allocator that is compared.

use super::ratio::{Measure, Quantity, Ratio, Verdict};
use super::stats;
use crate::peers;
use crate::results::{Latency, Measured, Report, Scenario};

/// The whole of it.
pub(super) struct Grid {
    pub(super) measure: Measure,
    pub(super) quantity: Quantity,
    pub(super) columns: Vec<String>,
    /// Scenarios in which nobody has this measure are left out.
    pub(super) rows: Vec<Row>,
}

pub(super) struct Row {
    pub(super) scenario: String,
    /// The pool's own figure in ns, where columns are of others.
    pub(super) own: Option<f64>,
    /// One for each column.
    pub(super) cells: Vec<Cell>,
}

pub(super) enum Cell {
    Ratio(Compared),
    /// Why there is none.
    Missing(String),
}

/// Two times in ns, and how they relate.
pub(super) struct Compared {
    pub(super) ratio: Ratio,
    pub(super) first: f64,
    pub(super) other: f64,
}

/// A cell that has a ratio, and where it is.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) scenario: &'a str,
    pub(super) allocator: &'a str,
    pub(super) compared: &'a Compared,
}

/// The pool's own figures: the first of a scenario's allocators.
pub(super) fn pool(scenario: &Scenario) -> Option<&Measured> {
    scenario.allocators.first()
}

/// The pool's name, then those of all others, in the order in which they come by.
pub(super) fn allocators(report: &Report) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for measured in report.scenarios.iter().flat_map(|scenario| &scenario.allocators) {
        if !names.contains(&measured.name.as_str()) {
            names.push(&measured.name);
        }
    }
    names
}

type Pairing<'a> = dyn Fn(&Latency, &Latency) -> Option<Ratio> + 'a;

impl Grid {
    /// The pool against each other allocator.
    pub(super) fn standing(report: &Report, measure: Measure, quantity: Quantity) -> Grid {
        let columns: Vec<_> = allocators(report).into_iter().skip(1).collect();
        let pairing = |pool: &Latency, other: &Latency| Ratio::paired(pool, other, quantity, &report.timer);
        let rows = report.scenarios.iter().filter(|scenario| timed(scenario, measure)).map(|scenario| {
            let others = scenario.allocators.get(1..).unwrap_or_default();
            let cell = |name: &&str| cell(measure, quantity, pool(scenario), named(others, name), &pairing);
            let own = figures(pool(scenario), measure, quantity).ok().map(|(_, ns)| ns);
            Row { scenario: scenario.name.clone(), own, cells: columns.iter().map(cell).collect() }
        });
        let rows = rows.collect();
        Grid { measure, quantity, columns: columns.into_iter().map(str::to_owned).collect(), rows }
    }

    /// A later run against an earlier one, for the allocators and scenarios that both have.
    pub(super) fn changes(before: &Report, after: &Report, measure: Measure, quantity: Quantity) -> Grid {
        let earlier = allocators(before);
        let columns: Vec<_> = allocators(after).into_iter().filter(|name| earlier.contains(name)).collect();
        // The coarser of the two timers decides what can be told.
        let timer = if before.timer.p999 > after.timer.p999 { &before.timer } else { &after.timer };
        let pairing = |after: &Latency, before: &Latency| Ratio::unpaired(after, before, quantity, timer);
        let mut rows = Vec::new();
        for later in &after.scenarios {
            let Some(earlier) = before.scenarios.iter().find(|earlier| earlier.name == later.name) else {
                continue;
            };
            if !timed(earlier, measure) && !timed(later, measure) {
                continue;
            }
            let cell = |name: &&str| {
                cell(
                    measure,
                    quantity,
                    named(&later.allocators, name),
                    named(&earlier.allocators, name),
                    &pairing,
                )
            };
            let cells = beyond_drift(columns.iter().map(cell).collect());
            rows.push(Row { scenario: later.name.clone(), own: None, cells });
        }
        Grid { measure, quantity, columns: columns.into_iter().map(str::to_owned).collect(), rows }
    }

    /// "free, mean".
    pub(super) fn name(&self) -> String {
        format!("{}, {}", self.measure.name(), self.quantity.name())
    }

    /// All that has a ratio.
    pub(super) fn found(&self) -> Vec<Found<'_>> {
        self.rows.iter().flat_map(|row| self.found_in(row)).collect()
    }

    fn found_in<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = Found<'a>> {
        row.cells.iter().zip(&self.columns).filter_map(|(cell, allocator)| match cell {
            Cell::Ratio(compared) => Some(Found { scenario: &row.scenario, allocator, compared }),
            Cell::Missing(_) => None,
        })
    }

    /// Of each scenario, the column in which the first one does worst: against the fastest other.
    pub(super) fn hardest(&self) -> Vec<Found<'_>> {
        let hardest = |row| {
            self.found_in(row)
                .filter(Found::is_of_another)
                .max_by(|a, b| a.compared.ratio.value.total_cmp(&b.compared.ratio.value))
        };
        self.rows.iter().filter_map(hardest).collect()
    }

    /// In how many scenarios another one is surely faster. (Which need not be the fastest one: that may be too noisy.)
    pub(super) fn lost(&self) -> usize {
        let is_lost =
            |found: Found<'_>| found.is_of_another() && found.compared.ratio.verdict == Verdict::Slower;
        self.rows.iter().filter(|row| self.found_in(row).any(is_lost)).count()
    }

    /// A column's geometric mean, and of how many scenarios.
    pub(super) fn overall(&self, column: usize) -> Option<(f64, usize)> {
        let ratio = |row: &Row| match row.cells.get(column) {
            Some(Cell::Ratio(compared)) => Some(compared.ratio.value),
            _ => None,
        };
        let ratios: Vec<_> = self.rows.iter().filter_map(ratio).collect();
        Some((stats::geometric_mean(&ratios)?, ratios.len()))
    }

    /// Each reason for an empty cell, and which cells have it: "talc in fill, teardown".
    pub(super) fn missing(&self) -> Vec<(String, String)> {
        /// Allocators, and the scenarios in which just these have a reason.
        type Whose<'a> = (Vec<&'a str>, Vec<&'a str>);
        let mut reasons: Vec<(&str, Vec<Whose<'_>>)> = Vec::new();
        for row in &self.rows {
            for (why, allocators) in row.missing(&self.columns) {
                let place = position_or_push(&mut reasons, why);
                let scenarios = position_or_push(&mut reasons[place].1, allocators);
                reasons[place].1[scenarios].1.push(&row.scenario);
            }
        }
        let whose = |(allocators, scenarios): &Whose<'_>| {
            format!("{} in {}", allocators.join(", "), scenarios.join(", "))
        };
        let joined = |(why, groups): (&str, Vec<_>)| {
            (why.to_owned(), groups.iter().map(whose).collect::<Vec<_>>().join("; "))
        };
        reasons.into_iter().map(joined).collect()
    }

    /// How many cells say so.
    pub(super) fn count(&self, verdict: impl Fn(Verdict) -> bool) -> usize {
        let others = self.found().into_iter().filter(Found::is_of_another);
        others.filter(|found| verdict(found.compared.ratio.verdict)).count()
    }
}

impl Found<'_> {
    /// Not of the pool, built or run in another way.
    pub(super) fn is_of_another(&self) -> bool {
        !peers::is_the_pool(self.allocator)
    }
}

impl Row {
    /// Each reason in this row, and the allocators that have it.
    fn missing<'a>(&'a self, columns: &'a [String]) -> Vec<(&'a str, Vec<&'a str>)> {
        let mut reasons = Vec::new();
        for (cell, allocator) in self.cells.iter().zip(columns) {
            if let Cell::Missing(why) = cell {
                let place = position_or_push(&mut reasons, why.as_str());
                reasons[place].1.push(allocator.as_str());
            }
        }
        reasons
    }
}

/// Where a key's list is; a new, empty one where there was none.
fn position_or_push<K: PartialEq, V>(lists: &mut Vec<(K, Vec<V>)>, key: K) -> usize {
    lists.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
        lists.push((key, Vec::new()));
        lists.len() - 1
    })
}

/// What moves one allocator no further than the others is the machine's doing. Each cell is held against where
/// the others of its scenario went: the middle half of their intervals' ends. A lone cell stands as it is.
fn beyond_drift(cells: Vec<Cell>) -> Vec<Cell> {
    let ends = |cell: &Cell| match cell {
        Cell::Ratio(Compared { ratio, .. }) => Some(ratio.interval.unwrap_or((ratio.value, ratio.value))),
        Cell::Missing(_) => None,
    };
    let ends: Vec<_> = cells.iter().map(ends).collect();
    let drift = |place: usize| {
        let others = ends.iter().enumerate().filter(|(other, _)| *other != place);
        let (lows, highs): (Vec<_>, Vec<_>) = others.filter_map(|(_, ends)| *ends).unzip();
        Some((stats::middle_half(&lows)?.0, stats::middle_half(&highs)?.1))
    };
    let against_others = |(place, cell)| match (cell, drift(place)) {
        (Cell::Ratio(compared), Some(drift)) => {
            Cell::Ratio(Compared { ratio: compared.ratio.beyond(drift), ..compared })
        }
        (cell, _) => cell,
    };
    cells.into_iter().enumerate().map(against_others).collect()
}

fn timed(scenario: &Scenario, measure: Measure) -> bool {
    scenario.allocators.iter().any(|measured| measure.latency(measured).is_some())
}

fn named<'a>(measured: &'a [Measured], name: &str) -> Option<&'a Measured> {
    measured.iter().find(|measured| measured.name == name)
}

fn cell(
    measure: Measure,
    quantity: Quantity,
    first: Option<&Measured>,
    other: Option<&Measured>,
    pairing: &Pairing<'_>,
) -> Cell {
    let have = |measured| figures(measured, measure, quantity);
    // Why the other one has none is what a column is read for.
    match have(other).and_then(|other| Ok((have(first)?, other))) {
        Err(why) => Cell::Missing(why.to_owned()),
        Ok(((latency, first), (others, other))) => match pairing(latency, others) {
            Some(ratio) => Cell::Ratio(Compared { ratio, first, other }),
            None => Cell::Missing(NOTHING.to_owned()),
        },
    }
}

const NOTHING: &str = "nothing was measured";

fn figures(
    measured: Option<&Measured>,
    measure: Measure,
    quantity: Quantity,
) -> Result<(&Latency, f64), &str> {
    let measured = measured.ok_or("it was not run")?;
    if let Some(why) = &measured.cannot {
        return Err(why);
    }
    let latency = measure.latency(measured).ok_or("it was not timed")?;
    Ok((latency, quantity.of(latency).ok_or(NOTHING)?))
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{self, TURNS, cannot, frees, scenario};
    use super::*;

    #[test]
    fn columns_are_the_peers_and_rows_the_scenarios() {
        let report = made_up::report(vec![
            scenario(
                "hot",
                vec![frees("pool", 4.0, &TURNS), frees("b", 8.0, &TURNS), frees("c", 2.0, &TURNS)],
            ),
            scenario(
                "cold",
                vec![frees("pool", 4.0, &TURNS), cannot("b", "too old"), frees("d", 1.0, &TURNS)],
            ),
        ]);
        assert_eq!(allocators(&report), ["pool", "b", "c", "d"]);
        let grid = Grid::standing(&report, Measure::Free, Quantity::Mean);
        assert_eq!(grid.columns, ["b", "c", "d"]);
        let found: Vec<_> = grid.found().iter().map(|found| (found.scenario, found.allocator)).collect();
        assert_eq!(found, [("hot", "b"), ("hot", "c"), ("cold", "d")]);
        let hardest: Vec<_> = grid.hardest().iter().map(|found| found.compared.ratio.value).collect();
        assert_eq!(hardest, [2.0, 4.0]);
        let missing = grid.missing();
        assert_eq!(missing[0], ("it was not run".to_owned(), "d in hot; c in cold".to_owned()));
        assert_eq!(missing[1], ("too old".to_owned(), "b in cold".to_owned()));
        assert!(matches!(&grid.rows[1].cells[0], Cell::Missing(why) if why == "too old"));
        assert!(matches!(&grid.rows[1].cells[1], Cell::Missing(why) if why == "it was not run"));
        assert_eq!((grid.overall(0), grid.overall(2)), (Some((0.5, 1)), Some((4.0, 1))));
        assert_eq!(grid.count(|verdict| verdict == Verdict::Slower), 2);
        assert!(Grid::standing(&report, Measure::Allocate, Quantity::Mean).rows.is_empty());
    }

    #[test]
    fn bulk_calls_are_in_no_grid() {
        let run = |bulk| {
            let allocators = vec![frees("pool", 4.0, &TURNS), frees("b", 8.0, &TURNS)];
            made_up::report(vec![Scenario { bulk, ..scenario("hot", allocators) }])
        };
        let (plain, bulk) = (run(vec![]), run(vec![frees("pool bulk 8", 1.0, &TURNS)]));
        assert_eq!(allocators(&bulk), ["pool", "b"]);
        for (measure, quantity) in [(Measure::Free, Quantity::Mean), (Measure::Free, Quantity::Tail)] {
            let grid = Grid::standing(&bulk, measure, quantity);
            assert_eq!((grid.columns.len(), grid.overall(0)), (1, Some((0.5, 1))));
            assert_eq!(Grid::changes(&plain, &bulk, measure, quantity).found().len(), 2);
        }
    }

    #[test]
    fn changes_are_of_what_both_have() {
        let run = |mean, extra: &str| {
            made_up::report(vec![
                scenario("hot", vec![frees("pool", mean, &TURNS), frees(extra, 8.0, &TURNS)]),
                scenario(extra, vec![frees("pool", mean, &TURNS)]),
            ])
        };
        let grid = Grid::changes(&run(4.0, "b"), &run(2.0, "c"), Measure::Free, Quantity::Mean);
        assert_eq!((grid.columns.len(), grid.rows.len()), (1, 1));
        let found = grid.found()[0];
        assert_eq!((found.scenario, found.allocator), ("hot", "pool"));
        assert!((found.compared.ratio.value - 0.5).abs() < 1e-9);
        assert_eq!(found.compared.ratio.verdict, Verdict::Faster);
    }

    /// A slow machine slows everyone; only what goes beyond that is a change.
    #[test]
    fn what_moves_all_is_no_change() {
        let run = |pool, others| {
            let peers = ["b", "c"].map(|name| frees(name, others, &TURNS));
            made_up::report(vec![scenario(
                "hot",
                std::iter::once(frees("pool", pool, &TURNS)).chain(peers).collect(),
            )])
        };
        let verdicts = |after: &Report| -> Vec<Verdict> {
            let grid = Grid::changes(&run(4.0, 8.0), after, Measure::Free, Quantity::Mean);
            grid.found().iter().map(|found| found.compared.ratio.verdict).collect()
        };
        let drift = Verdict::Unclear("it goes no further than the other allocators");
        assert_eq!(verdicts(&run(8.0, 16.0)), [drift; 3]);
        assert_eq!(verdicts(&run(16.0, 16.0))[0], Verdict::Slower);
        assert_eq!(verdicts(&run(1.0, 4.0))[0], Verdict::Faster);
    }

    #[test]
    fn no_shape_is_too_odd() {
        for report in made_up::shapes() {
            for measure in Measure::ALL {
                for quantity in [Quantity::Mean, Quantity::Tail] {
                    for grid in [
                        Grid::standing(&report, measure, quantity),
                        Grid::changes(&report, &report, measure, quantity),
                    ] {
                        assert!(grid.rows.iter().all(|row| row.cells.len() == grid.columns.len()));
                    }
                }
            }
        }
    }
}
