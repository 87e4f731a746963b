//! Two submitters allocate, a thread on another CPU completes and frees, in a drawn order.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use super::remote::{BATCH, Parcel, SEGMENT};
use super::ring::{Receiver, Sender, ring};
use super::schedule::{SUBMITTERS, Schedule, mixed_srb, request_table};
use super::{Bench, Meters, Turn, mode_at};
use crate::meter::{Meter, Mode, Series};
use crate::pinning::Cpus;
use crate::subjects::{Subject, alloc_touched, look};

/// Submissions that wait for the completion's thread. Few: they count as in flight.
const DEPTH: usize = 2;
/// What `control` holds at the end; before, a [`Mode`].
const STOP: u8 = u8::MAX;

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
        control: &AtomicU8,
        mut sender: Sender<Parcel>,
    ) -> Meters {
        let mut meters = Meters::new();
        let mut blocks = [std::ptr::null_mut(); BATCH];
        for step in self.schedule.submits.iter().cycle() {
            // ORDERING: Relaxed - a word by itself.
            let mode = match control.load(Ordering::Relaxed) {
                STOP => break,
                mode if mode == Mode::Whole as u8 => Mode::Whole,
                mode if mode == Mode::Each as u8 => Mode::Each,
                _ => Mode::Warm,
            };
            meters.mode(mode);
            let wanted = &step[submitter];
            meters
                .alloc
                .time(wanted.len(), |index| blocks[index] = alloc_touched(subject, wanted[index].bytes));
            let (mut kept, mut scratch) = (Parcel::of(mode), Parcel::of(mode));
            for (wanted, &block) in wanted.iter().zip(&blocks) {
                if wanted.slot.is_some() { kept.push(block) } else { scratch.push(block) }
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

    /// Decides the modes, by time, and frees what is due.
    fn complete<S: Subject>(
        &self,
        subject: &S,
        length: Duration,
        control: &AtomicU8,
        mut receivers: [Receiver<Parcel>; SUBMITTERS],
    ) -> Meter {
        let mut meter = Meter::new();
        let mut table = vec![std::ptr::null_mut::<u8>(); self.schedule.slots];
        let mut due = Vec::with_capacity(self.schedule.slots);
        let mut ended = [false; SUBMITTERS];
        let begin = Instant::now();
        for (submits, slots) in self.schedule.submits.iter().zip(&self.schedule.due).cycle() {
            let now = mode_at(begin.elapsed(), length);
            // ORDERING: Relaxed - a word by itself.
            control.store(now.map_or(STOP, |mode| mode as u8), Ordering::Relaxed);
            for ((receiver, ended), wanted) in receivers.iter_mut().zip(&mut ended).zip(submits) {
                if *ended {
                    continue;
                }
                let parcel = receiver.take();
                *ended = parcel.last;
                let kept = wanted.iter().filter_map(|block| block.slot);
                for (slot, &block) in kept.zip(parcel.blocks()) {
                    // SAFETY: the submitter gave the block away.
                    unsafe { look(block) };
                    table[slot as usize] = block;
                }
            }
            due.clear();
            for &slot in slots {
                let block = std::mem::replace(&mut table[slot as usize], std::ptr::null_mut());
                if !block.is_null() {
                    due.push(block);
                }
            }
            meter.mode = now.unwrap_or(Mode::Warm);
            // SAFETY: the table had them, each once.
            meter.time(due.len(), |index| unsafe { subject.free(due[index]) });
            if ended == [true; SUBMITTERS] {
                break;
            }
        }
        for block in table.into_iter().filter(|block| !block.is_null()) {
            // SAFETY: still in the table, so nobody freed it.
            unsafe { subject.free(block) };
        }
        meter
    }
}

impl Bench for Storport {
    type State = ();

    fn start<S: Subject>(&self, _: &S) {}

    fn turn<S: Subject>(&self, subject: &S, (): &mut (), turn: &mut Turn<'_>) {
        let control = &AtomicU8::new(Mode::Warm as u8);
        let (cpus, length) = (turn.cpus, turn.length);
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..SUBMITTERS).map(|_| ring(DEPTH)).unzip();
        let Ok(receivers) = <[_; SUBMITTERS]>::try_from(receivers) else { unreachable!() };
        // The completion has the last CPU of two or three; submitters share when there are two.
        let last = cpus.count().clamp(2, SUBMITTERS + 1) - 1;
        let (mut near, mut far) = std::thread::scope(|scope| {
            let far = scope.spawn(move || {
                cpus.pin(last);
                self.complete(subject, length, control, receivers)
            });
            let spawn = |(place, sender): (usize, _)| {
                scope.spawn(move || {
                    cpus.pin(place.min(last - 1));
                    self.submit(subject, place, control, sender)
                })
            };
            let near: Vec<_> = senders.into_iter().enumerate().map(spawn).collect();
            let near: Vec<_> =
                near.into_iter().map(|thread| thread.join().expect("submitters do not panic")).collect();
            (near, far.join().expect("the completion does not panic"))
        });
        let (mut alloc, mut free): (Vec<_>, Vec<_>) =
            near.iter_mut().map(|meters| (&mut meters.alloc, &mut meters.free)).unzip();
        turn.alloc.absorb(&mut alloc, SEGMENT);
        free.push(&mut far);
        turn.free.absorb(&mut free, SEGMENT);
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
