//! What free refuses: the contract's checks, in its order, and what an address is that no block of the caller
//! begins at.

use super::report::Call;
use super::ways::ways;
use crate::contract::adapter::AdapterId;
use crate::contract::status::Status;
use crate::contract::tag::PoolTag;
use crate::contract::violation::ViolationKind;
use crate::layout::meta::{Located, Meta};
use crate::owners::accounts::OTHER_TAG;
use crate::percpu::claim::claim;
use crate::percpu::platform::{DISPATCH, Platform};
use crate::stock::put::put_claimed_slow;
use crate::trace::emit::emit;

/// Reached with a bad address or argument, at a bad IRQL, with a large run, or when another call was faster.
/// The contract's checks, in its order (section 5 of the contract's decisions).
#[cold]
#[inline(never)]
pub(crate) fn refuse_slow<P: Platform>(meta: Meta, platform: &P, owner: AdapterId, address: u64) -> Status {
    let status = refuse(meta, platform, owner, address);
    emit!(platform.irql(), DEBUG, "free, the slow way", %status, address, adapter = owner.raw());
    status
}

#[inline(always)]
fn refuse<P: Platform>(meta: Meta, platform: &P, owner: AdapterId, address: u64) -> Status {
    if meta.not_implemented() {
        return Status::NOT_IMPLEMENTED;
    }
    if address == 0 || !meta.may_free(owner) {
        return Status::INVALID_PARAMETER;
    }
    let irql = platform.irql();
    let call = Call { caller: owner, irql };
    if irql > DISPATCH {
        if let Some(verifier) = meta.verifier() {
            (ways(verifier).tell_free)(&meta, call, address);
        }
        return Status::INVALID_IRQL;
    }
    let (kind, found) = match inspect(&meta, owner, address) {
        Ok(found) if claim(meta.state_word(found.class, found.start), found.state) => {
            if found.state.owner().is_left()
                && let Some(verifier) = meta.verifier()
            {
                return (ways(verifier).put)(meta, platform.opaque(), found, call);
            }
            return put_claimed_slow(meta, platform, found.start);
        }
        // Another free of this block won between our look and our claim.
        Ok(found) => (ViolationKind::DoubleFree, Some(found)),
        Err(wrong) => wrong,
    };
    // The adapter's removal may have come first: that is nobody's misuse.
    if meta.may_free(owner) {
        meta.refuse_free(call, kind, address, found);
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
    let Ok(found) = inspect(&meta, owner, address) else {
        return false;
    };
    let key = meta.key_of(found.state, meta.record(found.class, found.start));
    // A block that found no account has lost its tag.
    if key.is_none_or(|key| key.tag() == tag || key.tag() == OTHER_TAG) {
        return false;
    }
    meta.refuse_tag(Call { caller: owner, irql }, address, found, tag);
    true
}

/// What an address is: a live block that this owner may free, or what is wrong with it. Loads only.
pub(super) fn inspect(
    meta: &Meta,
    owner: AdapterId,
    address: u64,
) -> Result<Located, (ViolationKind, Option<Located>)> {
    let Some(grain) = meta.range().grain_of(address) else {
        return Err((ViolationKind::Foreign, None));
    };
    let Some(found) = meta.locate(grain) else {
        return Err((ViolationKind::Wild, None));
    };
    let at_start = found.at_start && address == meta.range().address(grain);
    if found.state.is_live(found.start) {
        if !at_start {
            Err((ViolationKind::Interior, Some(found)))
        } else if meta.owner_of(found.state) != owner {
            Err((ViolationKind::WrongOwner, Some(found)))
        } else {
            Ok(found)
        }
    } else if at_start && found.state.is_freed(found.start) {
        Err((ViolationKind::DoubleFree, Some(found)))
    } else {
        Err((ViolationKind::Wild, None))
    }
}
