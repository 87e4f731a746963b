//! The same numbers for terminal and page: rows per measure, ratios, and where the pool loses.

use super::text::{factor, ns};
use crate::results::{Latency, Measured, Report, Scenario};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    Free,
    Allocate,
    Pair,
}

impl Measure {
    pub(super) const ALL: [Measure; 3] = [Measure::Free, Measure::Allocate, Measure::Pair];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Measure::Free => "free",
            Measure::Allocate => "allocate",
            Measure::Pair => "allocate + free",
        }
    }

    pub(super) const fn latency(self, measured: &Measured) -> Option<&Latency> {
        match self {
            Measure::Free => measured.free.as_ref(),
            Measure::Allocate => measured.alloc.as_ref(),
            Measure::Pair => measured.pair.as_ref(),
        }
    }

    pub(super) fn mean(self, measured: &Measured) -> Option<f64> {
        self.latency(measured).map(|latency| latency.mean).filter(|&mean| mean > 0.0)
    }
}

/// An allocator's mean of one measure in one scenario.
pub(super) struct Row<'a> {
    pub(super) measured: &'a Measured,
    /// Only in the first row of a scenario.
    pub(super) scenario: &'a str,
    pub(super) mean: f64,
    /// This mean over the pool's: above 1, the pool is faster.
    pub(super) ratio: Option<f64>,
}

/// The pool's own numbers: the first of a scenario's allocators.
pub(super) fn pool(scenario: &Scenario) -> Option<&Measured> {
    scenario.allocators.first()
}

/// All rows of a measure, scenario by scenario.
pub(super) fn rows(report: &Report, measure: Measure) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for scenario in &report.scenarios {
        let own = pool(scenario).and_then(|pool| measure.mean(pool));
        let mut name = scenario.name.as_str();
        for (place, measured) in scenario.allocators.iter().enumerate() {
            let Some(mean) = measure.mean(measured) else { continue };
            let ratio = own.filter(|_| place > 0).map(|own| mean / own);
            rows.push(Row { measured, scenario: std::mem::take(&mut name), mean, ratio });
        }
    }
    rows
}

/// Differences below this share are noise.
const NOISE: f64 = 0.02;

/// Where another allocator beats the pool, a sentence each; the means, and the tail of free.
pub(super) fn losses(report: &Report) -> Vec<String> {
    let mut losses = Vec::new();
    for measure in Measure::ALL {
        collect(report, &format!("{}, mean", measure.name()), &mut losses, |measured| measure.mean(measured));
    }
    collect(report, "free, p99", &mut losses, |measured| measured.free.as_ref().map(|free| free.p99));
    collect(report, "free, p99.9", &mut losses, |measured| measured.free.as_ref().map(|free| free.p999));
    losses
}

fn collect(report: &Report, what: &str, losses: &mut Vec<String>, of: impl Fn(&Measured) -> Option<f64>) {
    let mut found = Vec::new();
    for scenario in &report.scenarios {
        let Some(own) = pool(scenario).and_then(&of) else { continue };
        for other in scenario.allocators.iter().skip(1) {
            if let Some(theirs) = of(other).filter(|&theirs| theirs > 0.0 && own > theirs * (1.0 + NOISE)) {
                found.push(format!(
                    "{} to {} ({} against {} ns)",
                    scenario.name,
                    other.name,
                    ns(own),
                    ns(theirs)
                ));
            }
        }
    }
    if !found.is_empty() {
        losses.push(format!("{what}: {}", found.join("; ")));
    }
}

/// Each other allocator against the pool over all scenarios: the geometric mean of its ratios.
pub(super) fn overall(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for measure in Measure::ALL {
        let mut ratios: Vec<(&str, Vec<f64>)> = Vec::new();
        for row in rows(report, measure) {
            let Some(ratio) = row.ratio else { continue };
            match ratios.iter_mut().find(|(name, _)| *name == row.measured.name) {
                Some((_, found)) => found.push(ratio),
                None => ratios.push((&row.measured.name, vec![ratio])),
            }
        }
        let others: Vec<_> = ratios
            .iter()
            .map(|(name, found)| {
                let mean = (found.iter().map(|ratio| ratio.ln()).sum::<f64>() / found.len() as f64).exp();
                format!("{name} {}", factor(mean))
            })
            .collect();
        if !others.is_empty() {
            let scenarios = ratios.first().map_or(0, |(_, found)| found.len());
            let of = if scenarios > 1 {
                format!(" (geometric mean of {scenarios} scenarios)")
            } else {
                String::new()
            };
            lines.push(format!("{}, beside the pool{of}: {} its time.", measure.name(), others.join(", ")));
        }
    }
    lines
}

/// "n of m as documented".
pub(super) fn contract_summary(report: &Report) -> String {
    let good = report.contract.iter().filter(|check| check.ok).count();
    format!("{good} of {} as documented", report.contract.len())
}

/// How to read the latency numbers.
pub(super) const LEGEND: &str = "mean: the best of many batches, no timer inside (median: the batches' median). \
    p50 to max: operations timed one by one, timer included, so compare them with the empty timer. \
    vs pool: this mean over the pool's; above 1 the pool is faster.";

/// What the workloads are and are not.
pub(super) const ASSUMPTION: &str = "The Storport workloads' sizes and tags follow what public drivers \
    allocate; their weights and rates are assumptions, not measurements of a real system.";
