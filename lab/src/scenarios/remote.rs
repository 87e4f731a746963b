//! One thread allocates, another one on another CPU frees.

use std::collections::VecDeque;
use std::time::Instant;

use fastrand::Rng;

use super::ring::{Receiver, Sender, ring};
use super::{Bench, Meters, Turn, mode_at};
use crate::meter::{Meter, Mode};
use crate::subjects::{Subject, alloc_touched, look};
use crate::workloads::{SEED, even_mix};

/// Blocks of a batch.
pub(super) const BATCH: usize = 64;
/// Batches that a queue holds, and batches that the producer keeps of its own.
const DEPTH: usize = 64;
/// Batches of a segment.
pub(super) const SEGMENT: usize = 64;

/// Blocks on their way to another thread.
#[derive(Clone, Copy)]
pub(super) struct Parcel {
    blocks: [*mut u8; BATCH],
    count: usize,
    pub(super) mode: Mode,
    pub(super) last: bool,
}

// SAFETY: blocks of all subjects may be freed on any thread.
unsafe impl Send for Parcel {}

impl Default for Parcel {
    fn default() -> Parcel {
        Parcel { blocks: [std::ptr::null_mut(); BATCH], count: 0, mode: Mode::Warm, last: false }
    }
}

impl Parcel {
    /// None yet, to be timed like this.
    pub(super) fn of(mode: Mode) -> Parcel {
        Parcel { mode, ..Parcel::default() }
    }

    pub(super) fn push(&mut self, block: *mut u8) {
        self.blocks[self.count] = block;
        self.count += 1;
    }

    pub(super) fn blocks(&self) -> &[*mut u8] {
        &self.blocks[..self.count]
    }

    /// Looks into each block, as a completion does, then frees them all. Only the frees are timed.
    ///
    /// # Safety
    /// The blocks are live blocks of `subject`, each once.
    #[inline(always)]
    pub(super) unsafe fn free<S: Subject>(&self, subject: &S, meter: &mut Meter) {
        for &block in self.blocks() {
            // SAFETY: it is live, and its writer gave it away: the caller's promise.
            unsafe { look(block) };
        }
        // SAFETY: as above.
        meter.time(self.count, |index| unsafe { subject.free(self.blocks[index]) });
    }
}

/// The scenario, by its share of blocks that the other thread frees.
pub(super) struct Remote {
    /// Of each batch, how many blocks go to the other thread.
    away: usize,
    sizes: Vec<u32>,
}

impl Remote {
    pub(super) fn new(percent: usize) -> Remote {
        Remote {
            away: BATCH * percent / 100,
            sizes: even_mix(64 * BATCH, 32, 224, &mut Rng::with_seed(SEED)),
        }
    }

    fn produce<S: Subject>(&self, subject: &S, turn: &Turn<'_>, mut sender: Sender<Parcel>) -> Meters {
        let mut meters = Meters::new();
        let mut blocks = [std::ptr::null_mut(); BATCH];
        let mut parcel = Parcel::default();
        let mut own = VecDeque::with_capacity(DEPTH + 1);
        let begin = Instant::now();
        for sizes in self.sizes.chunks_exact(BATCH).cycle() {
            let Some(mode) = mode_at(begin.elapsed(), turn.length) else { break };
            meters.mode(mode);
            meters.alloc.time(BATCH, |index| blocks[index] = alloc_touched(subject, sizes[index]));
            let mut kept = Parcel::default();
            for (index, &block) in blocks.iter().enumerate() {
                // Every fourth one of a quarter, and so on.
                let leaves = index * self.away / BATCH != (index + 1) * self.away / BATCH;
                if leaves { parcel.push(block) } else { kept.push(block) }
            }
            if parcel.count == BATCH {
                parcel.mode = mode;
                sender.put(&parcel);
                parcel = Parcel::default();
            }
            if kept.count > 0 {
                own.push_back(kept);
                if own.len() > DEPTH
                    && let Some(oldest) = own.pop_front()
                {
                    // SAFETY: blocks that did not leave are freed here, once.
                    unsafe { oldest.free(subject, &mut meters.free) };
                }
            }
        }
        meters.mode(Mode::Warm);
        for kept in own {
            // SAFETY: as above.
            unsafe { kept.free(subject, &mut meters.free) };
        }
        parcel.last = true;
        sender.put(&parcel);
        meters
    }
}

/// Frees what arrives.
fn consume<S: Subject>(subject: &S, mut receiver: Receiver<Parcel>) -> Meter {
    let mut meter = Meter::new();
    loop {
        let parcel = receiver.take();
        meter.mode = parcel.mode;
        // SAFETY: the producer gave the blocks away.
        unsafe { parcel.free(subject, &mut meter) };
        if parcel.last {
            return meter;
        }
    }
}

impl Bench for Remote {
    type State = ();

    fn start<S: Subject>(&self, _: &S) {}

    fn turn<S: Subject>(&self, subject: &S, (): &mut (), turn: &mut Turn<'_>) {
        let (sender, receiver) = ring(DEPTH);
        let cpus = turn.cpus;
        let (mut near, mut far) = std::thread::scope(|scope| {
            let consumer = scope.spawn(move || {
                cpus.pin(1);
                consume(subject, receiver)
            });
            let near = self.produce(subject, turn, sender);
            (near, consumer.join().expect("the consumer does not panic"))
        });
        turn.alloc.absorb(&mut [&mut near.alloc], SEGMENT);
        turn.free.absorb(&mut [&mut near.free, &mut far], SEGMENT);
    }

    fn end<S: Subject>(&self, _: &S, (): ()) {}
}
