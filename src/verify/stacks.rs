//! Call stacks, each kept once.

use super::tables::StackSlot;
use super::verifier::Verifier;
use crate::contract::verify::rule::mix;
use crate::contract::verify::stack::{CallStack, FRAMES, StackKind};
use crate::sync::Ordering;

/// A stack's number in a note: that of its place, or why there is none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StackId(pub(crate) u32);

const FIRST: u32 = 8;

impl StackId {
    pub(crate) const NOT_TRACKED: StackId = StackId(0);
    const NO_SOURCE: StackId = StackId(1);
    const LEFT_OUT: StackId = StackId(2);
    const TABLE_FULL: StackId = StackId(3);

    /// The place, if there is one.
    fn place(self) -> Option<usize> {
        self.0.checked_sub(FIRST).map(|place| place as usize)
    }

    pub(super) fn kind(self) -> StackKind {
        match self {
            StackId::NOT_TRACKED => StackKind::NotTracked,
            StackId::NO_SOURCE => StackKind::NoSource,
            StackId::LEFT_OUT => StackKind::LeftOut,
            StackId::TABLE_FULL => StackKind::TableFull,
            _ => StackKind::Taken,
        }
    }
}

const BUSY: u64 = 1;
const READY: u64 = 2;
/// Places that are looked at.
const PROBES: usize = 32;

impl Verifier {
    /// The number of the stack that leads here. Lock-free: `PROBES` places at most.
    pub(crate) fn take_stack(&self) -> StackId {
        let mut frames = [0; FRAMES];
        match self.host().call_stack(&mut frames) {
            Some(len) => self.intern(&frames[..len.min(FRAMES)]),
            None if self.host().has_call_stacks() => StackId::LEFT_OUT,
            None => StackId::NO_SOURCE,
        }
    }

    fn intern(&self, frames: &[u64]) -> StackId {
        let hash = frames.iter().fold(frames.len() as u64, |hash, &frame| mix(hash ^ frame)) & !3;
        let stacks = self.stacks();
        for probe in 0..PROBES {
            let place = ((hash >> 2) as usize + probe) & (stacks.len() - 1);
            let entry = &stacks[place];
            // ORDERING: Acquire - the frames; pairs with the Release below.
            let head = entry.head.load(Ordering::Acquire);
            let found = head == hash | READY && entry.is(frames);
            // ORDERING: Relaxed - the frames follow, and then the Release.
            let ours = head == 0
                && entry.head.compare_exchange(0, hash | BUSY, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            if ours {
                for (to, &frame) in entry.frames.iter().zip(frames) {
                    // ORDERING: Relaxed - published by the head.
                    to.store(frame, Ordering::Relaxed);
                }
                // ORDERING: Release - the frames; pairs with the Acquire above, and in `stack`.
                entry.head.store(hash | READY, Ordering::Release);
            }
            if found || ours {
                return StackId(FIRST + place as u32);
            }
        }
        // ORDERING: Relaxed - a statistic.
        self.counters.stacks_left_out.fetch_add(1, Ordering::Relaxed);
        StackId::TABLE_FULL
    }

    /// The stack with this number.
    pub(crate) fn stack(&self, id: StackId) -> CallStack {
        let Some(entry) = id.place().and_then(|place| self.stacks().get(place)) else {
            return CallStack::none(id.kind());
        };
        // ORDERING: Acquire - as above.
        if entry.head.load(Ordering::Acquire) & 3 != READY {
            return CallStack::none(StackKind::Forgotten);
        }
        let mut frames = [0; FRAMES];
        for (to, frame) in frames.iter_mut().zip(&entry.frames) {
            // ORDERING: Relaxed - ordered by the head, and written once.
            *to = frame.load(Ordering::Relaxed);
        }
        CallStack::taken(frames, frames.iter().position(|&frame| frame == 0).unwrap_or(FRAMES))
    }

    /// Whether a rule refuses an allocation from this stack for the first time.
    pub(crate) fn first_from(&self, id: StackId, rule: usize) -> bool {
        let bit = 1 << (rule % 64);
        id.place()
            .and_then(|place| self.stacks().get(place))
            // ORDERING: Relaxed - one of two callers is the first.
            .is_some_and(|entry| entry.refused.fetch_or(bit, Ordering::Relaxed) & bit == 0)
    }

    /// A new rule has this number: it has refused nothing yet.
    pub(crate) fn forget_rule(&self, rule: usize) {
        for entry in self.stacks() {
            // ORDERING: Relaxed, twice - as above.
            if entry.refused.load(Ordering::Relaxed) != 0 {
                entry.refused.fetch_and(!(1 << (rule % 64)), Ordering::Relaxed);
            }
        }
    }
}

impl StackSlot {
    fn is(&self, frames: &[u64]) -> bool {
        // ORDERING: Relaxed - ordered by the head, and written once.
        let mut mine = self.frames.iter().map(|frame| frame.load(Ordering::Relaxed));
        frames.iter().all(|&frame| mine.next() == Some(frame)) && mine.all(|frame| frame == 0)
    }
}
