//! The order of a Storport load, drawn beforehand on a virtual clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fastrand::Rng;

use crate::workloads::{SEED, log_normal};

pub(super) const SUBMITTERS: usize = 2;
/// Most requests in flight of a submitter, less those that wait in its queue.
const IN_FLIGHT: usize = 254 - 64;
/// Mean time between a submitter's requests, in us.
const INTERVAL: f64 = 1.6;
/// The lifetime of a request's blocks, in us.
const MEDIAN: f64 = 80.0;
const P99: f64 = 2000.0;
/// Longer lifetimes would outlive their round through the schedule.
const LONGEST: f64 = 8000.0;

/// A block that a request allocates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) bytes: u32,
    /// The place of the completion's table; `None` when the submitter frees it after use.
    pub(super) slot: Option<u32>,
}

/// A schedule repeats without end: what is due after its end is due early in the next round.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    /// By step and submitter, what is allocated.
    pub(super) submits: Vec<[Vec<Block>; SUBMITTERS]>,
    /// By step, the slots that complete after both submissions, in the order of their due times.
    pub(super) due: Vec<Vec<u32>>,
    pub(super) slots: usize,
}

/// What one request allocates: (bytes, kept until completion). Empty: nothing.
pub(super) type Draw = fn(&mut Rng) -> Vec<(u32, bool)>;

/// The request table's item and entry.
pub(super) fn request_table(_: &mut Rng) -> Vec<(u32, bool)> {
    vec![(80, true), (32, true)]
}

/// Of 1000 requests: 10 UNMAP, 4 INQUIRY (scratch or kept), 1 SMART, the rest nothing.
pub(super) fn mixed_srb(rng: &mut Rng) -> Vec<(u32, bool)> {
    match rng.u32(..1000) {
        0..10 => vec![(48, true)],
        10..14 if rng.bool() => vec![(rng.u32(104..=149), false)],
        10..14 => vec![(rng.u32(2..=65), true)],
        14 => vec![(4096, true)],
        _ => Vec::new(),
    }
}

impl Schedule {
    /// `batch` allocating requests of each submitter make a step.
    pub(super) fn new(draw: Draw, batch: usize, steps: usize) -> Schedule {
        let mut rng = Rng::with_seed(SEED);
        let mut schedule = Schedule { submits: vec![Default::default(); steps], due: vec![], slots: 0 };
        let mut due: Vec<Vec<(f64, u32)>> = vec![vec![]; steps];
        for submitter in 0..SUBMITTERS {
            schedule.add(submitter, draw, batch, &mut due, &mut rng);
        }
        schedule.due = due
            .into_iter()
            .map(|mut step| {
                step.sort_by(|a, b| a.0.total_cmp(&b.0));
                step.into_iter().map(|(_, slot)| slot).collect()
            })
            .collect();
        schedule
    }

    fn add(
        &mut self,
        submitter: usize,
        draw: Draw,
        batch: usize,
        due: &mut [Vec<(f64, u32)>],
        rng: &mut Rng,
    ) {
        let mut now = 0.0;
        // The ends of the steps, and what completes when.
        let mut ends = Vec::with_capacity(due.len());
        let mut completions = Vec::new();
        // The ends of the requests in flight, in ns: integers have an order.
        let mut flying = BinaryHeap::new();
        for step in 0..due.len() {
            let mut requests = 0;
            while requests < batch {
                now -= INTERVAL * (1.0 - rng.f64()).ln();
                while flying.peek().is_some_and(|&Reverse(done)| done <= (now * 1e3) as u64) {
                    flying.pop();
                }
                if flying.len() >= IN_FLIGHT
                    && let Some(Reverse(done)) = flying.pop()
                {
                    now = done as f64 / 1e3;
                }
                let end = now + log_normal(MEDIAN, P99, rng).min(LONGEST);
                flying.push(Reverse((end * 1e3) as u64));
                let blocks = draw(rng);
                requests += usize::from(!blocks.is_empty());
                for (bytes, kept) in blocks {
                    let slot = kept.then(|| {
                        self.slots += 1;
                        completions.push((end, self.slots as u32 - 1));
                        self.slots as u32 - 1
                    });
                    self.submits[step][submitter].push(Block { bytes, slot });
                }
            }
            ends.push(now);
        }
        assert!(now > LONGEST, "the schedule is shorter than a lifetime");
        for (end, slot) in completions {
            let end = end % now;
            let step = ends.partition_point(|&step| step < end);
            due[step].push((end, slot));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_repeat() {
        assert_eq!(Schedule::new(mixed_srb, 16, 8), Schedule::new(mixed_srb, 16, 8));
    }

    #[test]
    fn each_kept_block_is_due_once_and_not_in_order() {
        let schedule = Schedule::new(request_table, 32, 256);
        let mut due = schedule.due.concat();
        assert_eq!((due.len(), schedule.slots), (4 * 32 * 256, 4 * 32 * 256));
        let swaps = due.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!(swaps > due.len() / 5, "{swaps}");
        due.sort_unstable();
        assert!(due.into_iter().eq(0..schedule.slots as u32));
    }

    /// A block must be gone before its slot comes again, a whole schedule later.
    #[test]
    fn in_flight_stays_bounded() {
        let schedule = Schedule::new(request_table, 32, 256);
        let mut live = vec![false; schedule.slots];
        let (mut now, mut most) = (0, 0);
        for step in 0..schedule.due.len() * 2 {
            let step = step % schedule.due.len();
            for slot in schedule.submits[step].iter().flatten().filter_map(|block| block.slot) {
                assert!(!std::mem::replace(&mut live[slot as usize], true), "slot {slot}");
                now += 1;
            }
            most = most.max(now);
            for &slot in &schedule.due[step] {
                now -= i32::from(std::mem::take(&mut live[slot as usize]));
            }
        }
        assert!((100..2 * 2 * 254 + 128).contains(&most), "{most}");
    }
}
