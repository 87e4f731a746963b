//! The quarantine: freed blocks that wait, and how they leave it.

use super::report::Call;
use crate::contract::verify::evidence::Evidence;
use crate::contract::violation::ViolationKind;
use crate::layout::block::BlockId;
use crate::layout::classes::Class;
use crate::layout::meta::{Located, Meta};
use crate::layout::state::State;
use crate::percpu::platform::Platform;
use crate::stock::put::put_claimed_slow;
use crate::verify::bytes::FREED;
use crate::verify::verifier::Verifier;

/// A block in the quarantine, as its ring has it: its number + 1, and whether it was filled.
#[derive(Clone, Copy)]
pub(super) struct Waiting(pub(super) u64);

const FILLED: u64 = 1 << 32;

impl Waiting {
    pub(super) const fn new(block: BlockId, filled: bool) -> Waiting {
        Waiting((block.0 as u64 + 1) | if filled { FILLED } else { 0 })
    }

    const fn block(self) -> BlockId {
        BlockId((self.0 as u32).wrapping_sub(1))
    }

    /// The block, in its slab or run. It is in the ring, or in hand: it pins them.
    fn located(self, meta: &Meta) -> (Class, State) {
        let class = meta.entry_of(self.block()).class();
        (class, meta.state(class, self.block()))
    }

    /// What was written into it since it was freed.
    fn evidence(self, meta: &Meta, verifier: &Verifier) -> Option<(Located, Evidence)> {
        if self.0 & FILLED == 0 {
            return None;
        }
        let (class, state) = self.located(meta);
        let start = self.block();
        let bytes = meta.record(class, start).bytes;
        let evidence = verifier.changed(meta.address_of(class, start), bytes.into(), FREED)?;
        Some((Located { start, state, class, at_start: true }, evidence))
    }
}

/// Gives a block away that has left the quarantine, and tells what was written into it meanwhile: whether something was.
pub(super) fn leave<P: Platform>(meta: Meta, platform: &P, verifier: &Verifier, waiting: Waiting) -> bool {
    // Read before the block goes.
    let wrong = waiting.evidence(&meta, verifier).map(|(found, evidence)| {
        let call = Call { caller: meta.owner_of(found.state), irql: platform.irql() };
        meta.evident(call, ViolationKind::WriteAfterFree, found, evidence)
    });
    let block = waiting.block();
    let (_, state) = waiting.located(&meta);
    if let Some(note) = verifier.note_of(block, state) {
        remember_freed(verifier, block, note.ticket);
    }
    let _ = put_claimed_slow(meta, platform, block);
    let Some(mut violation) = wrong else { return false };
    meta.report(&mut violation);
    true
}

/// Keeps the note of a freed block, in place of the one that was kept longest.
pub(super) fn remember_freed(verifier: &Verifier, block: BlockId, ticket: u32) {
    let oldest = verifier.freed().put((u64::from(block.0) + 1) << 32 | u64::from(ticket));
    if oldest != 0 {
        verifier.forget(BlockId((oldest >> 32) as u32 - 1), oldest as u32);
    }
}

/// Gives all blocks away that wait: how many there were, and into how many something was written.
pub(crate) fn empty_quarantine<P: Platform>(meta: Meta, platform: &P) -> (usize, u64) {
    let Some(verifier) = meta.verifier() else { return (0, 0) };
    let mut wrong = 0;
    let waited = verifier
        .quarantine()
        .take_each(|waiting| wrong += u64::from(leave(meta, platform, verifier, Waiting(waiting))));
    (waited, wrong)
}

/// Whether a block waits in the quarantine. Looks at all that do.
pub(super) fn waits(meta: &Meta, block: BlockId) -> bool {
    meta.verifier()
        .is_some_and(|verifier| verifier.quarantine().look().any(|waiting| Waiting(waiting).block() == block))
}
