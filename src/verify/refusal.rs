//! Where the first refusal by a rule is noted, for whoever asked: memory that a child process may share with its parent.

use super::stacks::StackId;
use super::verifier::Verifier;
use crate::contract::tag::PoolTag;
use crate::sync::Ordering;

const NONE: u32 = 0;
const BUSY: u32 = 1;
const THERE: u32 = 2;

impl Verifier {
    /// Whoever asked about one of these rules (a bit each) is told what they refused. Any IRQL, no loop but of the frames.
    pub(crate) fn note_refusal(&self, rules: u32, tag: PoolTag, bytes: u32, stack: Option<StackId>) {
        // ORDERING: Acquire - the slot; pairs with the Release in `tell_refusals`.
        let slot = self.refusal.load(Ordering::Acquire);
        // SAFETY: a slot lives as long as the verifier, or as the process (`tell_refusals`).
        let Some(slot) = (unsafe { slot.as_ref() }) else { return };
        // ORDERING: Relaxed - as in `wait_for`.
        let rule = slot.rule.load(Ordering::Relaxed);
        if rule == 0 || rules & (1 << (rule - 1)) == 0 {
            return;
        }
        // ORDERING: Relaxed - one of two is the first; the words follow, and then the Release.
        if slot.state.compare_exchange(NONE, BUSY, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let stack = stack.unwrap_or(StackId::NOT_TRACKED);
        // ORDERING: Relaxed, all - published below.
        slot.tag.store(tag.raw(), Ordering::Relaxed);
        slot.bytes.store(bytes, Ordering::Relaxed);
        slot.stack.store(stack.0, Ordering::Relaxed);
        let taken = self.stack(stack);
        for (n, to) in slot.frames.iter().enumerate() {
            to.store(taken.frames().get(n).copied().unwrap_or(0), Ordering::Relaxed);
        }
        // ORDERING: Release - the words; pairs with the Acquire in `get`.
        slot.state.store(THERE, Ordering::Release);
    }
}

/// For whoever asks.
#[cfg(all(feature = "verifier", target_os = "linux", not(storport_pool_loom)))]
mod asked {
    use super::super::tables::RefusalSlot;
    use super::{NONE, Ordering, PoolTag, StackId, THERE, Verifier};
    use crate::contract::verify::stack::{CallStack, FRAMES, StackKind};
    use crate::sync::{AtomicU32, AtomicU64};

    /// An allocation that was refused: its tag and bytes, and who made it.
    #[derive(Clone, Copy)]
    pub(crate) struct Refusal {
        pub(crate) tag: PoolTag,
        pub(crate) bytes: u32,
        pub(crate) stack: CallStack,
    }

    impl RefusalSlot {
        pub(crate) const fn new() -> RefusalSlot {
            RefusalSlot {
                state: AtomicU32::new(NONE),
                rule: AtomicU32::new(0),
                tag: AtomicU32::new(0),
                bytes: AtomicU32::new(0),
                stack: AtomicU32::new(0),
                frames: [const { AtomicU64::new(0) }; FRAMES],
            }
        }

        /// From now on it waits for a refusal by the rule at this place; `None`: for none.
        pub(crate) fn wait_for(&self, rule: Option<u32>) {
            // ORDERING: Relaxed, both - whoever asks is told of refusals that begin afterwards, by its own calls or those
            // of threads that it starts.
            self.rule.store(rule.map_or(0, |place| place + 1), Ordering::Relaxed);
            self.state.store(NONE, Ordering::Relaxed);
        }

        /// What was refused, if anything was.
        pub(crate) fn get(&self) -> Option<Refusal> {
            // ORDERING: Acquire - the words; pairs with the Release in `note_refusal`.
            if self.state.load(Ordering::Acquire) != THERE {
                return None;
            }
            // ORDERING: Relaxed, all - published by the state.
            let mut frames = [0; FRAMES];
            for (to, frame) in frames.iter_mut().zip(&self.frames) {
                *to = frame.load(Ordering::Relaxed);
            }
            let len = frames.iter().position(|&frame| frame == 0).unwrap_or(FRAMES);
            let stack = match StackId(self.stack.load(Ordering::Relaxed)).kind() {
                StackKind::Taken => CallStack::taken(frames, len),
                kind => CallStack::none(kind),
            };
            let tag = PoolTag::from_raw(self.tag.load(Ordering::Relaxed));
            Some(Refusal { tag, bytes: self.bytes.load(Ordering::Relaxed), stack })
        }
    }

    impl Verifier {
        /// Refusals are noted there from now on.
        ///
        /// # Safety
        /// The slot lives as long as the verifier, or as this process.
        pub(crate) unsafe fn tell_refusals(&self, slot: *mut RefusalSlot) {
            // ORDERING: Release - the slot; pairs with the Acquire in `note_refusal`.
            self.refusal.store(slot, Ordering::Release);
        }
    }
}
