//! Handing a block out: where it comes from, and how an allocation ends.

use super::request::{Answer, CLOSED, Request};
use super::ways::ways;
use crate::contract::status::Status;
use crate::layout::block::BlockId;
use crate::layout::classes::LARGE;
use crate::layout::meta::Meta;
use crate::percpu::claim::claim;
use crate::percpu::platform::Platform;
use crate::stock::put::put_claimed_slow;
use crate::stock::refill::{find, find_large};
use crate::stock::span::Miss;
use crate::sync::{Ordering, fence};
use crate::trace::emit::emit;

/// Looks in the sources behind the cursor.
pub(super) fn search<P: Platform>(meta: Meta, platform: &P, request: Request) -> Result<BlockId, Miss> {
    let Request { place, room, alignment, .. } = request;
    if place == LARGE {
        return find_large(&meta, platform, room, (alignment / meta.span_size().bytes()).max(1));
    }
    find(&meta, platform, place, alignment)
}

/// The same, and says how it ended.
pub(super) fn search_and_hand_out<P: Platform>(meta: Meta, platform: &P, request: Request) -> Answer {
    found(meta, platform, request, search(meta, platform, request))
}

/// What waits in the verifier's quarantine is free memory, too.
#[cold]
fn search_again<P: Platform>(
    meta: Meta,
    platform: &P,
    request: Request,
    miss: Miss,
) -> Result<BlockId, Miss> {
    let waited = meta.verifier().map_or(0, |verifier| (ways(verifier).empty)(meta, platform.opaque()).0);
    if waited > 0 { search(meta, platform, request) } else { Err(miss) }
}

/// What the sources behind the cursor gave.
fn found<P: Platform>(meta: Meta, platform: &P, request: Request, found: Result<BlockId, Miss>) -> Answer {
    let answer = match found.or_else(|miss| search_again(meta, platform, request, miss)) {
        Ok(block) => finish(meta, platform, request, block),
        Err(miss) => fail(&meta, request, miss),
    };
    // A search for memory may have been refused a fence. Now nothing is in hand.
    meta.tell_refused_fence(platform, request.key.owner());
    emit!(platform.irql(), DEBUG, "allocation, the slow way", status = %answer.status, tag = %request.key.tag(), bytes = request.bytes, class = request.class.0, address = answer.address, adapter = request.key.owner().raw());
    answer
}

fn fail(meta: &Meta, request: Request, miss: Miss) -> Answer {
    if request.counted {
        meta.uncount(request.account, request.key, request.class);
    }
    if miss == Miss::Contended {
        // ORDERING: Relaxed - a statistic.
        meta.control().contended.fetch_add(1, Ordering::Relaxed);
    }
    Answer::refused(Status::INSUFFICIENT_RESOURCES)
}

/// Hands a block out that the caller holds.
pub(super) fn finish<P: Platform>(meta: Meta, platform: &P, request: Request, block: BlockId) -> Answer {
    let Request { key, account, class, place, bytes, counted, .. } = request;
    if !counted && !meta.count_shared(account, key, class) {
        // Never counted, so never live.
        let _ = put_claimed_slow(meta, platform, block);
        return Answer::refused(CLOSED);
    }
    meta.make_live(place, block, request.live(block), account, bytes);
    // ORDERING: SeqCst - pairs with `fence_all`: the closer's walk sees the state, or we the word.
    fence(Ordering::SeqCst);
    if meta.account_key(account) != key {
        return undo_slow(meta, platform, request, block);
    }
    Answer { status: Status::SUCCESS, address: meta.address_of(place, block) }
}

/// Reached when the account was closed while we allocated.
#[cold]
#[inline(never)]
pub(super) fn undo_slow<P: Platform>(meta: Meta, platform: &P, request: Request, block: BlockId) -> Answer {
    undo(meta, platform, request, block);
    Answer::refused(CLOSED)
}

/// Takes back a block that was made live for a caller who never got it, unless the adapter's remover has released it.
/// It has the state that we wrote, or the one by which the remover made it an orphan. Both name one life of one
/// adapter, so whatever happened meanwhile, no other block is taken for ours.
pub(crate) fn undo<P: Platform>(meta: Meta, platform: &P, request: Request, block: BlockId) {
    let live = request.live(block);
    // By its entry, since the block's own class may be a larger one than was asked for. If the remover released it, the
    // entry may be another slab's by now: no word but this block's own ever has the state that we wrote.
    let word = match request.place {
        LARGE => meta.state_word(LARGE, block),
        _ => meta.state_at(meta.entry_of(block).state_index(block)),
    };
    let orphaned = || claim(word, live.owned_by(request.key.owner().left()));
    if claim(word, live) || orphaned() {
        meta.forget_note(block);
        let _ = put_claimed_slow(meta, platform, block);
    }
}
