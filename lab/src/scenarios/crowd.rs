//! Many more threads than CPUs.

use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Instant;

use fastrand::Rng;

use super::interrupts::Timer;
use super::parcel::{BATCH, Parcel};
use super::remote::SEGMENT;
use super::turn::{Bench, Meters, Phases, Seat, Turn};
use crate::subjects::{Subject, alloc_touched};
use crate::workloads::{SEED, even_mix};

const THREADS: usize = 64;

/// Each thread allocates a batch, leaves it with its neighbour, and frees what was left with the one before.
/// Threads are preempted wherever they are.
pub(super) struct Crowd {
    sizes: Vec<u32>,
    /// Whether a timer's signals interrupt them too.
    timer: bool,
}

impl Crowd {
    pub(super) fn new(timer: bool) -> Crowd {
        Crowd { sizes: even_mix(64 * BATCH, 32, 224, &mut Rng::with_seed(SEED)), timer }
    }

    fn live<S: Subject>(
        &self,
        subject: &S,
        places: &[AtomicPtr<Parcel>],
        own: usize,
        mut phases: Phases,
    ) -> Meters {
        let mut meters = Meters::new();
        let mut blocks = [std::ptr::null_mut(); BATCH];
        let mut parcel = Box::<Parcel>::default();
        for (round, sizes) in self.sizes.chunks_exact(BATCH).cycle().enumerate() {
            let Some(mode) = phases.next() else { break };
            meters.mode(mode);
            meters.alloc.time(BATCH, |index| blocks[index] = alloc_touched(subject, sizes[index]));
            *parcel = Parcel::of(mode);
            for (&block, &bytes) in blocks.iter().zip(sizes) {
                parcel.push(block, bytes);
            }
            let place = &places[(own + 1 + round % 2) % THREADS];
            // ORDERING: AcqRel - the parcel; pairs with the others' swaps.
            let other = place.swap(Box::into_raw(parcel), Ordering::AcqRel);
            // SAFETY: a place holds what a box became, and a swap makes it ours alone.
            parcel = unsafe { Box::from_raw(other) };
            // SAFETY: whoever left it gave the blocks away.
            unsafe { parcel.free(subject, &mut meters.free) };
        }
        meters
    }
}

impl Bench for Crowd {
    type State = ();

    fn start<S: Subject>(&self, _: &S) {}

    fn turn<S: Subject>(&self, subject: &S, (): &mut (), turn: &mut Turn<'_>) {
        let places: Vec<AtomicPtr<Parcel>> =
            (0..THREADS).map(|_| AtomicPtr::new(Box::into_raw(Box::default()))).collect();
        let begin = Instant::now();
        let _timer = self.timer.then(|| Timer::start(subject));
        let (cpus, length, shared) = (turn.cpus, turn.length, &places);
        let meters: Vec<Meters> = std::thread::scope(|scope| {
            let spawn = |own| {
                scope.spawn(move || {
                    let _seat = Seat::take(subject, cpus, own % cpus.count().max(1));
                    self.live(subject, shared, own, Phases::new(begin, length))
                })
            };
            let threads: Vec<_> = (0..THREADS).map(spawn).collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
        });
        let mut last = Meters::new();
        for place in places {
            // SAFETY: a place holds what a box became; the threads are gone.
            let parcel = unsafe { Box::from_raw(place.into_inner()) };
            // SAFETY: nobody came for these blocks.
            unsafe { parcel.free(subject, &mut last.free) };
        }
        turn.absorb(meters, SEGMENT);
    }

    fn end<S: Subject>(&self, _: &S, (): ()) {}
}
