//! How two allocators' times, or two runs', relate: the first one's over the other's, and how sure that is.
//! Below 1 the first one is faster. It is the pool, or the later run.

use super::stats::{self, Interval};
use crate::results::{Latency, Measured, TurnLatency};

/// What is timed.
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
}

/// What of its times is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    /// The median batch's mean.
    Mean,
    /// The 99.9th percentile of operations timed one by one.
    Tail,
}

impl Quantity {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Quantity::Mean => "mean",
            Quantity::Tail => "p99.9",
        }
    }

    /// In ns. `None`: not measured.
    pub(super) fn of(self, latency: &Latency) -> Option<f64> {
        let value = match self {
            Quantity::Mean => latency.mean_median,
            Quantity::Tail => latency.p999,
        };
        measured(value)
    }

    fn of_turn(self, turn: &TurnLatency) -> f64 {
        match self {
            Quantity::Mean => turn.median,
            Quantity::Tail => turn.p999,
        }
    }

    /// The best batch; a tail has no best.
    fn best(self, latency: &Latency) -> Option<f64> {
        match self {
            Quantity::Mean => measured(latency.mean),
            Quantity::Tail => None,
        }
    }

    fn turns(self, latency: &Latency) -> Vec<f64> {
        latency.turns.iter().map(|turn| self.of_turn(turn)).collect()
    }
}

fn measured(ns: f64) -> Option<f64> {
    (ns.is_finite() && ns > 0.0).then_some(ns)
}

/// An interval whose ends are further apart says too little near 1: by this factor, neighbours of a shared
/// machine move whole runs.
const WIDEST: f64 = 3.0;
/// Further from 1 than this factor, even a wide interval tells who is faster.
const FAR: f64 = 2.0;

/// The histogram rounds times by less than this.
const SAME: f64 = 1.02;

/// What a ratio tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Faster,
    Slower,
    /// Too noisy to tell, and why.
    Unclear(&'static str),
}

/// The first one's time over the other's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ratio {
    /// Of paired turns, the median of their ratios; of two runs, the ratio of the turns' medians.
    pub(super) value: f64,
    /// Of the best batches.
    pub(super) best: Option<f64>,
    /// About 95 %.
    pub(super) interval: Option<Interval>,
    pub(super) verdict: Verdict,
}

impl Ratio {
    /// Two allocators of one run, whose turns of one number followed each other: ratios turn by turn, so that
    /// what slowed both down cancels out. `timer` is the empty timer.
    pub(super) fn paired(
        first: &Latency,
        other: &Latency,
        quantity: Quantity,
        timer: &Latency,
    ) -> Option<Ratio> {
        let turns = first.turns.iter().zip(&other.turns);
        let ratios: Vec<_> = turns
            .filter_map(|(first, other)| {
                Some(measured(quantity.of_turn(first))? / measured(quantity.of_turn(other))?)
            })
            .collect();
        let whole = quantity.of(first)? / quantity.of(other)?;
        let value = stats::median(&ratios).unwrap_or(whole);
        Some(Ratio::new(first, other, quantity, timer, value, stats::median_interval(&ratios)))
    }

    /// The same allocator in two runs, whose turns have nothing to do with each other.
    pub(super) fn unpaired(
        after: &Latency,
        before: &Latency,
        quantity: Quantity,
        timer: &Latency,
    ) -> Option<Ratio> {
        let value = quantity.of(after)? / quantity.of(before)?;
        let turns =
            |latency| -> Vec<_> { quantity.turns(latency).into_iter().filter_map(measured).collect() };
        let (above, below) = (turns(after), turns(before));
        let value =
            stats::median(&above).zip(stats::median(&below)).map_or(value, |(above, below)| above / below);
        Some(Ratio::new(after, before, quantity, timer, value, stats::ratio_interval(&above, &below)))
    }

    /// The same, unless the interval comes within `drift`, where other allocators' ratios went.
    pub(super) fn beyond(self, drift: Interval) -> Ratio {
        let clear = match (self.verdict, self.interval) {
            (Verdict::Slower, Some((low, _))) => low > drift.1,
            (Verdict::Faster, Some((_, high))) => high < drift.0,
            _ => true,
        };
        let verdict = if clear {
            self.verdict
        } else {
            Verdict::Unclear("it goes no further than the other allocators")
        };
        Ratio { verdict, ..self }
    }

    fn new(
        first: &Latency,
        other: &Latency,
        quantity: Quantity,
        timer: &Latency,
        value: f64,
        interval: Option<Interval>,
    ) -> Ratio {
        // Times of single operations hold the timer's own: at most as long as an empty one, they are not told
        // from none.
        let empty = |latency: &Latency| quantity == Quantity::Tail && latency.p999 <= timer.p999 * SAME;
        let verdict = match interval {
            _ if empty(first) && empty(other) => Verdict::Unclear("both are the empty timer's"),
            None => Verdict::Unclear("too few turns for an interval"),
            Some((low, high)) if low <= 1.0 && high >= 1.0 => Verdict::Unclear("the interval holds 1"),
            Some((low, high)) if high > low * WIDEST && low < FAR && high > 1.0 / FAR => {
                Verdict::Unclear("the interval is wide and comes near 1")
            }
            Some((low, _)) if low > 1.0 => Verdict::Slower,
            Some(_) => Verdict::Faster,
        };
        let best = quantity.best(first).zip(quantity.best(other)).map(|(first, other)| first / other);
        Ratio { value, best, interval, verdict }
    }
}

#[cfg(test)]
mod tests {
    use super::super::made_up;
    use super::*;

    const TWELVE: [f64; 12] = [1.0, 1.1, 0.9, 1.0, 1.2, 0.8, 1.0, 1.1, 0.9, 1.0, 1.05, 0.95];

    fn times(mean: f64, shape: &[f64]) -> Latency {
        made_up::latency(mean, shape)
    }

    fn mean(first: &Latency, other: &Latency) -> Ratio {
        Ratio::paired(first, other, Quantity::Mean, &Latency::default()).unwrap()
    }

    /// What slows a whole turn down slows both, and the ratio stays.
    #[test]
    fn pairing_cancels_what_slowed_both() {
        let wild = TWELVE.map(|turn| turn * turn * 10.0);
        let ratio = mean(&times(6.0, &wild), &times(10.0, &wild));
        assert!((ratio.value - 0.6).abs() < 1e-9, "{ratio:?}");
        assert_eq!(ratio.verdict, Verdict::Faster);
        assert_eq!(mean(&times(10.0, &wild), &times(6.0, &wild)).verdict, Verdict::Slower);
        // Unpaired, the same turns tell nothing.
        let timer = Latency::default();
        let ratio = Ratio::unpaired(&times(9.0, &wild), &times(10.0, &wild), Quantity::Mean, &timer).unwrap();
        assert!(matches!(ratio.verdict, Verdict::Unclear(_)), "{ratio:?}");
    }

    #[test]
    fn noise_is_called_noise() {
        let mut back = TWELVE;
        back.reverse();
        let ratio = mean(&times(10.0, &TWELVE), &times(10.0, &back));
        assert_eq!(ratio.verdict, Verdict::Unclear("the interval holds 1"), "{ratio:?}");
        let wide: Vec<_> = (0..12).map(|turn| 1.4_f64.powi(turn)).collect();
        let ratio = mean(&times(1.0, &wide), &times(1.5, &[1.0; 12]));
        assert_eq!(ratio.verdict, Verdict::Unclear("the interval is wide and comes near 1"), "{ratio:?}");
        let ratio = mean(&times(1.0, &wide), &times(1000.0, &[1.0; 12]));
        assert_eq!(ratio.verdict, Verdict::Faster, "wide, and far from 1: {ratio:?}");
        let ratio = mean(&times(10.0, &TWELVE[..5]), &times(100.0, &TWELVE[..5]));
        assert!(ratio.interval.is_none() && (ratio.value - 0.1).abs() < 1e-9, "{ratio:?}");
        assert!(matches!(ratio.verdict, Verdict::Unclear(why) if why.contains("few")), "{ratio:?}");
    }

    #[test]
    fn nothing_has_no_ratio() {
        let none = Latency::default();
        for (first, other) in [(&none, &none), (&times(1.0, &TWELVE), &none), (&none, &times(1.0, &TWELVE))] {
            for quantity in [Quantity::Mean, Quantity::Tail] {
                assert!(Ratio::paired(first, other, quantity, &none).is_none());
                assert!(Ratio::unpaired(first, other, quantity, &none).is_none());
            }
        }
        // No turns, but a mean.
        let ratio = mean(&times(3.0, &[]), &times(6.0, &[]));
        assert!((ratio.value - 0.5).abs() < 1e-9 && ratio.interval.is_none(), "{ratio:?}");
    }

    /// The timer's step is not taken for a difference.
    #[test]
    fn tails_at_the_empty_timers_are_the_same() {
        let tail = |ns: f64| Latency {
            p999: ns,
            turns: vec![TurnLatency { best: 1.0, median: 1.0, p999: ns }; 12],
            ..Latency::default()
        };
        let of =
            |first, other| Ratio::paired(&tail(first), &tail(other), Quantity::Tail, &tail(30.0)).unwrap();
        assert_eq!(of(20.0, 30.0).verdict, Verdict::Unclear("both are the empty timer's"));
        assert_eq!(of(30.0, 60.0).verdict, Verdict::Faster);
        assert_eq!(of(60.0, 30.0).verdict, Verdict::Slower);
        assert!(of(60.0, 30.0).best.is_none());
    }
}
