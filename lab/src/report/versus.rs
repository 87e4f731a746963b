//! Two runs side by side: what each is, what only one of them has, and what changed beyond the
//! noise within a run.

use super::grid::{Found, Grid, allocators};
use super::ratio::Verdict;
use super::standing::{changes, run};
use crate::results::{Machine, Report};

/// How to read the ratios.
pub(super) const CHANGES: &str = "Ratios are b's time over a's: below 1, b is faster. They are of the medians of all turns; \
    the interval, at about 95 %, is the percentile bootstrap's (both runs' turns drawn anew 2000 times, the turns' \
    medians compared). It is the noise within a run: what its turns differ by. A change counts \
    only where its interval is clear of 1 and of where the other allocators went in that scenario, the middle half \
    of their intervals; where there is no other, of 1 alone. Two runs of the same program differ by more than that noise: some \
    of their figures are clear of it, too. Only a change that further runs show again is the program's.";

/// What stands above the pool's figures that changed.
pub(super) const CHANGED: &str = "What changed of the pool, beyond the noise within a run";

/// How to read what stands there.
pub(super) const FURTHEST: &str =
    "The furthest first. Two runs of the same program differ by more than the noise within a run.";

/// A run, and the file it is from.
pub(super) struct Run<'a> {
    pub(super) file: String,
    pub(super) report: &'a Report,
}

/// Two of them, the earlier one first.
pub(super) struct Versus<'a> {
    pub(super) before: Run<'a>,
    pub(super) after: Run<'a>,
    pub(super) grids: Vec<Grid>,
}

impl<'a> Versus<'a> {
    pub(super) fn new(before: Run<'a>, after: Run<'a>) -> Versus<'a> {
        let grids = changes(before.report, after.report);
        Versus { before, after, grids }
    }

    /// What a and b are.
    pub(super) fn runs(&self) -> [String; 2] {
        let line = |letter, from: &Run<'_>| format!("{letter}: {}: {}", from.file, run(&from.report.machine));
        [line("a", &self.before), line("b", &self.after)]
    }

    /// What makes the comparison weaker, and what could not be compared.
    pub(super) fn warnings(&self) -> Vec<String> {
        let (before, after) = (self.before.report, self.after.report);
        let mut warnings = Vec::new();
        let (a, b) = (&before.machine, &after.machine);
        let host = |machine: &Machine| (machine.cpu.clone(), machine.cpus, machine.kernel.clone());
        for (differ, what) in [
            (
                host(a) != host(b),
                "The machines differ: times of different machines say little about the program.",
            ),
            (a.commit != b.commit, "The pool commits by other means in b than in a."),
            (a.pinned != b.pinned, "Only one of the runs had its threads pinned."),
            (
                a.quick || b.quick,
                "A quick run has too few turns for an interval: nothing can be called a change.",
            ),
        ] {
            if differ {
                warnings.push(what.to_owned());
            }
        }
        let scenarios = |report: &'a Report| -> Vec<&'a str> {
            report.scenarios.iter().map(|scenario| scenario.name.as_str()).collect()
        };
        for (what, a, b) in [
            ("Scenarios", scenarios(before), scenarios(after)),
            ("Allocators", allocators(before), allocators(after)),
        ] {
            for (letter, these, those) in [("a", &a, &b), ("b", &b, &a)] {
                let only: Vec<_> = these.iter().copied().filter(|name| !those.contains(name)).collect();
                if !only.is_empty() {
                    warnings.push(format!("{what} in {letter} only: {}.", only.join(", ")));
                }
            }
        }
        warnings
    }

    fn pool(&self) -> &str {
        allocators(self.after.report).first().copied().unwrap_or_default()
    }

    /// Whether both runs have a figure of the pool that can be compared.
    pub(super) fn is_of_something(&self) -> bool {
        let pool = self.pool();
        self.found().any(|(_, found)| found.allocator == pool)
    }

    /// The pool's figures that changed beyond the noise within a run, the furthest first.
    pub(super) fn changed(&self) -> Vec<(&Grid, Found<'_>)> {
        let mut changed: Vec<_> =
            self.found().filter(|(_, found)| found.allocator == self.pool() && sure(found)).collect();
        let far = |found: &Found<'_>| found.compared.ratio.value.ln().abs();
        changed.sort_by(|(_, a), (_, b)| far(b).total_cmp(&far(a)));
        changed
    }

    fn found(&self) -> impl Iterator<Item = (&Grid, Found<'_>)> {
        self.grids.iter().flat_map(|grid| grid.found().into_iter().map(move |found| (grid, found)))
    }

    /// How much changed: the pool's figures, and the others'.
    pub(super) fn summary(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let pool = self.pool();
        for own in [true, false] {
            let of = || self.found().map(|(_, found)| found).filter(|found| (found.allocator == pool) == own);
            let count = |wanted| of().filter(|found| found.compared.ratio.verdict == wanted).count();
            let (faster, slower) = (count(Verdict::Faster), count(Verdict::Slower));
            let whose = if own { pool } else { "The others" };
            match of().count() {
                0 if own => lines.push("Nothing of the pool can be compared.".to_owned()),
                0 => {}
                all => lines.push(format!(
                    "{whose}: {all} figures compared, {faster} faster beyond the noise within a run, {slower} slower, \
                     {} the same or too noisy to tell.",
                    all - faster - slower
                )),
            }
        }
        lines
    }
}

fn sure(found: &Found<'_>) -> bool {
    !matches!(found.compared.ratio.verdict, Verdict::Unclear(_))
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{self, TURNS, frees, scenario};
    use super::*;

    fn versus<'a>(before: &'a Report, after: &'a Report) -> Versus<'a> {
        let run = |file: &str, report| Run { file: file.to_owned(), report };
        Versus::new(run("a.json", before), run("b.json", after))
    }

    #[test]
    fn a_change_is_told_from_none() {
        let of = |mean| {
            made_up::report(vec![
                scenario("hot", vec![frees("pool", mean, &TURNS), frees("b", 8.0, &TURNS)]),
                scenario("cold", vec![frees("pool", 5.0, &TURNS), frees("b", 8.0, &TURNS)]),
            ])
        };
        let (before, after) = (of(4.0), of(6.0));
        let versus = versus(&before, &after);
        let changed = versus.changed();
        assert!(changed.iter().all(|(_, found)| (found.scenario, found.allocator) == ("hot", "pool")));
        assert_eq!(changed.len(), 2, "its mean and its tail");
        let summary = versus.summary();
        assert_eq!(
            summary[0],
            "pool: 4 figures compared, 0 faster beyond the noise within a run, 2 slower, 2 the same or too noisy to tell."
        );
        assert!(
            summary[1]
                .contains("The others: 4 figures compared, 0 faster beyond the noise within a run, 0 slower")
        );
        assert!(versus.warnings().is_empty(), "{:?}", versus.warnings());
    }

    #[test]
    fn what_differs_is_warned_of() {
        let before = made_up::report(vec![scenario("hot", vec![frees("pool", 4.0, &TURNS)])]);
        let mut after = made_up::report(vec![scenario("cold", vec![frees("other", 4.0, &TURNS)])]);
        after.machine.cpu = "another".to_owned();
        after.machine.quick = true;
        let warnings = versus(&before, &after).warnings().join("\n");
        for part in [
            "machines differ",
            "quick run",
            "Scenarios in a only: hot.",
            "Scenarios in b only: cold.",
            "Allocators in a only: pool.",
        ] {
            assert!(warnings.contains(part), "{part} in {warnings}");
        }
        assert_eq!(versus(&before, &after).summary(), ["Nothing of the pool can be compared."]);
        assert!(!versus(&before, &after).is_of_something() && versus(&before, &before).is_of_something());
    }

    #[test]
    fn no_shape_is_too_odd() {
        for before in made_up::shapes() {
            for after in made_up::shapes() {
                let versus = versus(&before, &after);
                assert!(!versus.summary().is_empty() && versus.runs()[0].starts_with("a: a.json: "));
            }
        }
    }
}
