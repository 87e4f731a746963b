//! Turns add up to a distribution.

use hdrhistogram::Histogram;

use crate::meter::{Figures, histogram};
use crate::results::{Latency, TurnLatency};
use crate::timer::Clock;

/// All turns of one allocator's calls of one kind.
pub(crate) struct Collected {
    turns: Vec<TurnLatency>,
    ops: Histogram<u64>,
    timeline: Vec<(f64, f64)>,
    clock: Clock,
}

impl Collected {
    pub(crate) fn new(clock: Clock) -> Collected {
        Collected { turns: Vec::new(), ops: histogram(), timeline: Vec::new(), clock }
    }

    /// Adds a turn.
    pub(crate) fn add(&mut self, figures: &Figures) {
        let ns = |ticks: f64| rounded(ticks * self.clock.ns(1));
        let mut ops = histogram();
        for &(ticks, count) in &figures.ops {
            // Within the bounds, or it would not have been recorded.
            let _ = ops.record_n(ticks, count);
        }
        if let Some((best, median)) = figures.best.zip(figures.median) {
            let p999 = rounded(self.clock.ns(ops.value_at_quantile(0.999)));
            self.turns.push(TurnLatency { best: ns(best), median: ns(median), p999 });
        }
        // Both have the same bounds, so it fits.
        let _ = self.ops.add(&ops);
        if !figures.slowest.is_empty() {
            let point =
                |&(at, ticks): &(u64, u64)| (rounded(self.clock.ns(at) / 1e6), rounded(self.clock.ns(ticks)));
            self.timeline = figures.slowest.iter().map(point).collect();
        }
    }

    /// `None` when nothing was timed.
    pub(crate) fn latency(self) -> Option<Latency> {
        if self.turns.is_empty() && self.ops.is_empty() {
            return None;
        }
        let quantile = |share| rounded(self.clock.ns(self.ops.value_at_quantile(share)));
        let mut medians: Vec<_> = self.turns.iter().map(|turn| turn.median).collect();
        medians.sort_by(f64::total_cmp);
        Some(Latency {
            mean: self.turns.iter().map(|turn| turn.best).min_by(f64::total_cmp).unwrap_or(0.0),
            mean_median: medians.get(medians.len() / 2).copied().unwrap_or(0.0),
            p50: quantile(0.5),
            p99: quantile(0.99),
            p999: quantile(0.999),
            p9999: quantile(0.9999),
            max: rounded(self.clock.ns(self.ops.max())),
            curve: shares(self.ops.len()).map(|share| (share, quantile(share))).collect(),
            turns: self.turns,
            timeline: self.timeline,
        })
    }
}

/// To a hundredth, which is more than anybody can tell, and keeps the files short.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Where a curve has its points: eight a decade of what is left, as far as `count` operations tell.
fn shares(count: u64) -> impl Iterator<Item = f64> {
    (0..)
        .map(|step| 10_f64.powf(-f64::from(step) / 8.0))
        .take_while(move |left| left * count as f64 >= 1.0)
        .map(|left| ((1.0 - left) * 1e10).round() / 1e10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_become_a_latency() {
        let clock = Clock::calibrate();
        let mut all = Collected::new(clock);
        for (best, median) in [(300.0, 400.0), (100.0, 200.0), (200.0, 300.0)] {
            let ops = (1..=10_000).map(|ticks| (ticks, 1)).collect();
            all.add(&Figures { best: Some(best), median: Some(median), ops, slowest: vec![(0, 7)] });
        }
        let latency = all.latency().unwrap();
        let near = |got: f64, ticks: u64| (got / clock.ns(ticks) - 1.0).abs() < 0.01;
        assert!(near(latency.mean, 100) && near(latency.mean_median, 300), "{latency:?}");
        assert!(near(latency.p50, 5000) && near(latency.p99, 9900) && near(latency.p999, 9990));
        assert!(near(latency.max, 10_000) && near(latency.turns[1].p999, 9990), "{latency:?}");
        assert!(near(latency.curve[8].1, 9000) && latency.curve.is_sorted(), "{:?}", latency.curve);
        assert_eq!((latency.turns.len(), latency.timeline.len()), (3, 1));
    }

    #[test]
    fn nothing_is_no_latency() {
        assert!(Collected::new(Clock::calibrate()).latency().is_none());
    }
}
