//! What every scenario is made of.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crossbeam_utils::Backoff;

use crate::meter::{Meter, Mode, Series};
use crate::pinning::Cpus;
use crate::subjects::Subject;

/// A scenario's work.
pub(crate) trait Bench {
    /// What one allocator keeps between its turns.
    type State;

    fn start<S: Subject>(&self, subject: &S) -> Self::State;
    fn turn<S: Subject>(&self, subject: &S, state: &mut Self::State, turn: &mut Turn<'_>);
    fn end<S: Subject>(&self, subject: &S, state: Self::State);

    /// Requested bytes that were live at most; 0 where nobody counts.
    fn payload(&self, _state: &Self::State) -> u64 {
        0
    }
}

/// One allocator's turn.
pub(crate) struct Turn<'a> {
    pub(crate) cpus: &'a Cpus,
    pub(crate) length: Duration,
    pub(crate) alloc: &'a mut Series,
    pub(crate) free: &'a mut Series,
}

/// The meters of a thread that does both.
pub(super) struct Meters {
    pub(super) alloc: Meter,
    pub(super) free: Meter,
}

impl Meters {
    pub(super) fn new() -> Meters {
        Meters { alloc: Meter::new(), free: Meter::new() }
    }

    pub(super) fn mode(&mut self, mode: Mode) {
        self.alloc.mode = mode;
        self.free.mode = mode;
    }
}

impl Turn<'_> {
    /// Runs a single thread's batches: at least `warm` of them unmeasured, then by whole
    /// batches, then by operations.
    pub(super) fn drive(&mut self, warm: usize, mut batch: impl FnMut(&mut Meters)) {
        let mut meters = Meters::new();
        for _ in 0..warm {
            batch(&mut meters);
        }
        let begin = Instant::now();
        for (mode, percent) in [(Mode::Whole, 60), (Mode::Each, 100)] {
            meters.mode(mode);
            let end = self.length * percent / 100;
            loop {
                batch(&mut meters);
                if begin.elapsed() >= end {
                    break;
                }
            }
        }
        self.absorb([meters], 1);
    }

    /// Takes over what threads saw that ran side by side.
    pub(super) fn absorb(&mut self, meters: impl IntoIterator<Item = Meters>, per: usize) {
        let (mut alloc, mut free): (Vec<_>, Vec<_>) =
            meters.into_iter().map(|meters| (meters.alloc, meters.free)).unzip();
        self.alloc.absorb(&mut alloc, per);
        self.free.absorb(&mut free, per);
    }
}

/// The modes of a turn of several threads: by the time since its start, but some batches in each at least,
/// however late a thread gets its CPU.
pub(super) struct Phases {
    begin: Instant,
    length: Duration,
    place: usize,
    batches: usize,
}

impl Phases {
    /// Each mode, and the percent of the turn at which it ends.
    const ALL: [(Mode, u32); 3] = [(Mode::Warm, 20), (Mode::Whole, 68), (Mode::Each, 100)];
    const LEAST: usize = 8;

    pub(super) fn new(begin: Instant, length: Duration) -> Phases {
        Phases { begin, length, place: 0, batches: 0 }
    }

    pub(super) fn are_over(&self) -> bool {
        self.place == Phases::ALL.len()
    }

    /// The mode of the next batch; `None` is the end.
    pub(super) fn next(&mut self) -> Option<Mode> {
        let &(_, percent) = Phases::ALL.get(self.place)?;
        if self.batches >= Phases::LEAST && self.begin.elapsed() >= self.length * percent / 100 {
            self.place += 1;
            self.batches = 0;
        }
        self.batches += 1;
        Phases::ALL.get(self.place).map(|&(mode, _)| mode)
    }
}

/// Where one thread leaves the mode that it is in, and others find it.
pub(super) struct Pace(AtomicU8);

impl Pace {
    /// What it holds at the end; before, a [`Mode`].
    const STOP: u8 = u8::MAX;

    pub(super) fn new() -> Pace {
        Pace(AtomicU8::new(Mode::Warm as u8))
    }

    /// Goes on to the next batch's mode; `None` is the end.
    pub(super) fn lead(&self, phases: &mut Phases) -> Option<Mode> {
        let next = phases.next();
        self.set(next);
        next
    }

    /// Leaves a mode for the others; `None` is the end.
    pub(super) fn set(&self, next: Option<Mode>) {
        // ORDERING: Relaxed - a word by itself.
        self.0.store(next.map_or(Self::STOP, |mode| mode as u8), Ordering::Relaxed);
    }

    /// The leader's mode.
    pub(super) fn follow(&self) -> Option<Mode> {
        // ORDERING: Relaxed - a word by itself.
        match self.0.load(Ordering::Relaxed) {
            Self::STOP => None,
            mode if mode == Mode::Whole as u8 => Some(Mode::Whole),
            mode if mode == Mode::Each as u8 => Some(Mode::Each),
            _ => Some(Mode::Warm),
        }
    }
}

/// A thread of a scenario: on its CPU, and known to the allocator.
pub(super) struct Seat<'a, S: Subject>(&'a S);

impl<'a, S: Subject> Seat<'a, S> {
    pub(super) fn take(subject: &'a S, cpus: &Cpus, place: usize) -> Seat<'a, S> {
        cpus.pin(place);
        subject.enter();
        Seat(subject)
    }
}

impl<S: Subject> Drop for Seat<'_, S> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Spins for a moment, then lets others run, until it is so.
pub(super) fn wait_until(mut so: impl FnMut() -> bool) {
    let backoff = Backoff::new();
    while !so() {
        backoff.snooze();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_thread_still_gets_all_modes() {
        let mut phases = Phases::new(Instant::now(), Duration::ZERO);
        let modes: Vec<_> = std::iter::from_fn(|| phases.next()).collect();
        let each = [Mode::Warm, Mode::Whole, Mode::Each].map(|mode| [mode; Phases::LEAST]);
        assert_eq!(modes, each.concat());
        assert_eq!(phases.next(), None);
    }
}
