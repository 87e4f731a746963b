//! A trace's calls, by thread. A free waits until its block is allocated; else all go as fast as they can.

use std::sync::Barrier;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::time::Instant;

use crossbeam_utils::CachePadded;

use super::remote::SEGMENT;
use super::turn::{Bench, Meters, Pace, Seat, Turn, wait_until};
use crate::meter::Mode;
use crate::subjects::{Subject, alloc_touched, look};
use crate::traces::plan::{AHEAD, Lane, Op, Plan};

/// Calls of one kind that a thread made in a row, and that are timed at once; longer rows are several.
const BATCH: usize = 64;

pub(crate) struct Traced<'a>(pub(crate) &'a Plan);

/// What the threads of a turn share.
struct Stage<'a> {
    plan: &'a Plan,
    /// By block: where it is, while it is live.
    blocks: Vec<AtomicPtr<u8>>,
    /// By thread: the rank of its next call.
    ranks: Vec<CachePadded<AtomicU32>>,
}

/// Calls of one kind in a row: [`BATCH`] at most, and less than [`AHEAD`] calls of all threads apart. A thread announces
/// the first one's rank alone, so that others wait for it until the batch is done.
fn batches(ops: &[Op]) -> impl Iterator<Item = &[Op]> {
    let mut left = ops;
    std::iter::from_fn(move || {
        let first = *left.first()?;
        let near = |op: &&Op| op.free == first.free && op.rank - first.rank < AHEAD as u32;
        let count = left.iter().take(BATCH).take_while(near).count();
        let (batch, rest) = left.split_at(count);
        left = rest;
        Some(batch)
    })
}

/// What is behind the last call.
const END: u32 = u32::MAX;

impl Stage<'_> {
    /// Does a thread's calls, once.
    fn pass<S: Subject>(&self, subject: &S, thread: usize, meters: &mut Meters) {
        let Lane { ops, left, .. } = &self.plan.threads[thread];
        let mut blocks = [std::ptr::null_mut(); BATCH];
        let bytes = |op: Op| self.plan.bytes[op.block as usize];
        for batch in batches(ops) {
            self.wait_for_turn(thread, batch[0].rank);
            if batch[0].free {
                for (block, op) in blocks.iter_mut().zip(batch) {
                    let place = &self.blocks[op.block as usize];
                    // ORDERING: Acquire - the block's first byte; pairs with the Release of who allocated it.
                    wait_until(|| {
                        *block = place.load(Ordering::Acquire);
                        !block.is_null()
                    });
                    // ORDERING: Relaxed - nobody looks before the next pass, which a barrier begins.
                    place.store(std::ptr::null_mut(), Ordering::Relaxed);
                    // SAFETY: it is live, and ours to free.
                    unsafe { look(*block) };
                }
                // SAFETY: the plan frees each block once.
                meters
                    .free
                    .time(batch.len(), |index| unsafe { subject.free(blocks[index], bytes(batch[index])) });
            } else {
                meters
                    .alloc
                    .time(batch.len(), |index| blocks[index] = alloc_touched(subject, bytes(batch[index])));
                for (block, op) in blocks.iter().zip(batch) {
                    // ORDERING: Release - its first byte; pairs with the Acquire of who frees it.
                    self.blocks[op.block as usize].store(*block, Ordering::Release);
                }
            }
        }
        // ORDERING: Relaxed - who waits needs no more than the number.
        self.ranks[thread].store(END, Ordering::Relaxed);
        for &block in left {
            // ORDERING: Relaxed - this thread stored it.
            let at = self.blocks[block as usize].swap(std::ptr::null_mut(), Ordering::Relaxed);
            // SAFETY: this thread allocated it, and the plan has no free of it.
            unsafe { subject.free(at, self.plan.bytes[block as usize]) };
        }
    }

    /// Waits until no thread is more than [`AHEAD`] calls behind.
    ///
    /// Nobody waits for ever. The thread that is furthest behind does not wait here. A free of its batch may wait for a
    /// block, but that block's rank is less than [`AHEAD`] away, since [`batches`] are cut there. So the thread that
    /// allocates it does not wait here either. That thread may wait for a block itself, but for one of a lower rank.
    fn wait_for_turn(&self, thread: usize, rank: u32) {
        // ORDERING: Relaxed, both - a bound of how far threads get apart; blocks are handed over by their own words.
        self.ranks[thread].store(rank, Ordering::Relaxed);
        let near = |other: &CachePadded<AtomicU32>| {
            u64::from(other.load(Ordering::Relaxed)) + AHEAD as u64 >= u64::from(rank)
        };
        wait_until(|| self.ranks.iter().all(near));
    }
}

impl Bench for Traced<'_> {
    /// Whether the caches know the work.
    type State = bool;

    fn start<S: Subject>(&self, _: &S) -> bool {
        false
    }

    fn turn<S: Subject>(&self, subject: &S, warm: &mut bool, turn: &mut Turn<'_>) {
        let plan = self.0;
        let stage = &Stage {
            plan,
            blocks: plan.bytes.iter().map(|_| AtomicPtr::default()).collect(),
            ranks: plan.threads.iter().map(|_| CachePadded::new(AtomicU32::new(0))).collect(),
        };
        let (pace, barrier) = (&Pace::new(), &Barrier::new(plan.threads.len()));
        let (begin, length, cpus) = (Instant::now(), turn.length, turn.cpus);
        // Once without timing, then by batches, then by calls: once each, and while there is time.
        let mut modes = if *warm { vec![] } else { vec![Mode::Warm] }.into_iter();
        let mut last = None;
        let mut next = move || {
            last = modes.next().or(match last {
                None | Some(Mode::Warm) => Some(Mode::Whole),
                Some(Mode::Whole) if begin.elapsed() < length * 60 / 100 => Some(Mode::Whole),
                Some(Mode::Whole) => Some(Mode::Each),
                Some(Mode::Each) if begin.elapsed() < length => Some(Mode::Each),
                Some(Mode::Each) => None,
            });
            last
        };
        let work = |thread: usize, mut lead: Option<&mut dyn FnMut() -> Option<Mode>>| {
            let _seat = Seat::take(subject, cpus, plan.threads[thread].cpu as usize % cpus.count().max(1));
            let mut meters = Meters::new();
            loop {
                if let Some(next) = &mut lead {
                    pace.set(next());
                }
                // ORDERING: Relaxed - the barrier orders it.
                stage.ranks[thread].store(0, Ordering::Relaxed);
                barrier.wait();
                let Some(mode) = pace.follow() else { break };
                meters.mode(mode);
                stage.pass(subject, thread, &mut meters);
                barrier.wait();
            }
            meters
        };
        let meters: Vec<Meters> = std::thread::scope(|scope| {
            let work = &work;
            let others: Vec<_> =
                (1..plan.threads.len()).map(|thread| scope.spawn(move || work(thread, None))).collect();
            let first = scope.spawn(move || work(0, Some(&mut next)));
            std::iter::once(first)
                .chain(others)
                .map(|thread| thread.join().expect("no thread panics"))
                .collect()
        });
        *warm = true;
        turn.absorb(meters, SEGMENT);
    }

    fn end<S: Subject>(&self, _: &S, _: bool) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(ops: &[(bool, u32)]) -> Vec<usize> {
        let ops: Vec<_> = ops.iter().map(|&(free, rank)| Op { free, rank, block: 0 }).collect();
        batches(&ops).map(<[Op]>::len).collect()
    }

    /// A thread waits inside of a batch; who allocates what it waits for may not be held up by the batch's first rank.
    #[test]
    fn a_batch_is_of_one_kind_and_short_and_its_ranks_are_near() {
        let ahead = AHEAD as u32;
        assert_eq!(cut(&[]), [0; 0]);
        assert_eq!(cut(&[(false, 0), (false, 1), (true, 2), (false, 3)]), [2, 1, 1]);
        assert_eq!(cut(&[(true, 7), (true, 6 + ahead), (true, 7 + ahead), (true, 9 + 3 * ahead)]), [2, 1, 1]);
        let row: Vec<_> = (0..2 * BATCH as u32 + 3).map(|rank| (true, rank)).collect();
        assert_eq!(cut(&row), [BATCH, BATCH, 3]);
    }
}
