//! Finding an allocated block and claiming it, where no section does both at once.

use crate::contract::adapter::AdapterId;
use crate::layout::classes::Class;
use crate::layout::header::{BlockId, Header};
use crate::layout::meta::Meta;
use crate::layout::page_map::Entry;
use crate::sync::{AtomicU64, Ordering};

/// An allocated block of a slab: its page-map entry, and its header.
pub(crate) struct Found<'a> {
    pub(crate) entry: Entry,
    pub(crate) word: &'a AtomicU64,
    pub(crate) header: Header,
}

/// The allocated slab block of this owner with this id. Three loads.
#[inline(always)]
pub(crate) fn find(meta: &Meta, owner: AdapterId, block: BlockId) -> Option<Found<'_>> {
    let entry = meta.read_entry(block.span() as usize);
    let word = meta.header_at(entry.header_index(block));
    // ORDERING: Relaxed - the claim decides.
    let header = Header(word.load(Ordering::Relaxed));
    let found = header.may_be_allocated(block)
        // ORDERING: Relaxed - an account with live blocks keeps its word, but for closing (I9).
        && meta.account_word(header.account()).load(Ordering::Relaxed) as u32 == owner.0;
    found.then_some(Found { entry, word, header })
}

/// Finds a block and claims it: its class, when the caller holds it now. One RMW at most.
///
/// The entry that led to the header may be older than the slab. The claimed block pins its slab (I5), so
/// the entry as it is read afterwards is the one that counts.
#[inline(always)]
pub(crate) fn find_and_claim(meta: &Meta, owner: AdapterId, block: BlockId) -> Option<Class> {
    let found = find(meta, owner, block)?;
    claim(found.word, found.header).then(|| meta.read_entry(block.span() as usize).class())
}

/// Claims an allocated block: of all who try with this header value, one wins. One RMW.
#[inline(always)]
pub(crate) fn claim(word: &AtomicU64, header: Header) -> bool {
    // ORDERING: AcqRel - Acquire: the block's slab was adopted before it was allocated;
    // Release: the caller's use of the block ended before it is free.
    word.compare_exchange(header.0, header.freed().0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}
