//! The scenarios of one thread.

use fastrand::Rng;

use super::{Bench, Turn};
use crate::subjects::{Subject, alloc_touched};
use crate::workloads::{SEED, flat_mix, order};

/// Blocks of a batch.
const BATCH: usize = 1000;

/// One block, again and again.
pub(super) struct Pair;

impl Bench for Pair {
    type State = ();

    fn start<S: Subject>(&self, _: &S) {}

    fn turn<S: Subject>(&self, subject: &S, (): &mut (), turn: &mut Turn<'_>) {
        turn.drive(8, |meters| {
            meters.alloc.time(BATCH, |_| {
                let block = alloc_touched(subject, 64);
                // SAFETY: just allocated.
                unsafe { subject.free(block) };
            });
        });
    }

    fn end<S: Subject>(&self, _: &S, (): ()) {}
}

/// Mixed sizes within the caches.
pub(super) struct Hot {
    sizes: Vec<u32>,
    order: Vec<usize>,
}

impl Hot {
    pub(super) fn new() -> Hot {
        let mut rng = Rng::with_seed(SEED);
        Hot { sizes: flat_mix(BATCH, &mut rng), order: order(BATCH, &mut rng) }
    }
}

impl Bench for Hot {
    type State = ();

    fn start<S: Subject>(&self, _: &S) {}

    fn turn<S: Subject>(&self, subject: &S, (): &mut (), turn: &mut Turn<'_>) {
        let mut blocks = [std::ptr::null_mut(); BATCH];
        let mut leaving = blocks;
        turn.drive(40, |meters| {
            meters.alloc.time(BATCH, |index| blocks[index] = alloc_touched(subject, self.sizes[index]));
            for (leaving, &index) in leaving.iter_mut().zip(&self.order) {
                *leaving = blocks[index];
            }
            // SAFETY: the order has each block of this batch once.
            meters.free.time(BATCH, |index| unsafe { subject.free(leaving[index]) });
        });
    }

    fn end<S: Subject>(&self, _: &S, (): ()) {}
}

/// Random blocks out of more than the caches hold.
pub(super) struct Cold {
    /// How many live: a multiple of `BATCH`.
    pub(super) live: usize,
}

/// Their size.
const BYTES: u32 = 64;

/// The live blocks. The ones to free next are the first `BATCH` after `next`, in a random order
/// that is drawn again for every round through all of them.
pub(super) struct Table {
    live: Vec<*mut u8>,
    order: Vec<usize>,
    next: usize,
    rng: Rng,
}

impl Bench for Cold {
    type State = Table;

    fn start<S: Subject>(&self, subject: &S) -> Table {
        let mut rng = Rng::with_seed(SEED);
        let live = (0..self.live).map(|_| alloc_touched(subject, BYTES)).collect();
        Table { live, order: order(self.live, &mut rng), next: 0, rng }
    }

    fn turn<S: Subject>(&self, subject: &S, table: &mut Table, turn: &mut Turn<'_>) {
        let mut blocks = [std::ptr::null_mut(); BATCH];
        turn.drive(40, |meters| {
            if table.next == self.live {
                table.next = 0;
                table.rng.shuffle(&mut table.order);
            }
            let places = &table.order[table.next..table.next + BATCH];
            for (block, &place) in blocks.iter_mut().zip(places) {
                *block = table.live[place];
            }
            // SAFETY: the places are different ones, and each is filled again below.
            meters.free.time(BATCH, |index| unsafe { subject.free(blocks[index]) });
            meters.alloc.time(BATCH, |index| blocks[index] = alloc_touched(subject, BYTES));
            for (&block, &place) in blocks.iter().zip(places) {
                table.live[place] = block;
            }
            table.next += BATCH;
        });
    }

    fn end<S: Subject>(&self, subject: &S, table: Table) {
        for block in table.live {
            // SAFETY: the table's blocks are live, and it is gone.
            unsafe { subject.free(block) };
        }
    }
}
