//! What a block is, and how many of its bytes are asked for: the block stays where it is.

use super::refuse::inspect;
use super::report::Call;
use crate::contract::adapter::AdapterId;
use crate::contract::block::BlockInfo;
use crate::contract::status::Status;
use crate::contract::tag::PoolTag;
use crate::contract::violation::ViolationKind;
use crate::layout::classes::LARGE;
use crate::layout::meta::{Located, Meta};
use crate::owners::accounts::OTHER_TAG;
use crate::percpu::platform::{DISPATCH, Platform};

/// Lets the block have `bytes` bytes from now on, if it has room for them. The checks are free's.
pub(crate) fn resize<P: Platform>(
    meta: Meta,
    platform: &P,
    owner: AdapterId,
    address: u64,
    bytes: u32,
) -> Status {
    if meta.not_implemented() {
        return Status::NOT_IMPLEMENTED;
    }
    if address == 0 || !meta.may_free(owner) {
        return Status::INVALID_PARAMETER;
    }
    let irql = platform.irql();
    let call = Call { caller: owner, irql };
    if bytes == 0 {
        meta.refuse_allocate(call, ViolationKind::ZeroSize, bytes, PoolTag::from_raw(0));
        return Status::INVALID_PARAMETER;
    }
    if irql > DISPATCH {
        return Status::INVALID_IRQL;
    }
    match inspect(&meta, owner, address) {
        Ok(found) => resize_found(meta, found, bytes),
        Err((kind, found)) => {
            // The adapter's removal may have come first: that is nobody's misuse.
            if meta.may_free(owner) {
                meta.refuse_free(call, kind, address, found);
            }
            Status::INVALID_PARAMETER
        }
    }
}

/// Lets a block that was found live have so many bytes. `INVALID_PARAMETER`: it is no longer the one that was found, since
/// its adapter was removed.
pub(super) fn resize_found(meta: Meta, found: Located, bytes: u32) -> Status {
    // A large run has as many spans as its bytes take: its walkers count on that.
    let spans = |bytes| u64::from(bytes).div_ceil(meta.span_size().bytes().into());
    let fits = match found.class {
        // Around a verified block lie bytes that are checked.
        _ if meta.checked_room(found).is_some() => u64::from(bytes) <= meta.room_of(found),
        LARGE => spans(bytes) * u64::from(meta.span_size().bytes()) == meta.room_of(found),
        _ => u64::from(bytes) <= meta.room_of(found),
    };
    if !fits {
        return Status::INSUFFICIENT_RESOURCES;
    }
    if meta.set_bytes(found, bytes) { Status::SUCCESS } else { Status::INVALID_PARAMETER }
}

impl Meta {
    /// How many bytes a verified block may have: what lies behind them is checked.
    fn checked_room(&self, found: Located) -> Option<u64> {
        if !found.state.owner().is_left() {
            return None;
        }
        let note = self.verifier().and_then(|verifier| verifier.note_of(found.start, found.state));
        let bytes = note.map(|note| note.bytes);
        // Behind a guarded block lies a page that is not accessible.
        let guarded = || self.is_guarded(found).then(|| self.record(found.class, found.start).bytes);
        bytes.or_else(guarded).map(u64::from)
    }

    /// How many bytes a block has. The caller has it, or takes what it gets.
    pub(super) fn room_of(&self, found: Located) -> u64 {
        if let Some(room) = self.checked_room(found) {
            return room;
        }
        match found.class {
            LARGE => u64::from(self.run_spans(found.start)) * u64::from(self.span_size().bytes()),
            class => class.bytes().into(),
        }
    }

    /// The block that an address lies in, live or free; `None` where none is or was.
    pub(crate) fn block_at(&self, address: u64) -> Option<BlockInfo> {
        self.block_info(self.locate(self.range().grain_of(address)?)?)
    }

    /// What is known of a block; `None` when nobody has it, or ever had. Whose a block is is said here alone.
    pub(crate) fn block_info(&self, found: Located) -> Option<BlockInfo> {
        let live = found.state.is_live(found.start);
        if !live && !found.state.is_freed(found.start) {
            return None;
        }
        let record = self.record(found.class, found.start);
        let key = self.key_of(found.state, record);
        Some(BlockInfo {
            address: self.address_of(found.class, found.start),
            bytes: record.bytes,
            capacity: self.room_of(found),
            live,
            owner: self.owner_of(found.state),
            tag: key.map(|key| key.tag()).filter(|&tag| tag != OTHER_TAG),
        })
    }
}
