//! Threads hand their live blocks on to threads that come after them.

use std::time::Instant;

use fastrand::Rng;

use super::remote::SEGMENT;
use super::turn::{Bench, Meters, Phases, Seat, Turn};
use crate::subjects::{Subject, alloc_touched};
use crate::workloads::{SEED, even_mix};

/// Threads at a time.
const THREADS: usize = 2;
/// Blocks that each of them has.
const BLOCKS: usize = 2000;
/// Blocks that are freed, then allocated, at a time.
const BATCH: usize = 50;
/// Batches in a thread's life.
const LIFE: usize = 400;

/// Each thread replaces random ones of its blocks, for a while; then another one takes them over.
pub(super) struct Bleeding {
    sizes: Vec<u32>,
}

impl Bleeding {
    pub(super) fn new() -> Bleeding {
        Bleeding { sizes: even_mix(4096, 10, 500, &mut Rng::with_seed(SEED)) }
    }

    fn live<S: Subject>(&self, subject: &S, held: &mut Held, phases: &mut Phases) -> Meters {
        let mut meters = Meters::new();
        let mut leaving = [(std::ptr::null_mut(), 0); BATCH];
        for _ in 0..LIFE {
            let Some(mode) = phases.next() else { break };
            meters.mode(mode);
            // A stretch of a shuffled table: random blocks, each once.
            let first = held.rng.usize(..BLOCKS / BATCH) * BATCH;
            if first == 0 {
                held.rng.shuffle(&mut held.blocks);
            }
            let places = &mut held.blocks[first..first + BATCH];
            leaving.copy_from_slice(places);
            meters.free.time(BATCH, |index| {
                let (block, bytes) = leaving[index];
                // SAFETY: its place is filled again below.
                unsafe { subject.free(block, bytes) };
            });
            let sizes = &self.sizes[held.rng.usize(..self.sizes.len() - BATCH)..][..BATCH];
            meters.alloc.time(BATCH, |index| {
                places[index] = (alloc_touched(subject, sizes[index]), sizes[index]);
            });
        }
        meters
    }
}

/// What one thread has at a time.
pub(super) struct Held {
    blocks: Vec<(*mut u8, u32)>,
    rng: Rng,
}

// SAFETY: blocks of all subjects that get so far may be freed on any thread.
unsafe impl Send for Held {}

impl Bench for Bleeding {
    type State = Vec<Held>;

    fn start<S: Subject>(&self, subject: &S) -> Vec<Held> {
        let sizes = self.sizes.iter().take(BLOCKS);
        (0..THREADS as u64)
            .map(|seed| Held {
                blocks: sizes.clone().map(|&bytes| (alloc_touched(subject, bytes), bytes)).collect(),
                rng: Rng::with_seed(SEED + seed),
            })
            .collect()
    }

    fn turn<S: Subject>(&self, subject: &S, state: &mut Vec<Held>, turn: &mut Turn<'_>) {
        let begin = Instant::now();
        let mut phases = [(); THREADS].map(|()| Phases::new(begin, turn.length));
        let mut lives = Vec::new();
        while phases.iter().any(|phases| !phases.are_over()) {
            // Whoever comes next is on another CPU than who was.
            state.rotate_left(1);
            let cpus = turn.cpus;
            std::thread::scope(|scope| {
                let spawn = |(place, (held, phases)): (usize, (_, _))| {
                    scope.spawn(move || {
                        let _seat = Seat::take(subject, cpus, place);
                        self.live(subject, held, phases)
                    })
                };
                let threads: Vec<_> = state.iter_mut().zip(&mut phases).enumerate().map(spawn).collect();
                lives.extend(threads.into_iter().map(|thread| thread.join().expect("no thread panics")));
            });
        }
        for life in lives.chunks_exact_mut(THREADS) {
            turn.alloc.absorb(life.iter_mut().map(|meters| &mut meters.alloc), SEGMENT);
            turn.free.absorb(life.iter_mut().map(|meters| &mut meters.free), SEGMENT);
        }
    }

    fn end<S: Subject>(&self, subject: &S, state: Vec<Held>) {
        for (block, bytes) in state.into_iter().flat_map(|held| held.blocks) {
            // SAFETY: the tables' blocks are live, and the tables are gone.
            unsafe { subject.free(block, bytes) };
        }
    }
}
