//! Finding a live block and claiming it, where no section does both at once.

use crate::layout::block::BlockId;
use crate::layout::classes::Class;
use crate::layout::meta::Meta;
use crate::layout::page_map::Entry;
use crate::layout::state::State;
use crate::sync::{AtomicU32, Ordering};

/// A live block of a slab: its page-map entry, and its state.
pub(crate) struct Found<'a> {
    pub(crate) entry: Entry,
    pub(crate) word: &'a AtomicU32,
}

/// The slab block with this id, in this span, if its state is the one expected. Two loads.
#[inline(always)]
pub(crate) fn find(meta: &Meta, expected: State, block: BlockId, span: u32) -> Option<Found<'_>> {
    let entry = meta.read_span(span);
    let word = meta.state_at(entry.state_index(block));
    // ORDERING: Relaxed - the claim decides.
    (word.load(Ordering::Relaxed) == expected.0).then_some(Found { entry, word })
}

/// Finds a block and claims it: its class, when the caller holds it now. One RMW at most.
///
/// The entry that led to the state may be older than the slab. The claimed block pins its slab (I5), so
/// the entry as it is read afterwards is the one that counts.
#[inline(always)]
pub(crate) fn find_and_claim(meta: &Meta, expected: State, block: BlockId, span: u32) -> Option<Class> {
    let found = find(meta, expected, block, span)?;
    claim(found.word, expected).then(|| meta.read_span(span).class())
}

/// Claims a live block: of all who try with this state, one wins. One RMW.
#[inline(always)]
pub(crate) fn claim(word: &AtomicU32, live: State) -> bool {
    // ORDERING: AcqRel - Acquire: the block's slab was adopted before it was allocated;
    // Release: the caller's use of the block ended before it is free.
    word.compare_exchange(live.0, live.freed().0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}
