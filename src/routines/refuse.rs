//! What free refuses: the contract's checks, in its order, and what an address is that no block of the caller
//! begins at.

use super::report::Call;
use crate::contract::adapter::AdapterId;
use crate::contract::status::Status;
use crate::contract::tag::PoolTag;
use crate::contract::violation::ViolationKind;
use crate::layout::classes::{Class, LARGE};
use crate::layout::header::{ALLOC, BlockId, FREE, Header, LARGE_ALLOC, LARGE_FREE};
use crate::layout::meta::Meta;
use crate::owners::accounts::OTHER_TAG;
use crate::percpu::claim::claim;
use crate::percpu::platform::{DISPATCH, Platform};
use crate::stock::put::put_claimed_slow;

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
