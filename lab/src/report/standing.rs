//! Where the pool stands among the other allocators: all grids of a run, and what they come to.

use super::grid::{Found, Grid};
use super::ratio::{Measure, Quantity, Verdict};
use super::stats;
use super::text::{ns, ratio, span};
use crate::results::{Machine, Report};

/// What is compared, in the order of the page.
const COMPARED: [(Measure, Quantity); 4] = [
    (Measure::Free, Quantity::Mean),
    (Measure::Free, Quantity::Tail),
    (Measure::Allocate, Quantity::Mean),
    (Measure::Pair, Quantity::Mean),
];

/// The grids of a run, or of two; empty ones are left out.
pub(super) fn standings(report: &Report) -> Vec<Grid> {
    grids(|measure, quantity| Grid::standing(report, measure, quantity))
}

/// The same of a later run against an earlier one.
pub(super) fn changes(before: &Report, after: &Report) -> Vec<Grid> {
    grids(|measure, quantity| Grid::changes(before, after, measure, quantity))
}

fn grids(grid: impl Fn(Measure, Quantity) -> Grid) -> Vec<Grid> {
    let grids = COMPARED.iter().map(|&(measure, quantity)| grid(measure, quantity));
    grids.filter(|grid| !grid.rows.is_empty() && !grid.columns.is_empty()).collect()
}

/// What one grid of a run comes to: the main thing first, then each other allocator, how many comparisons
/// say so, and the worst row.
pub(super) fn verdict(grid: &Grid) -> Vec<String> {
    let hardest = grid.hardest();
    let ratios: Vec<_> = hardest.iter().map(|found| found.compared.ratio.value).collect();
    let Some(mean) = stats::geometric_mean(&ratios) else { return Vec::new() };
    let over = match ratios.len() {
        1 => "in the only scenario".to_owned(),
        count => format!("geometric mean of {count} scenarios"),
    };
    let mut lines = Vec::new();
    match grid.columns.as_slice() {
        [one] => lines.push(format!("{}: {} of {one}'s time, {over}.", grid.name(), ratio(mean))),
        all => {
            let whose = "of the time of the fastest other allocator of each scenario";
            lines.push(format!("{}: {} {whose}, {over}.", grid.name(), ratio(mean)));
            let each = all.iter().enumerate();
            let each =
                each.filter_map(|(column, name)| Some(format!("{name} {}", ratio(grid.overall(column)?.0))));
            lines.push(format!("Against each: {}.", each.collect::<Vec<_>>().join(", ")));
        }
    }
    let faster = grid.count(|verdict| verdict == Verdict::Faster);
    let slower = grid.count(|verdict| verdict == Verdict::Slower);
    let all = grid.count(|_| true);
    let unclear = all - faster - slower;
    lines.push(format!(
        "Of {all} comparisons: {faster} faster, {slower} slower, {unclear} too noisy to tell."
    ));
    if ratios.len() > 1
        && let Some(worst) = worst_row(&hardest)
    {
        lines.push(format!("Worst row: {worst}."));
    }
    lines
}

/// The row in which the pool does worst, of those that tell, or if none does, of all.
pub(super) fn worst_row(hardest: &[Found<'_>]) -> Option<String> {
    let sure = |found: &&Found<'_>| !matches!(found.compared.ratio.verdict, Verdict::Unclear(_));
    worst(hardest.iter().filter(sure)).or_else(|| worst(hardest.iter())).map(describe)
}

fn worst<'a>(found: impl Iterator<Item = &'a Found<'a>>) -> Option<&'a Found<'a>> {
    found.max_by(|a, b| a.compared.ratio.value.total_cmp(&b.compared.ratio.value))
}

/// "remote-25, 1.72 of mimalloc's time (20.8 against 16.1 ns; 1.21 to 2.31)".
fn describe(found: &Found<'_>) -> String {
    let compared = found.compared;
    let interval =
        compared.ratio.interval.map(|interval| format!("; {}", span(interval))).unwrap_or_default();
    let unclear = match compared.ratio.verdict {
        Verdict::Unclear(why) => format!(", too noisy to tell: {why}"),
        _ => String::new(),
    };
    format!(
        "{}, {} of {}'s time ({} against {} ns{interval}{unclear})",
        found.scenario,
        ratio(compared.ratio.value),
        found.allocator,
        ns(compared.first),
        ns(compared.other)
    )
}

/// What stands above the rows of [`slower`].
pub(super) const SLOWER: &str = "Where another allocator is faster, beyond noise";

/// Where another allocator is faster than the pool beyond noise, the worst first.
pub(super) fn slower(grids: &[Grid]) -> Vec<(&Grid, Found<'_>)> {
    let all = grids.iter().flat_map(|grid| grid.found().into_iter().map(move |found| (grid, found)));
    let mut found: Vec<_> = all
        .filter(|(_, found)| found.is_of_another() && found.compared.ratio.verdict == Verdict::Slower)
        .collect();
    found.sort_by(|(_, a), (_, b)| b.compared.ratio.value.total_cmp(&a.compared.ratio.value));
    found
}

/// What a list of where the pool is slower says when it is empty.
pub(super) fn nowhere(grids: &[Grid]) -> &'static str {
    if grids.iter().all(|grid| grid.count(|_| true) == 0) {
        return "No other allocator than the pool took part in what was compared.";
    }
    let sure = grids.iter().any(|grid| grid.count(|verdict| !matches!(verdict, Verdict::Unclear(_))) > 0);
    if sure {
        "Nowhere in this run is another allocator faster beyond noise."
    } else {
        "Nothing in this run tells who is faster: the turns are too few, or too noisy."
    }
}

/// "n of m as documented".
pub(super) fn contract_summary(report: &Report) -> String {
    let good = report.contract.iter().filter(|check| check.ok).count();
    format!("{good} of {} as documented", report.contract.len())
}

/// What ran where and when, in a line.
pub(super) fn run(machine: &Machine) -> String {
    let Machine { cpu, cpus, kernel, commit, date, version, revision, turn_ms, processes, .. } = machine;
    let effort = match (machine.quick, turn_ms, processes) {
        (true, ..) => "a quick run, rough numbers".to_owned(),
        (false, 0, _) => "a full run".to_owned(),
        (false, turn_ms, 0 | 1) => format!("turns of {turn_ms} ms, in one process a row"),
        (false, turn_ms, processes) => format!("turns of {turn_ms} ms, in {processes} processes a row"),
    };
    let program = match (version.as_str(), revision.as_str()) {
        ("", _) => "unknown version".to_owned(),
        (version, "") => format!("version {version}"),
        (version, revision) => format!("version {version}, commit {revision}"),
    };
    let date = if date.is_empty() { "date unknown" } else { date };
    format!("{cpu}, {cpus} CPUs, {kernel}; per-CPU commits by {commit}; {program}; {effort}; {date}")
}

/// How to read the ratios.
pub(super) const RATIOS: &str = "Ratios are the pool's time over the other's: below 1 the pool is faster. Allocators take \
    turns; a ratio is the median of the ratios of turns that followed each other, its interval the sign test's, \
    at 95 % or a little more. Too noisy to tell: the interval holds 1, or is wider than a factor of 3 and \
    comes within a factor of 2 of it, or there are fewer than six turns, or both times are the empty timer's.";

/// How to read the times.
pub(super) const TIMES: &str = "best and median: of many batches' means, no timer inside. p50 to max: operations \
    timed one by one, timer included, so compare them with the empty timer.";

/// What the workloads are and are not.
pub(super) const ASSUMPTION: &str = "The Storport workloads' sizes and tags follow what public drivers \
    allocate; their weights and rates are assumptions, not measurements of a real system.";

#[cfg(test)]
mod tests {
    use super::super::made_up::{self, TURNS, frees, scenario};
    use super::*;

    #[test]
    fn the_verdict_names_the_worst_row() {
        let report = made_up::report(vec![
            scenario(
                "hot",
                vec![frees("pool", 4.0, &TURNS), frees("b", 8.0, &TURNS), frees("c", 16.0, &TURNS)],
            ),
            scenario(
                "cold",
                vec![frees("pool", 4.0, &TURNS), frees("b", 2.0, &TURNS), frees("c", 16.0, &TURNS)],
            ),
        ]);
        let grids = standings(&report);
        assert_eq!(grids.len(), 2);
        let lines = verdict(&grids[0]).join("\n");
        assert!(lines.starts_with("free, mean: 1.00 of the time of the fastest"), "{lines}");
        assert!(lines.contains("2 scenarios.\nAgainst each: b 1.00, c 0.25."), "{lines}");
        assert!(lines.contains("Of 4 comparisons: 3 faster, 1 slower, 0 too noisy"), "{lines}");
        assert!(
            lines.contains("Worst row: cold, 2.00 of b's time (4.0 against 2.0 ns; 2.00 to 2.00)."),
            "{lines}"
        );
        let slower = slower(&grids);
        assert_eq!(slower.len(), 2);
        assert!(slower.iter().all(|(_, found)| (found.scenario, found.allocator) == ("cold", "b")));
    }

    #[test]
    fn no_shape_is_too_odd() {
        for report in made_up::shapes() {
            let grids = standings(&report);
            assert!(grids.iter().all(|grid| verdict(grid).iter().all(|line| !line.contains("NaN"))));
            if report.machine.quick {
                assert!(slower(&grids).is_empty() && nowhere(&grids).starts_with("Nothing"));
            }
        }
    }
}
