//! Free: the fast path, and the steps that it may take instead, all of them bounded. What is refused, and why, is
//! in `refuse`.

use super::refuse::refuse_slow;
use crate::contract::adapter::AdapterId;
use crate::contract::status::Status;
use crate::layout::block::BlockId;
use crate::layout::classes::SpanSize;
use crate::layout::meta::Meta;
use crate::layout::state::State;
use crate::percpu::claim::find_and_claim;
use crate::percpu::platform::{Freed, Platform};
use crate::stock::put::{put_claimed_slow, put_slow};

/// `StorPortFreePool`, the fast path: a block of a slab, freed by its owner, into this CPU's
/// loaded magazine.
#[inline(never)]
pub(crate) fn free<P: Platform>(meta: Meta, platform: &P, place: u64, expected: State) -> Status {
    free_here(meta, platform, place, expected)
}

/// What free expects to find: the state of a live block of this owner at this place. The caller composes it, in two
/// instructions.
#[inline(always)]
pub(crate) const fn expected(owner: AdapterId, place: u64) -> State {
    State::live(owner, BlockId(place as u32))
}

/// [`free`], inlined.
#[inline(always)]
pub(crate) fn free_here<P: Platform>(meta: Meta, platform: &P, place: u64, expected: State) -> Status {
    match meta.range().fast_block_at(place) {
        Some(block) => free_in(meta, platform, block, block.span(SpanSize::MOST), expected),
        None => free_elsewhere_slow(meta, platform, place, expected),
    }
}

/// Frees a block of this span.
#[inline(always)]
fn free_in<P: Platform>(meta: Meta, platform: &P, block: BlockId, span: u32, expected: State) -> Status {
    if cfg!(storport_pool_asan) {
        return free_slow(meta, platform, block, expected);
    }
    match platform.free(&meta, expected, block, span) {
        Freed::Done => Status::SUCCESS,
        Freed::Claimed => put_claimed_slow(meta, platform, block),
        Freed::Missed => free_slow(meta, platform, block, expected),
    }
}

/// Reached with an address outside the range, or one that is no multiple of 16, which the fast path has not kept; and in
/// pools whose spans are of one page.
#[cold]
#[inline(never)]
fn free_elsewhere_slow<P: Platform>(meta: Meta, platform: &P, place: u64, expected: State) -> Status {
    match meta.range().block_at(place) {
        Some(block) => free_in(meta, platform, block, meta.span_of(block), expected),
        None => refuse_slow(meta, platform, expected.owner(), meta.range().base.address_of(place)),
    }
}

/// Reached when the loaded magazine has no room, the section was aborted, or could not run; and with
/// whatever is no live slab block of the caller.
#[cold]
#[inline(never)]
fn free_slow<P: Platform>(meta: Meta, platform: &P, block: BlockId, expected: State) -> Status {
    if !meta.not_implemented()
        && !platform.above_dispatch()
        && let Some(class) = find_and_claim(&meta, expected, block, meta.span_of(block))
    {
        return put_slow(meta, platform, class, block);
    }
    refuse_slow(meta, platform, expected.owner(), meta.range().address(block))
}
