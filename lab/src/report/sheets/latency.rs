//! Times and ratios.

use super::super::bars;
use super::super::grid::{self, Found, Grid};
use super::super::ratio::{Measure, Verdict};
use super::super::standing::{ASSUMPTION, TIMES};
use super::super::stats;
use super::super::text::{mib, ns, ratio, short, span};
use super::{Cell, Sheet, Tone};
use crate::results::{Latency, Memory, Report, Scenario};

/// With more columns than these there is no room for times beside the ratios.
const FEW: usize = 4;

/// What each scenario does.
pub(in super::super) fn scenarios(report: &Report) -> Sheet {
    let mut sheet = Sheet::new("Latency: the scenarios", ASSUMPTION, &["scenario", "what happens"], 2);
    for scenario in &report.scenarios {
        sheet.row(false, [scenario.name.clone(), scenario.about.clone()]);
    }
    sheet
}

/// A grid's ratios, with the times where there is room.
pub(in super::super) fn ratios(grid: &Grid, heading: &str, about: &str) -> Sheet {
    let own = grid.rows.iter().any(|row| row.own.is_some());
    let times = own && grid.columns.len() <= FEW;
    let mut columns = vec!["scenario".to_owned()];
    columns.extend(own.then(|| "pool, ns".to_owned()));
    for name in &grid.columns {
        columns.extend(times.then(|| format!("{name}, ns")));
        columns.push(if times { "ratio".to_owned() } else { name.clone() });
    }
    let mut sheet = Sheet::new(format!("{heading}: {}", grid.name()), about, &columns, 1);
    for row in &grid.rows {
        let mut cells = vec![Cell::from(row.scenario.clone())];
        cells.extend(own.then(|| Cell::from(row.own.map(ns).unwrap_or_default())));
        for cell in &row.cells {
            match cell {
                grid::Cell::Ratio(compared) => {
                    cells.extend(times.then(|| Cell::from(ns(compared.other))));
                    cells.push(marked(compared.ratio.value, compared.ratio.verdict));
                }
                grid::Cell::Missing(_) => {
                    cells.extend(times.then(|| Cell::from(String::new())));
                    cells.push(Cell::from("n/a".to_owned()));
                }
            }
        }
        sheet.row(false, cells);
    }
    if grid.rows.len() > 1 {
        let mut cells = vec![Cell::from("geometric mean".to_owned())];
        cells.extend(own.then(|| Cell::from(String::new())));
        for column in 0..grid.columns.len() {
            cells.extend(times.then(|| Cell::from(String::new())));
            cells.push(Cell::from(
                grid.overall(column).map_or_else(|| "n/a".to_owned(), |(mean, _)| ratio(mean)),
            ));
        }
        sheet.row(true, cells);
    }
    for (why, whose) in grid.missing() {
        sheet.footnotes.push(format!("n/a, {whose}: {why}."));
    }
    sheet
}

/// A ratio; with a wave, one that tells nothing.
pub(super) fn marked(value: f64, verdict: Verdict) -> Cell {
    match verdict {
        Verdict::Faster => Cell::new(ratio(value), Tone::Good),
        Verdict::Slower => Cell::new(ratio(value), Tone::Bad),
        Verdict::Unclear(_) => Cell::new(format!("~{}", ratio(value)), Tone::Plain),
    }
}

/// The geometric means of all grids, drawn.
pub(in super::super) fn overall(grids: &[Grid]) -> Sheet {
    // The lone row of both calls together stands in its own table.
    let grids: Vec<_> = grids.iter().filter(|grid| grid.measure != Measure::Pair).collect();
    let mut columns = vec!["pool's time over that of".to_owned()];
    for grid in &grids {
        columns.extend([grid.name(), bars::SCALE.to_owned()]);
    }
    let about = "Geometric means of the ratios of all scenarios. Bars to the left: the pool is faster.";
    let mut sheet = Sheet::new("Latency: all scenarios together", about, &columns, 1);
    let Some(first) = grids.first() else { return sheet };
    let drawn = |mean: Option<f64>| match mean {
        Some(mean) => [ratio(mean), bars::diverging(mean)],
        None => ["n/a".to_owned(), String::new()],
    };
    for (column, name) in first.columns.iter().enumerate() {
        let means = grids.iter().flat_map(|grid| drawn(grid.overall(column).map(|(mean, _)| mean)));
        sheet.row(false, std::iter::once(name.clone()).chain(means));
    }
    if first.columns.len() > 1 {
        let hardest = |grid: &&Grid| {
            let ratios: Vec<_> = grid.hardest().iter().map(|found| found.compared.ratio.value).collect();
            drawn(stats::geometric_mean(&ratios))
        };
        let means = grids.iter().flat_map(hardest);
        sheet.row(true, std::iter::once("the fastest of each scenario".to_owned()).chain(means));
    }
    sheet
}

/// Free one by one: the pool, and whoever else has the lowest 99.9th percentile.
pub(in super::super) fn tails(report: &Report) -> Sheet {
    let columns = ["scenario", "allocator", "p50", "p99", "p99.9", "p99.99", "max", bars::CURVE];
    let about = "Each free timed alone, in ns (µ: us, m: ms), the timer included: the pool, and the other allocator \
                 with the lowest p99.9.";
    let mut sheet = Sheet::new("Latency: free, one by one", about, &columns, 2);
    let mut shown: Vec<(&str, &str, &Latency)> = vec![("(empty timer)", "", &report.timer)];
    for scenario in &report.scenarios {
        let of = |place: usize| {
            let measured = scenario.allocators.get(place)?;
            Some((measured.name.as_str(), measured.free.as_ref()?))
        };
        let others = (1..scenario.allocators.len()).filter_map(of);
        let best = others.min_by(|(_, a), (_, b)| a.p999.total_cmp(&b.p999));
        let mut name = scenario.name.as_str();
        for (allocator, free) in of(0).into_iter().chain(best) {
            shown.push((std::mem::take(&mut name), allocator, free));
        }
    }
    if shown.len() == 1 {
        return sheet;
    }
    let range = bars::range(shown.iter().map(|(_, _, latency)| *latency));
    for (scenario, allocator, latency) in shown {
        let Latency { p50, p99, p999, p9999, max, .. } = *latency;
        let mut cells = vec![scenario.to_owned(), allocator.to_owned()];
        cells.extend([p50, p99, p999, p9999, max].map(short));
        // Begins at one place in all rows, though numbers end at one.
        cells.push(format!("{:1$}", bars::curve(latency, range), bars::WIDTH));
        sheet.row(!scenario.is_empty(), cells);
    }
    sheet
}

/// The distribution of a measure for everyone, the empty timer on top.
pub(in super::super) fn percentiles(report: &Report, measure: Measure) -> Sheet {
    let columns = ["scenario", "allocator", "best", "median", "p50", "p99", "p99.9", "p99.99", "max"];
    let mut sheet = Sheet::new(format!("All times: {}, in ns", measure.name()), TIMES, &columns, 2);
    for scenario in &report.scenarios {
        let mut name = scenario.name.as_str();
        for measured in &scenario.allocators {
            let Some(latency) = measure.latency(measured) else { continue };
            if sheet.rows.is_empty() {
                sheet.row(false, times("(empty timer)", "", &report.timer));
            }
            let first = !name.is_empty();
            sheet.row(first, times(std::mem::take(&mut name), &measured.name, latency));
        }
    }
    sheet
}

fn times(scenario: &str, name: &str, latency: &Latency) -> Vec<String> {
    let Latency { mean, mean_median, p50, p99, p999, p9999, max, .. } = *latency;
    let mut cells = vec![scenario.to_owned(), name.to_owned()];
    cells.extend([mean, mean_median, p50, p99, p999, p9999, max].map(ns));
    cells
}

/// Rows where one is faster than the other beyond noise.
pub(in super::super) fn found(
    heading: &str,
    about: &str,
    between: [&str; 2],
    found: &[(&Grid, Found<'_>)],
) -> Sheet {
    let columns = ["scenario", "measure", "allocator", "ratio", between[0], between[1], "interval"];
    let mut sheet = Sheet::new(heading, about, &columns, 3);
    for (grid, found) in found {
        let compared = found.compared;
        let whose = [found.scenario.to_owned(), grid.name(), found.allocator.to_owned()];
        let mut cells = Vec::from(whose.map(Cell::from));
        cells.push(marked(compared.ratio.value, compared.ratio.verdict));
        cells.extend([compared.first, compared.other].map(|time| Cell::from(ns(time))));
        cells.push(Cell::from(compared.ratio.interval.map(span).unwrap_or_default()));
        sheet.row(false, cells);
    }
    sheet
}

/// What is resident, where the scenario knows how much was asked for.
pub(in super::super) fn memory(report: &Report) -> Sheet {
    let columns =
        ["scenario", "allocator", "payload", "peak", "freed", "trimmed", "peak, x", "freed, x", "trimmed, x"];
    let about = "Resident MiB beyond what the process had before its first allocation: at the peak, after all was freed, \
                 after the allocator was asked to give back what it can. Payload: the bytes asked for that were live at \
                 the peak; x: so many times the payload.";
    let mut sheet = Sheet::new("Memory, in MiB", about, &columns, 2);
    for scenario in &report.scenarios {
        let mut name = scenario.name.as_str();
        for (allocator, memory) in resident(scenario) {
            let first = !name.is_empty();
            let grown = memory.grown();
            let mut cells =
                vec![std::mem::take(&mut name).to_owned(), allocator.to_owned(), mib(memory.payload)];
            cells.extend(grown.map(mib));
            cells.extend(grown.map(|bytes| format!("{:.2}", bytes as f64 / memory.payload as f64)));
            sheet.row(first, cells);
        }
    }
    sheet
}

/// Whose memory can be compared with what was asked for.
pub(in super::super) fn resident(scenario: &Scenario) -> impl Iterator<Item = (&str, Memory)> {
    scenario.allocators.iter().filter_map(|measured| {
        let memory = measured.memory.filter(|memory| memory.payload > 0 && memory.peak > 0)?;
        Some((measured.name.as_str(), memory))
    })
}
