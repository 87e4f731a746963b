//! Traffic while another thread trims and takes statistics.

use std::sync::atomic::{AtomicBool, Ordering};

use super::single::Burst;
use super::turn::{Bench, Seat, Turn};
use crate::subjects::Subject;

/// A burst's traffic, which meets what the other thread does.
pub(super) struct Upkeep(pub(super) Burst);

impl Bench for Upkeep {
    type State = ();

    fn start<S: Subject>(&self, _: &S) {}

    fn turn<S: Subject>(&self, subject: &S, state: &mut (), turn: &mut Turn<'_>) {
        let (cpus, stop) = (turn.cpus, &AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let _seat = Seat::take(subject, cpus, 1);
                // ORDERING: Relaxed - a word by itself.
                while !stop.load(Ordering::Relaxed) {
                    subject.upkeep();
                }
            });
            self.0.turn(subject, state, turn);
            // ORDERING: Relaxed - as above.
            stop.store(true, Ordering::Relaxed);
        });
    }

    fn end<S: Subject>(&self, _: &S, (): ()) {}
}
