//! All threads free blocks that lie side by side.

use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::time::Instant;

use super::turn::{Bench, Meters, Pace, Phases, Seat, Turn, wait_until};
use crate::subjects::{Subject, alloc_touched};

/// As many blocks of 64 bytes as a slab of 64 KiB has.
const BLOCKS: usize = 1024;
const BYTES: u32 = 64;

/// One thread allocates a slab's worth; then all free at once, each every other block.
pub(super) struct Hotspot;

/// What the threads share of a turn.
struct Round {
    blocks: Vec<AtomicPtr<u8>>,
    /// The number of the round that may be freed.
    freeing: AtomicUsize,
    /// Threads that have freed their share, over all rounds.
    freed: AtomicUsize,
    threads: usize,
    pace: Pace,
}

impl Round {
    /// Frees every so-manieth block, from the `place`-th on.
    fn free<S: Subject>(&self, subject: &S, place: usize, meters: &mut Meters) {
        let mine = BLOCKS / self.threads;
        meters.free.time(mine, |index| {
            // ORDERING: Relaxed - the round's number was published after the blocks.
            let block = self.blocks[index * self.threads + place].load(Ordering::Relaxed);
            // SAFETY: each thread has its own places, and each place is freed once a round.
            unsafe { subject.free(block, BYTES) };
        });
    }

    fn follow<S: Subject>(&self, subject: &S, place: usize) -> Meters {
        let mut meters = Meters::new();
        let mut round = 0;
        loop {
            round += 1;
            // ORDERING: Acquire - the blocks, and the mode; pairs with the leader's Release.
            wait_until(|| self.freeing.load(Ordering::Acquire) == round);
            let Some(mode) = self.pace.follow() else { return meters };
            meters.mode(mode);
            self.free(subject, place, &mut meters);
            // ORDERING: Release - the blocks are free; pairs with the leader's Acquire.
            self.freed.fetch_add(1, Ordering::Release);
        }
    }

    fn lead<S: Subject>(&self, subject: &S, mut phases: Phases) -> Meters {
        let mut meters = Meters::new();
        let mut round = 0;
        loop {
            let mode = self.pace.lead(&mut phases);
            if let Some(mode) = mode {
                meters.mode(mode);
                meters.alloc.time(BLOCKS, |index| {
                    // ORDERING: Relaxed - published by the round's number.
                    self.blocks[index].store(alloc_touched(subject, BYTES), Ordering::Relaxed);
                });
            }
            round += 1;
            // ORDERING: Release - the blocks, and the mode; pairs with the followers' Acquire.
            self.freeing.store(round, Ordering::Release);
            if mode.is_none() {
                return meters;
            }
            self.free(subject, 0, &mut meters);
            // ORDERING: Acquire - the blocks are free; pairs with the followers' Release.
            wait_until(|| self.freed.load(Ordering::Acquire) == round * (self.threads - 1));
        }
    }
}

impl Bench for Hotspot {
    type State = ();

    fn start<S: Subject>(&self, _: &S) {}

    fn turn<S: Subject>(&self, subject: &S, (): &mut (), turn: &mut Turn<'_>) {
        // Powers of two, so that all shares are equal.
        let threads = if turn.cpus.count() >= 4 { 4 } else { 2 };
        let round = &Round {
            blocks: (0..BLOCKS).map(|_| AtomicPtr::default()).collect(),
            freeing: AtomicUsize::new(0),
            freed: AtomicUsize::new(0),
            threads,
            pace: Pace::new(),
        };
        let (cpus, length) = (turn.cpus, turn.length);
        let meters: Vec<Meters> = std::thread::scope(|scope| {
            let spawn = |place| {
                scope.spawn(move || {
                    let _seat = Seat::take(subject, cpus, place);
                    round.follow(subject, place)
                })
            };
            let others: Vec<_> = (1..threads).map(spawn).collect();
            let own = round.lead(subject, Phases::new(Instant::now(), length));
            let others = others.into_iter().map(|thread| thread.join().expect("no thread panics"));
            std::iter::once(own).chain(others).collect()
        });
        turn.absorb(meters, 4);
    }

    fn end<S: Subject>(&self, _: &S, (): ()) {}
}
