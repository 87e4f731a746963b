//! Meters time operations; series collect what meters saw and become a [`Latency`].

use hdrhistogram::Histogram;

use crate::results::Latency;
use crate::timer::{self, Clock};

/// How a meter times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    /// Not at all: the caches get used to the work.
    #[default]
    Warm,
    /// A whole batch at once: for means.
    Whole,
    /// Each operation by itself: for percentiles.
    Each,
}

/// A batch that was timed at once.
#[derive(Clone, Copy, Debug)]
struct Batch {
    ticks: u64,
    blocks: u32,
}

/// Times the operations of one thread.
pub(crate) struct Meter {
    pub(crate) mode: Mode,
    batches: Vec<Batch>,
    ops: Histogram<u64>,
    /// Ticks of the batch under way; the histogram would disturb what is timed.
    ticks: Vec<u64>,
}

impl Meter {
    pub(crate) fn new() -> Meter {
        Meter {
            mode: Mode::Warm,
            batches: Vec::with_capacity(1 << 16),
            ops: histogram(),
            ticks: Vec::with_capacity(4096),
        }
    }

    /// Calls `op` with 0 .. `count`.
    #[inline(always)]
    pub(crate) fn time(&mut self, count: usize, mut op: impl FnMut(usize)) {
        match self.mode {
            _ if count == 0 => {}
            Mode::Warm => (0..count).for_each(op),
            Mode::Whole => {
                let begin = timer::start();
                (0..count).for_each(op);
                let ticks = timer::stop().wrapping_sub(begin);
                self.batches.push(Batch { ticks, blocks: count as u32 });
            }
            Mode::Each => {
                self.ticks.clear();
                self.ticks.reserve(count);
                for index in 0..count {
                    let begin = timer::start();
                    op(index);
                    let ticks = timer::stop().wrapping_sub(begin);
                    self.ticks.push(ticks);
                }
                for &ticks in &self.ticks {
                    self.ops.saturating_record(ticks);
                }
            }
        }
    }

    fn clear(&mut self) {
        self.batches.clear();
        self.ops.reset();
    }
}

/// What one allocator's calls of one kind took, over all its turns.
pub(crate) struct Series {
    /// Ticks per block, one value per segment.
    means: Vec<f64>,
    ops: Histogram<u64>,
}

impl Series {
    pub(crate) fn new() -> Series {
        Series { means: Vec::new(), ops: histogram() }
    }

    /// Takes over and clears meters that ran side by side. A segment is `per` batches of the one
    /// with the most, and the same share of the others' time.
    pub(crate) fn absorb(&mut self, meters: &mut [&mut Meter], per: usize) {
        let most = meters.iter().map(|meter| meter.batches.len()).max().unwrap_or(0);
        let segments = if most == 0 { 0 } else { (most / per).max(1) };
        for segment in 0..segments {
            let (mut ticks, mut blocks) = (0, 0);
            for meter in meters.iter() {
                let cut = |end: usize| end * meter.batches.len() / segments;
                for batch in &meter.batches[cut(segment)..cut(segment + 1)] {
                    ticks += batch.ticks;
                    blocks += u64::from(batch.blocks);
                }
            }
            if blocks > 0 {
                self.means.push(ticks as f64 / blocks as f64);
            }
        }
        for meter in meters {
            // Both have the same bounds, so it fits.
            let _ = self.ops.add(&meter.ops);
            meter.clear();
        }
    }

    /// The best and the median segment, in ns per block.
    pub(crate) fn means(&self, clock: &Clock) -> (f64, f64) {
        let mut sorted = self.means.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).map_or(0.0, |&ticks| clock.ns(1) * ticks);
        (at(0), at(sorted.len() / 2))
    }

    pub(crate) fn latency(&self, clock: &Clock) -> Latency {
        let (mean, mean_median) = self.means(clock);
        let quantile = |share| clock.ns(self.ops.value_at_quantile(share));
        Latency {
            mean,
            mean_median,
            p50: quantile(0.5),
            p99: quantile(0.99),
            p999: quantile(0.999),
            p9999: quantile(0.9999),
            max: clock.ns(self.ops.max()),
        }
    }
}

/// Up to some 20 s, to 0.1 %.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 1 << 36, 3).expect("the bounds are valid")
}

/// What timing nothing takes: it is part of every percentile.
pub(crate) fn null(clock: &Clock, ops: usize) -> Latency {
    let (mut meter, mut series) = (Meter::new(), Series::new());
    for _ in 0..ops.div_ceil(1000) {
        meter.mode = Mode::Each;
        meter.time(1000, |_| ());
        // The mean of what the pairs show, batch by batch.
        let ticks = meter.ticks.iter().sum();
        meter.batches.push(Batch { ticks, blocks: 1000 });
    }
    series.absorb(&mut [&mut meter], 1);
    series.latency(clock)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(batches: &[(u64, u32)]) -> Meter {
        let mut meter = Meter::new();
        meter.batches.extend(batches.iter().map(|&(ticks, blocks)| Batch { ticks, blocks }));
        meter
    }

    #[test]
    fn a_series_becomes_a_latency() {
        let clock = Clock::calibrate();
        let (mut meter, mut series) = (meter(&[(300, 1), (100, 1), (200, 1)]), Series::new());
        for ticks in 1..=10_000 {
            meter.ops.record(ticks).unwrap();
        }
        series.absorb(&mut [&mut meter], 1);
        let latency = series.latency(&clock);
        let near = |got: f64, ticks: u64| (got / clock.ns(ticks) - 1.0).abs() < 0.002;
        assert!(near(latency.mean, 100) && near(latency.mean_median, 200), "{latency:?}");
        assert!(
            near(latency.p50, 5000) && near(latency.p99, 9900) && near(latency.p999, 9990),
            "{latency:?}"
        );
        assert!(near(latency.max, 10_000), "{latency:?}");
    }

    #[test]
    fn segments_weigh_sides_by_blocks() {
        let (mut near, mut far) = (meter(&[(30, 3); 8]), meter(&[(50, 1); 8]));
        let mut series = Series::new();
        series.absorb(&mut [&mut near, &mut far], 4);
        assert_eq!(series.means, [20.0, 20.0]);
        assert!(near.batches.is_empty() && far.batches.is_empty());
    }

    #[test]
    fn an_empty_series_is_zero() {
        assert_eq!(Series::new().latency(&Clock::calibrate()).max, 0.0);
    }
}
