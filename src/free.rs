//! Free: the fast path, and each step that it may take instead, all of them bounded.

use crate::Status;
use crate::ViolationKind;
use crate::allocate::{DISPATCH, not_implemented};
use crate::layout::classes::{Class, LARGE};
use crate::layout::cursor::Cursor;
use crate::layout::header::{ALLOC, BlockId, FREE, Header, LARGE_ALLOC, LARGE_FREE};
use crate::layout::meta::Meta;
use crate::owners::adapters::AdapterId;
use crate::percpu::{Found, Freed, Platform, claim};
use crate::sync::Ordering;
use crate::violations::Call;

/// `StorPortFreePool`, the fast path: a block of a slab, freed by its owner, into this CPU's
/// loaded magazine.
#[inline]
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
    let class = meta.read_entry(block.span_opaque()).class();
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

/// Gives a claimed block away when the loaded magazine could not take it. Bounded: see
/// docs/CONCURRENCY.md, section 4.
#[cold]
#[inline(never)]
pub(crate) fn put_slow<P: Platform>(meta: Meta, platform: &P, class: Class, block: BlockId) -> Status {
    if class == LARGE {
        meta.publish_block(LARGE, block);
    } else if !platform.push(&meta, class, block) && !overflow(&meta, platform, class, block) {
        meta.publish_block(class, block);
    }
    // Opaque: were the result known, free's call could not be a tail call.
    core::hint::black_box(Status::SUCCESS)
}

/// Loads another magazine, with the block in it. `false`: there is no usable cursor, or no magazine.
fn overflow<P: Platform>(meta: &Meta, platform: &P, class: Class, block: BlockId) -> bool {
    let Some(cpu) = platform.cpu(meta) else {
        return false;
    };
    // ORDERING: Relaxed - the exchange decides.
    let loaded = Cursor(meta.cursor(cpu, class).load(Ordering::Relaxed));
    let full = loaded.is_magazine() && loaded.entries() == meta.capacity(class);
    if !full && !loaded.is_none() {
        // Claimed, stopped, or changed by whoever interrupted us.
        return false;
    }
    let Some(fresh) = take_spare_with_room(meta, cpu, class).or_else(|| meta.take_empty()) else {
        return false;
    };
    let fresh = meta.put_id(fresh, block);
    if !platform.exchange(meta, cpu, class, loaded, fresh) {
        meta.publish_magazine(class, fresh);
    } else if full {
        shelve(meta, cpu, class, loaded);
    }
    true
}

/// Takes the CPU's spare if it has room; publishes it if it turned out to have none. Two RMWs at most.
fn take_spare_with_room(meta: &Meta, cpu: u32, class: Class) -> Option<Cursor> {
    let spare = meta.spare(cpu, class);
    let capacity = meta.capacity(class);
    // ORDERING: Relaxed - a first look.
    let seen = Cursor(spare.load(Ordering::Relaxed));
    if seen.0 == 0 || seen.entries() == capacity {
        return None;
    }
    // ORDERING: Acquire - the entries; pairs with the Release that put it there.
    let taken = Cursor(spare.swap(0, Ordering::Acquire));
    if taken.0 == 0 {
        return None;
    }
    if taken.entries() == capacity {
        meta.publish_magazine(class, taken);
        return None;
    }
    Some(taken)
}

/// Puts a full magazine in hand into the CPU's spare, or publishes it. Two RMWs at most.
fn shelve(meta: &Meta, cpu: u32, class: Class, full: Cursor) {
    let spare = meta.spare(cpu, class);
    // ORDERING: Relaxed - a first look.
    if spare.load(Ordering::Relaxed) == 0
        // ORDERING: Release - the entries; pairs with the Acquire of whoever takes the spare.
        && spare.compare_exchange(0, full.0, Ordering::Release, Ordering::Relaxed).is_ok()
    {
        return;
    }
    meta.publish_magazine(class, full);
}

/// Reached with a bad argument, at a bad IRQL, with a large run, or when another call was faster.
/// The contract's checks, in its order (section 5 of the contract's decisions).
#[cold]
#[inline(never)]
fn refuse_slow<P: Platform>(meta: Meta, platform: &P, owner: AdapterId, place: u64) -> Status {
    let address = meta.address_at(place);
    if not_implemented(&meta) {
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
