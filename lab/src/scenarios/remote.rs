//! Threads allocate, threads on another CPU free.

use std::collections::VecDeque;
use std::time::Instant;

use fastrand::Rng;

use super::parcel::{BATCH, Parcel};
use super::ring::{Receiver, Sender, ring};
use super::turn::{Bench, Meters, Phases, Seat, Turn, wait_until};
use crate::meter::Mode;
use crate::subjects::{Subject, alloc_touched, look};
use crate::workloads::{SEED, even_mix};

/// Batches that a queue holds, and batches that a producer keeps of its own. A full queue holds its
/// producer back.
const DEPTH: usize = 64;
/// Batches of a segment.
pub(super) const SEGMENT: usize = 64;

/// The scenarios, by who gives how much to whom.
pub(super) struct Remote {
    /// Of each batch, how many blocks go to the other threads.
    away: usize,
    sizes: Vec<u32>,
    producers: usize,
    consumers: usize,
    /// A thread in between passes the blocks on.
    proxy: bool,
    /// Requested bytes in full queues, where they are worth counting.
    payload: u64,
}

impl Remote {
    /// One producer, one consumer, which gets so many of a hundred.
    pub(super) fn percent(percent: usize) -> Remote {
        Remote {
            away: BATCH * percent / 100,
            sizes: even_mix(64 * BATCH, 32, 224, &mut Rng::with_seed(SEED)),
            producers: 1,
            consumers: 1,
            proxy: false,
            payload: 0,
        }
    }

    pub(super) fn between(producers: usize, consumers: usize) -> Remote {
        Remote { producers, consumers, ..Remote::percent(100) }
    }

    pub(super) fn by_proxy() -> Remote {
        Remote { proxy: true, ..Remote::percent(100) }
    }

    /// Blocks of a page, so that what is in flight is worth counting.
    pub(super) fn free_only() -> Remote {
        const PAGE: u32 = 4096;
        let payload = (DEPTH * BATCH) as u64 * u64::from(PAGE);
        Remote { sizes: vec![PAGE; BATCH], payload, ..Remote::percent(100) }
    }

    /// Deals full parcels to its consumers in turn.
    fn produce<S: Subject>(&self, subject: &S, turn: &Turn<'_>, mut senders: Vec<Sender<Parcel>>) -> Meters {
        let mut meters = Meters::new();
        let mut blocks = [std::ptr::null_mut(); BATCH];
        let (mut parcel, mut next) = (Parcel::default(), 0);
        let mut own = VecDeque::with_capacity(DEPTH + 1);
        let mut phases = Phases::new(Instant::now(), turn.length);
        for sizes in self.sizes.chunks_exact(BATCH).cycle() {
            let Some(mode) = phases.next() else { break };
            meters.mode(mode);
            meters.alloc.time(BATCH, |index| blocks[index] = alloc_touched(subject, sizes[index]));
            let mut kept = Parcel::default();
            for (index, (&block, &bytes)) in blocks.iter().zip(sizes).enumerate() {
                // Every fourth one of a quarter, and so on.
                let leaves = index * self.away / BATCH != (index + 1) * self.away / BATCH;
                if leaves { parcel.push(block, bytes) } else { kept.push(block, bytes) }
            }
            if parcel.is_full() {
                parcel.mode = mode;
                senders[next].put(&parcel);
                next = (next + 1) % senders.len();
                parcel = Parcel::default();
            }
            if !kept.is_empty() {
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
        for sender in &mut senders {
            parcel.last = true;
            sender.put(&parcel);
            parcel = Parcel::default();
        }
        meters
    }
}

/// Passes on what arrives, with a look at it.
fn pass_on(mut from: Receiver<Parcel>, mut to: Sender<Parcel>) {
    loop {
        let parcel = from.take();
        for &block in parcel.blocks() {
            // SAFETY: the producer gave the blocks away.
            unsafe { look(block) };
        }
        to.put(&parcel);
        if parcel.last {
            return;
        }
    }
}

/// Frees what arrives.
fn consume<S: Subject>(subject: &S, mut receivers: Vec<Receiver<Parcel>>) -> Meters {
    let mut meters = Meters::new();
    while !receivers.is_empty() {
        let mut ready = 0;
        wait_until(|| receivers.iter().position(Receiver::has).inspect(|&place| ready = place).is_some());
        let parcel = receivers[ready].take();
        meters.free.mode = parcel.mode;
        // SAFETY: the producer gave the blocks away.
        unsafe { parcel.free(subject, &mut meters.free) };
        if parcel.last {
            receivers.swap_remove(ready);
        } else {
            // The others first, next time.
            receivers.rotate_left(1);
        }
    }
    meters
}

impl Bench for Remote {
    type State = ();

    fn start<S: Subject>(&self, _: &S) {}

    fn turn<S: Subject>(&self, subject: &S, (): &mut (), turn: &mut Turn<'_>) {
        let cpus = turn.cpus;
        let mut receivers: Vec<Vec<_>> = (0..self.consumers).map(|_| Vec::new()).collect();
        let mut senders: Vec<Vec<_>> = Vec::new();
        // Consumers have the last CPU; a proxy has one of its own if there are three.
        let last = cpus.count().clamp(2, 3) - 1;
        let meters: Vec<Meters> = std::thread::scope(|scope| {
            for _ in 0..self.producers {
                let mut own = Vec::new();
                for queue in &mut receivers {
                    let (sender, receiver) = ring(DEPTH);
                    own.push(sender);
                    if self.proxy {
                        let (onward, arrival) = ring(DEPTH);
                        scope.spawn(move || {
                            cpus.pin(1);
                            pass_on(receiver, onward);
                        });
                        queue.push(arrival);
                    } else {
                        queue.push(receiver);
                    }
                }
                senders.push(own);
            }
            let consumers = receivers.into_iter().map(|queue| {
                scope.spawn(move || {
                    let _seat = Seat::take(subject, cpus, last);
                    consume(subject, queue)
                })
            });
            let mut threads: Vec<_> = consumers.collect();
            let mut senders = senders.into_iter();
            let first = senders.next().unwrap_or_default();
            let turn = &*turn;
            threads.extend(senders.map(|own| {
                scope.spawn(move || {
                    let _seat = Seat::take(subject, cpus, 0);
                    self.produce(subject, turn, own)
                })
            }));
            let first = self.produce(subject, turn, first);
            let others = threads.into_iter().map(|thread| thread.join().expect("no thread panics"));
            std::iter::once(first).chain(others).collect()
        });
        turn.absorb(meters, SEGMENT);
    }

    fn end<S: Subject>(&self, _: &S, (): ()) {}

    fn payload(&self, (): &()) -> u64 {
        self.payload
    }
}
