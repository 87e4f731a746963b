//! Meters time operations; series collect what the meters of one turn saw.

use std::ops::Range;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::timer;

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
    /// By batch of single operations: when it began, and the slowest one's ticks.
    slowest: Vec<(u64, u64)>,
}

impl Meter {
    pub(crate) fn new() -> Meter {
        Meter {
            mode: Mode::Warm,
            batches: Vec::with_capacity(1 << 12),
            ops: histogram(),
            ticks: Vec::with_capacity(4096),
            slowest: Vec::with_capacity(1 << 10),
        }
    }

    /// Calls `op` with 0 .. `count`.
    #[inline(always)]
    pub(crate) fn time(&mut self, count: usize, op: impl FnMut(usize)) {
        self.calls(count, count, op);
    }

    /// Calls `call` with 0 .. `count` in parts of `most`; the last one may be smaller. Means are by block all the same,
    /// but a call that is timed by itself counts whole.
    #[inline(always)]
    pub(crate) fn time_parts(&mut self, count: usize, most: usize, mut call: impl FnMut(Range<usize>)) {
        let part = |index| call(index * most..count.min((index + 1) * most));
        self.calls(count, count.div_ceil(most), part);
    }

    /// Calls `op` with 0 .. `calls`, for `blocks` blocks in all.
    #[inline(always)]
    fn calls(&mut self, blocks: usize, calls: usize, mut op: impl FnMut(usize)) {
        match self.mode {
            _ if blocks == 0 => {}
            Mode::Warm => (0..calls).for_each(op),
            Mode::Whole => {
                let begin = timer::start();
                (0..calls).for_each(op);
                self.batch(begin, timer::stop(), blocks);
            }
            Mode::Each => {
                self.ticks.clear();
                self.ticks.reserve(calls);
                let first = timer::start();
                for index in 0..calls {
                    let begin = timer::start();
                    op(index);
                    let ticks = timer::stop().wrapping_sub(begin);
                    self.ticks.push(ticks);
                }
                self.record(first);
            }
        }
    }

    /// A batch whose time stamps were taken elsewhere.
    pub(crate) fn batch(&mut self, begin: u64, end: u64, count: usize) {
        self.batches.push(Batch { ticks: end.wrapping_sub(begin), blocks: count as u32 });
    }

    /// Single operations that were timed elsewhere, from `first` on.
    pub(crate) fn each(&mut self, first: u64, ticks: &[u64]) {
        self.ticks.clear();
        self.ticks.extend_from_slice(ticks);
        self.record(first);
    }

    fn record(&mut self, first: u64) {
        for &ticks in &self.ticks {
            self.ops.saturating_record(ticks);
        }
        self.slowest.extend(self.ticks.iter().max().map(|&slowest| (first, slowest)));
    }
}

/// What one turn found of one kind of call, in ticks: small enough to be sent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Of the segments' means; absent when nothing was timed as a whole.
    pub(crate) best: Option<f64>,
    pub(crate) median: Option<f64>,
    /// Single operations: (ticks, how many).
    pub(crate) ops: Vec<(u64, u64)>,
    /// (ticks since the first, slowest ticks), in the order of time.
    pub(crate) slowest: Vec<(u64, u64)>,
}

/// Points of a timeline.
const POINTS: usize = 240;

/// What one allocator's calls of one kind took in one turn.
pub(crate) struct Series {
    /// Ticks per block, one value per segment.
    means: Vec<f64>,
    ops: Histogram<u64>,
    slowest: Vec<(u64, u64)>,
}

impl Series {
    pub(crate) fn new() -> Series {
        Series { means: Vec::new(), ops: histogram(), slowest: Vec::new() }
    }

    /// Takes over what meters saw that ran side by side. A segment is `per` batches of the one
    /// with the most, and the same share of the others' time.
    pub(crate) fn absorb<'a>(&mut self, meters: impl IntoIterator<Item = &'a mut Meter>, per: usize) {
        let meters: Vec<_> = meters.into_iter().collect();
        let most = meters.iter().map(|meter| meter.batches.len()).max().unwrap_or(0);
        let segments = if most == 0 { 0 } else { (most / per).max(1) };
        for segment in 0..segments {
            let (mut ticks, mut blocks) = (0, 0);
            for meter in &meters {
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
            self.slowest.append(&mut meter.slowest);
            meter.batches.clear();
            meter.ops.reset();
        }
    }

    /// The best and the median segment.
    pub(crate) fn means(&self) -> Option<(f64, f64)> {
        let mut sorted = self.means.clone();
        sorted.sort_by(f64::total_cmp);
        Some((*sorted.first()?, sorted[sorted.len() / 2]))
    }

    pub(crate) fn figures(mut self) -> Figures {
        let (best, median) = self.means().unzip();
        let ops = self.ops.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()));
        let ops = ops.collect();
        self.slowest.sort_unstable();
        let first = self.slowest.first().map_or(0, |&(at, _)| at);
        let per = self.slowest.len().div_ceil(POINTS).max(1);
        let point = |points: &[(u64, u64)]| {
            (points[0].0 - first, points.iter().map(|&(_, ticks)| ticks).max().unwrap_or(0))
        };
        Figures { best, median, ops, slowest: self.slowest.chunks(per).map(point).collect() }
    }
}

/// Up to some 20 s, to 1 %: small, since each thread of a scenario has two.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 1 << 36, 2).expect("the bounds are valid")
}

/// What timing nothing takes: it is part of every percentile.
pub(crate) fn empty(ops: usize) -> Figures {
    let (mut meter, mut series) = (Meter::new(), Series::new());
    for _ in 0..ops.div_ceil(1000) {
        meter.mode = Mode::Each;
        meter.time(1000, |_| ());
        // The mean of what the pairs show, batch by batch.
        let ticks = meter.ticks.iter().sum();
        meter.batch(0, ticks, 1000);
    }
    series.absorb([&mut meter], 1);
    series.figures()
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
    fn segments_weigh_sides_by_blocks() {
        let (mut near, mut far) = (meter(&[(30, 3); 8]), meter(&[(50, 1); 8]));
        let mut series = Series::new();
        series.absorb([&mut near, &mut far], 4);
        assert_eq!(series.means, [20.0, 20.0]);
        assert!(near.batches.is_empty() && far.batches.is_empty());
    }

    #[test]
    fn parts_are_whole_but_the_last() {
        let mut meter = meter(&[]);
        for (mode, timed) in [(Mode::Warm, 0), (Mode::Whole, 0), (Mode::Each, 3)] {
            let mut parts = Vec::new();
            meter.mode = mode;
            meter.time_parts(70, 32, |part| parts.push(part));
            assert_eq!(parts, [0..32, 32..64, 64..70], "{mode:?}");
            assert_eq!(meter.ticks.len(), timed, "{mode:?}");
        }
        meter.time_parts(0, 32, |_| unreachable!("there is nothing to do"));
        let blocks: Vec<_> = meter.batches.iter().map(|batch| batch.blocks).collect();
        assert_eq!((blocks, meter.ops.len()), (vec![70], 3));
    }

    #[test]
    fn figures_keep_the_slowest_of_each_stretch() {
        let (mut meter, mut series) = (meter(&[]), Series::new());
        for at in 0..1000 {
            meter.each(5000 + at, &[1, 100 + at, 3]);
        }
        series.absorb([&mut meter], 1);
        let figures = series.figures();
        assert_eq!((figures.best, figures.slowest.len()), (None, 200));
        assert_eq!((figures.slowest[0], figures.slowest[199]), ((0, 104), (995, 1099)));
        assert_eq!(figures.ops.iter().map(|&(_, count)| count).sum::<u64>(), 3000);
    }
}
