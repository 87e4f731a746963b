//! Free: the fast path, and each step that it may take instead, all of them bounded.

use crate::layout::classes::{Class, LARGE};
use crate::layout::header::{ALLOC, BlockId, FREE, Header, LARGE_ALLOC, LARGE_FREE};
use crate::layout::meta::Meta;
use crate::owners::accounts::OTHER_TAG;
use crate::percpu::claim::{claim, find_and_claim};
use crate::percpu::{DISPATCH, Freed, Platform};
use crate::put::put_slow;
use crate::violations::Call;
use crate::{AdapterId, PoolTag, Status, ViolationKind};

/// `StorPortFreePool`, the fast path: a block of a slab, freed by its owner, into this CPU's
/// loaded magazine.
#[inline(never)]
pub(crate) fn free<P: Platform>(meta: Meta, platform: &P, place: u64, owner: AdapterId) -> Status {
    free_here(meta, platform, place, owner)
}

/// [`free`], inlined.
#[inline(always)]
pub(crate) fn free_here<P: Platform>(meta: Meta, platform: &P, place: u64, owner: AdapterId) -> Status {
    let Some(block) = meta.range().block_at(place) else {
        return refuse_place_slow(meta, platform, place, owner);
    };
    if cfg!(storport_pool_asan) {
        return free_slow(meta, platform, block, owner);
    }
    match platform.free(&meta, owner, block) {
        Freed::Done => Status::SUCCESS,
        Freed::Claimed => put_claimed_slow(meta, platform, block),
        Freed::Missed => free_slow(meta, platform, block, owner),
    }
}

/// Reached with an address outside the range, or one that is no multiple of 16. The fast path has not kept it.
#[cold]
#[inline(never)]
fn refuse_place_slow<P: Platform>(meta: Meta, platform: &P, place: u64, owner: AdapterId) -> Status {
    refuse_slow(meta, platform, owner, meta.range().base.address_of(place))
}

/// Puts a claimed slab block away.
#[cold]
#[inline(never)]
pub(crate) fn put_claimed_slow<P: Platform>(meta: Meta, platform: &P, block: BlockId) -> Status {
    // The claimed block pins its slab (I5): its entry is the one that counts.
    put_slow(meta, platform, meta.read_entry(block.span() as usize).class(), block)
}

/// Reached when the loaded magazine has no room, the section was aborted, or could not run; and with
/// whatever is no live slab block of the caller.
#[cold]
#[inline(never)]
fn free_slow<P: Platform>(meta: Meta, platform: &P, block: BlockId, owner: AdapterId) -> Status {
    if !platform.above_dispatch()
        && let Some(class) = find_and_claim(&meta, owner, block)
    {
        return put_slow(meta, platform, class, block);
    }
    refuse_slow(meta, platform, owner, meta.range().address(block))
}

/// Reached with a bad address or argument, at a bad IRQL, with a large run, or when another call was faster.
/// The contract's checks, in its order (section 5 of the contract's decisions).
#[cold]
#[inline(never)]
pub(crate) fn refuse_slow<P: Platform>(meta: Meta, platform: &P, owner: AdapterId, address: u64) -> Status {
    if meta.not_implemented() {
        return Status::NOT_IMPLEMENTED;
    }
    if address == 0 || !meta.adapter_live(owner) {
        return Status::INVALID_PARAMETER;
    }
    let irql = platform.irql();
    if irql > DISPATCH {
        return Status::INVALID_IRQL;
    }
    let call = Call { caller: owner, irql };
    match inspect(&meta, owner, address) {
        Ok((block, header, class)) => {
            if claim(meta.header_of(class, block), header) {
                return put_claimed_slow(meta, platform, block);
            }
            // Another free of this block won between our look and our claim.
            meta.refuse_free(call, ViolationKind::DoubleFree, address, Some(header));
        }
        Err((kind, header)) => meta.refuse_free(call, kind, address, header),
    }
    Status::INVALID_PARAMETER
}

/// Whether the address is a live block of this owner with another tag, which is reported then. Everything else
/// is free's to refuse.
#[inline(never)]
pub(crate) fn refuse_tag<P: Platform>(
    meta: Meta,
    platform: &P,
    owner: AdapterId,
    address: u64,
    tag: PoolTag,
) -> bool {
    let irql = platform.irql();
    if irql > DISPATCH || meta.not_implemented() {
        return false;
    }
    let Ok((_, header, _)) = inspect(&meta, owner, address) else {
        return false;
    };
    let own = meta.account_key(header.account()).tag();
    // A block that found no account has lost its tag.
    if own == tag || own == OTHER_TAG {
        return false;
    }
    meta.refuse_tag(Call { caller: owner, irql }, address, header, tag);
    true
}

/// What an address is: a live block of this owner, or what is wrong with it. Loads only.
fn inspect(
    meta: &Meta,
    owner: AdapterId,
    address: u64,
) -> Result<(BlockId, Header, Class), (ViolationKind, Option<Header>)> {
    let Some(grain) = meta.range().grain_of(address) else {
        return Err((ViolationKind::Foreign, None));
    };
    let Some(found) = meta.locate(grain) else {
        return Err((ViolationKind::Wild, None));
    };
    let at_start = found.at_start && address == meta.range().address(grain);
    if found.header.is(ALLOC, found.start) || found.header.is(LARGE_ALLOC, found.start) {
        if !at_start {
            Err((ViolationKind::Interior, Some(found.header)))
        } else if meta.account_key(found.header.account()).owner() != owner {
            Err((ViolationKind::WrongOwner, Some(found.header)))
        } else {
            Ok((found.start, found.header, found.class))
        }
    } else if at_start && found.header.is(if found.class == LARGE { LARGE_FREE } else { FREE }, found.start) {
        Err((ViolationKind::DoubleFree, Some(found.header)))
    } else {
        Err((ViolationKind::Wild, None))
    }
}
