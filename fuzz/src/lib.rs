//! What the targets share: pools of every kind, each with its reference, and arbitrary calls of them.

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/common/model/mod.rs"]
mod model;

pub mod call;
pub mod make;
pub mod refused;

use std::fmt::Debug;

use arbitrary::{Arbitrary, Result, Unstructured};
use storport_pool::Snapshot;

use call::{Call, Pointer, Who};
pub use common::{SimPortable, Way, alloc, exercise, free};
use model::Model;

/// As many as the input has bytes for. (A plain `Vec` ends after each with every other byte.)
#[derive(Debug)]
pub struct All<T>(pub Vec<T>);

impl<'a, T: Arbitrary<'a>> Arbitrary<'a> for All<T> {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        let mut all = Vec::new();
        while !input.is_empty() {
            all.push(input.arbitrary()?);
        }
        Ok(All(all))
    }
}

/// A pool of any platform, and its reference.
pub trait Subject: Send {
    fn run(&mut self, call: &Call);
    /// Runs a call on a thread of its own, on this CPU.
    fn run_on(&mut self, cpu: u32, call: &Call);
    /// The address that a pointer means here.
    fn address(&self, pointer: &Pointer) -> u64;
    /// Frees any address; a bad one changes nothing.
    fn free(&mut self, who: &Who, address: u64);
    fn check(&mut self);
    fn finish(&mut self);
    fn leave(self: Box<Self>);
}

impl<W: Way> Subject for Model<W> {
    fn run(&mut self, call: &Call) {
        call.run(self);
    }

    fn run_on(&mut self, cpu: u32, call: &Call) {
        W::on_cpu(cpu, || call.run(self));
    }

    fn address(&self, pointer: &Pointer) -> u64 {
        pointer.address(self)
    }

    fn free(&mut self, who: &Who, address: u64) {
        let caller = who.adapter(self, address);
        let (before, live) = (self.pool.snapshot(), self.live.len());
        Model::free(self, caller, address);
        if self.live.len() == live {
            assert_eq!(parts(&self.pool.snapshot()), parts(&before), "a refused free changes nothing");
        }
    }

    fn check(&mut self) {
        Model::check(self);
    }

    fn finish(&mut self) {
        Model::finish(self);
    }

    fn leave(self: Box<Self>) {
        Model::leave(*self);
    }
}

/// Everything in a snapshot but the number of violations.
fn parts(snapshot: &Snapshot) -> impl PartialEq + Debug {
    let Snapshot { tags, accounts, cpus, classes, free_bytes, range_bytes, .. } = snapshot;
    let Snapshot { changing, contended, other, .. } = snapshot;
    ((tags, accounts, cpus, classes), (free_bytes, range_bytes), (changing, contended, other))
}

/// Makes the calling thread run on a CPU: a real one, and one of the simulated hosts.
pub fn go_to_cpu(cpu: u8) {
    // Numbers without a cache too; the last stands for a host that does not know.
    common::SimPortable::go_to_cpu(if cpu == u8::MAX { u32::MAX } else { u32::from(cpu % 8) });
    common::Rseq::go_to_cpu(u32::from(cpu % 2));
}
