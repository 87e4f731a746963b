//! Two submitters allocate, a thread on another CPU completes and frees, in a drawn order.

use std::time::{Duration, Instant};

use super::calls;
use super::parcel::{BATCH, Parcel};
use super::remote::SEGMENT;
use super::ring::{Receiver, Sender, ring};
use super::schedule::{SUBMITTERS, Schedule, mixed_srb, request_table};
use super::turn::{Bench, Meters, Pace, Phases, Seat, Turn};
use crate::meter::{Mode, Series};
use crate::pinning::Cpus;
use crate::subjects::{Subject, alloc_touched, look};

/// Submissions that wait for the completion's thread. Few: they count as in flight.
const DEPTH: usize = 2;

pub(super) struct Storport {
    schedule: Schedule,
}

impl Storport {
    /// Two blocks for each request.
    pub(super) fn request_table() -> Storport {
        Storport { schedule: Schedule::new(request_table, 32, 256) }
    }

    /// Few requests have a block at all.
    pub(super) fn mixed_srbs() -> Storport {
        Storport { schedule: Schedule::new(mixed_srb, 16, 64) }
    }

    fn submit<S: Subject>(
        &self,
        subject: &S,
        submitter: usize,
        pace: &Pace,
        mut sender: Sender<Parcel>,
    ) -> Meters {
        let mut meters = Meters::new();
        let mut blocks = [std::ptr::null_mut(); BATCH];
        for step in self.schedule.submits.iter().cycle() {
            let Some(mode) = pace.follow() else { break };
            meters.mode(mode);
            let wanted = &step[submitter];
            meters
                .alloc
                .time(wanted.len(), |index| blocks[index] = alloc_touched(subject, wanted[index].bytes));
            let (mut kept, mut scratch) = (Parcel::of(mode), Parcel::of(mode));
            for (wanted, &block) in wanted.iter().zip(&blocks) {
                let parcel = if wanted.slot.is_some() { &mut kept } else { &mut scratch };
                parcel.push(block, wanted.bytes);
            }
            // SAFETY: only we know the scratch blocks.
            unsafe { scratch.free(subject, &mut meters.free) };
            sender.put(&kept);
        }
        let mut end = Parcel::of(Mode::Warm);
        end.last = true;
        sender.put(&end);
        meters
    }

    /// Leads the pace, and frees what is due.
    fn complete<S: Subject>(
        &self,
        subject: &S,
        pace: &Pace,
        mut phases: Phases,
        mut receivers: [Receiver<Parcel>; SUBMITTERS],
    ) -> Meters {
        let mut meters = Meters::new();
        let mut table = vec![(std::ptr::null_mut::<u8>(), 0); self.schedule.slots];
        let mut due = Vec::with_capacity(self.schedule.slots);
        let mut sizes = Vec::with_capacity(self.schedule.slots);
        let mut ended = [false; SUBMITTERS];
        for (submits, slots) in self.schedule.submits.iter().zip(&self.schedule.due).cycle() {
            let now = pace.lead(&mut phases);
            for ((receiver, ended), wanted) in receivers.iter_mut().zip(&mut ended).zip(submits) {
                if *ended {
                    continue;
                }
                let parcel = receiver.take();
                *ended = parcel.last;
                let kept = wanted.iter().filter_map(|block| Some((block.slot?, block.bytes)));
                for ((slot, bytes), &block) in kept.zip(parcel.blocks()) {
                    // SAFETY: the submitter gave the block away.
                    unsafe { look(block) };
                    table[slot as usize] = (block, bytes);
                }
            }
            due.clear();
            sizes.clear();
            for &slot in slots {
                let (block, bytes) = std::mem::replace(&mut table[slot as usize], (std::ptr::null_mut(), 0));
                if !block.is_null() {
                    due.push(block);
                    sizes.push(bytes);
                }
            }
            meters.free.mode = now.unwrap_or(Mode::Warm);
            // SAFETY: the table had them, each once.
            unsafe { calls::free(subject, &mut meters.free, &due, &sizes) };
            if ended == [true; SUBMITTERS] {
                break;
            }
        }
        for (block, bytes) in table.into_iter().filter(|(block, _)| !block.is_null()) {
            // SAFETY: still in the table, so nobody freed it.
            unsafe { subject.free(block, bytes) };
        }
        meters
    }
}

impl Bench for Storport {
    type State = ();

    fn start<S: Subject>(&self, _: &S) {}

    fn turn<S: Subject>(&self, subject: &S, (): &mut (), turn: &mut Turn<'_>) {
        let pace = &Pace::new();
        let phases = Phases::new(Instant::now(), turn.length);
        let cpus = turn.cpus;
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..SUBMITTERS).map(|_| ring(DEPTH)).unzip();
        let Ok(receivers) = <[_; SUBMITTERS]>::try_from(receivers) else { unreachable!() };
        // The completion has the last CPU of two or three; submitters share when there are two.
        let last = cpus.count().clamp(2, SUBMITTERS + 1) - 1;
        let meters: Vec<Meters> = std::thread::scope(|scope| {
            let far = scope.spawn(move || {
                let _seat = Seat::take(subject, cpus, last);
                self.complete(subject, pace, phases, receivers)
            });
            let spawn = |(place, sender): (usize, _)| {
                scope.spawn(move || {
                    let _seat = Seat::take(subject, cpus, place.min(last - 1));
                    self.submit(subject, place, pace, sender)
                })
            };
            let threads: Vec<_> = senders.into_iter().enumerate().map(spawn).chain([far]).collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
        });
        turn.absorb(meters, SEGMENT);
    }

    fn end<S: Subject>(&self, _: &S, (): ()) {}
}

/// Plays both loads on a subject for a while, one after the other, without results.
pub(crate) fn replay<S: Subject>(table: &S, srbs: &S, length: Duration) {
    let cpus = &Cpus::detect();
    let (alloc, free) = (&mut Series::new(), &mut Series::new());
    let mut turn = Turn { cpus, length, alloc, free };
    Storport::request_table().turn(table, &mut (), &mut turn);
    Storport::mixed_srbs().turn(srbs, &mut (), &mut turn);
}
