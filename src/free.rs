//! Free: the fast path, and each step that it may take instead, all of them bounded.

use crate::layout::classes::{Class, LARGE};
use crate::layout::header::{ALLOC, BlockId, FREE, Header, LARGE_ALLOC, LARGE_FREE};
use crate::layout::meta::Meta;
use crate::layout::opaque;
use crate::percpu::{DISPATCH, Found, Freed, Platform, claim};
use crate::put::put_slow;
use crate::sync::Ordering;
use crate::violations::Call;
use crate::{AdapterId, Status, ViolationKind};

/// `StorPortFreePool`, the fast path: a block of a slab, freed by its owner, into this CPU's
/// loaded magazine.
#[inline(never)]
pub(crate) fn free<P: Platform>(meta: Meta, platform: &P, owner: AdapterId, address: u64) -> Status {
    let place = meta.place_of(address);
    let Some(found) = find(&meta, owner, place) else {
        return refuse_slow(meta, platform, owner, place);
    };
    match platform.free(&meta, found) {
        Freed::Done => Status::SUCCESS,
        Freed::Claimed => put_slow(meta, platform, found.class, found.block),
        Freed::Missed => free_slow(meta, platform, owner, place),
    }
}

/// The live slab block of this owner that begins at a place. Five loads.
#[inline(always)]
fn find(meta: &Meta, owner: AdapterId, place: u64) -> Option<Found> {
    let block = meta.block_at(place)?;
    let index = meta.read_entry(block.span() as usize).header_index(block);
    // ORDERING: Relaxed - the claim decides.
    let header = Header(meta.header_at(index).load(Ordering::Relaxed));
    if !header.may_be_allocated(block)
        // ORDERING: Relaxed - an account with live blocks keeps its word, but for closing (I9).
        || meta.account_word(header.account_opaque()).load(Ordering::Relaxed) as u32 != owner.0
    {
        return None;
    }
    // The header was seen allocated, which pins the slab (I5), so the entry read now is the one that
    // counts. If the block is freed and allocated anew before the claim, an equal header means an
    // equal size, hence an equal class.
    let class = meta.read_entry(opaque(block.span() as usize)).class_opaque();
    Some(Found { class, block, index, header })
}

/// Reached when the loaded magazine has no room, the section was aborted, or the IRQL is bad.
#[cold]
#[inline(never)]
fn free_slow<P: Platform>(meta: Meta, platform: &P, owner: AdapterId, place: u64) -> Status {
    if !platform.above_dispatch()
        && let Some(found) = find(&meta, owner, place)
        && claim(meta.header_at(found.index), found.header)
    {
        return put_slow(meta, platform, found.class, found.block);
    }
    refuse_slow(meta, platform, owner, place)
}

/// Reached with a bad argument, at a bad IRQL, with a large run, or when another call was faster.
/// The contract's checks, in its order (section 5 of the contract's decisions).
#[cold]
#[inline(never)]
fn refuse_slow<P: Platform>(meta: Meta, platform: &P, owner: AdapterId, place: u64) -> Status {
    let address = meta.address_at(place);
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
                // The claimed block pins its slab (I5).
                let class = meta.read_entry(block.span() as usize).class();
                return put_slow(meta, platform, class, block);
            }
            // Another free of this block won between our look and our claim.
            meta.refuse_free(call, ViolationKind::DoubleFree, address, Some(header));
        }
        Err((kind, header)) => meta.refuse_free(call, kind, address, header),
    }
    Status::INVALID_PARAMETER
}

/// What an address is: a live block of this owner, or what is wrong with it. Loads only.
fn inspect(
    meta: &Meta,
    owner: AdapterId,
    address: u64,
) -> Result<(BlockId, Header, Class), (ViolationKind, Option<Header>)> {
    let offset = address.wrapping_sub(meta.control().range_base);
    if offset / 16 >= meta.control().limit {
        return Err((ViolationKind::Foreign, None));
    }
    let Some(found) = meta.locate(BlockId((offset / 16) as u32)) else {
        return Err((ViolationKind::Wild, None));
    };
    let at_start = found.at_start && offset.is_multiple_of(16);
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
