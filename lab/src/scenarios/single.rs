//! The scenarios of one thread.

use fastrand::Rng;

use super::calls;
use super::turn::{Bench, Turn};
use crate::subjects::{Subject, alloc_touched, touch};
use crate::workloads::{SEED, adapter_sets, flat_mix, order};

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
                unsafe { subject.free(block, 64) };
            });
        });
    }

    fn end<S: Subject>(&self, _: &S, (): ()) {}
}

/// In which order a burst is freed.
pub(super) enum Order {
    Fifo,
    Lifo,
    Random,
}

/// All are allocated, then all freed.
pub(super) struct Burst {
    sizes: Vec<u32>,
    /// They are all the same.
    equal: bool,
    order: Vec<usize>,
}

impl Burst {
    pub(super) fn new(sizes: Vec<u32>, by: &Order) -> Burst {
        let order = match by {
            Order::Fifo => (0..sizes.len()).collect(),
            Order::Lifo => (0..sizes.len()).rev().collect(),
            Order::Random => order(sizes.len(), &mut Rng::with_seed(SEED)),
        };
        Burst { sizes, equal: false, order }
    }

    /// The flat mix.
    pub(super) fn mixed(count: usize, by: &Order) -> Burst {
        Burst::new(flat_mix(count, &mut Rng::with_seed(SEED)), by)
    }

    /// Blocks of one size, in the order of their allocation.
    pub(super) fn equal(count: usize, bytes: u32) -> Burst {
        Burst { equal: true, ..Burst::new(vec![bytes; count], &Order::Fifo) }
    }

    /// What the start of all adapters and 2000 requests have left.
    pub(super) fn teardown() -> Burst {
        let mut sizes: Vec<u32> = adapter_sets().into_iter().flat_map(|set| set.sizes).collect();
        sizes.extend(flat_mix(2000, &mut Rng::with_seed(SEED)));
        Burst::new(sizes, &Order::Fifo)
    }
}

impl Bench for Burst {
    type State = ();

    fn start<S: Subject>(&self, _: &S) {}

    fn turn<S: Subject>(&self, subject: &S, (): &mut (), turn: &mut Turn<'_>) {
        let mut blocks = vec![std::ptr::null_mut(); self.sizes.len()];
        let mut leaving = blocks.clone();
        let bytes: Vec<_> = self.order.iter().map(|&index| self.sizes[index]).collect();
        turn.drive(40_000 / blocks.len(), |meters| {
            calls::allocate(subject, &mut meters.alloc, &self.sizes, self.equal, &mut blocks);
            for (leaving, &index) in leaving.iter_mut().zip(&self.order) {
                *leaving = blocks[index];
            }
            // SAFETY: the order has each block of this batch once.
            unsafe { calls::free(subject, &mut meters.free, &leaving, &bytes) };
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
            meters.free.time(BATCH, |index| unsafe { subject.free(blocks[index], BYTES) });
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
            unsafe { subject.free(block, BYTES) };
        }
    }

    fn payload(&self, table: &Table) -> u64 {
        table.live.len() as u64 * u64::from(BYTES)
    }
}

/// From empty to exhausted, or to as many bytes as the pool has, and back.
pub(super) struct Fill {
    pub(super) sizes: Vec<u32>,
    pub(super) bytes: u64,
}

impl Bench for Fill {
    /// The most bytes that were live.
    type State = u64;

    fn start<S: Subject>(&self, _: &S) -> u64 {
        0
    }

    fn turn<S: Subject>(&self, subject: &S, most: &mut u64, turn: &mut Turn<'_>) {
        let mut rng = Rng::with_seed(SEED);
        let mut blocks: Vec<(*mut u8, u32)> = Vec::with_capacity((self.bytes / 64) as usize);
        let mut sizes = self.sizes.iter().copied().cycle();
        turn.drive(1, |meters| {
            let (mut live, mut full) = (0, false);
            while !full && live < self.bytes {
                let before = blocks.len();
                meters.alloc.time(BATCH, |_| {
                    let bytes = sizes.next().unwrap_or(BYTES);
                    // SAFETY: no size is 0.
                    let block = unsafe { subject.alloc(bytes) };
                    if block.is_null() {
                        // Smaller ones may still fit, until the batch is over.
                        full = true;
                    } else {
                        // SAFETY: just allocated.
                        unsafe { touch(block) };
                        blocks.push((block, bytes));
                    }
                });
                live += blocks[before..].iter().map(|&(_, bytes)| u64::from(bytes)).sum::<u64>();
            }
            *most = live.max(*most);
            rng.shuffle(&mut blocks);
            for leaving in blocks.chunks(BATCH) {
                meters.free.time(leaving.len(), |index| {
                    let (block, bytes) = leaving[index];
                    // SAFETY: each of the blocks is freed once.
                    unsafe { subject.free(block, bytes) };
                });
            }
            blocks.clear();
        });
    }

    fn end<S: Subject>(&self, _: &S, _: u64) {}

    fn payload(&self, most: &u64) -> u64 {
        *most
    }
}
