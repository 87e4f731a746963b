//! What an allocation is, once the contract has been checked, and what it answers.

use crate::contract::status::Status;
use crate::layout::block::{Account, BlockId};
use crate::layout::classes::{Class, GRAIN, LARGE};
use crate::layout::meta::Meta;
use crate::layout::state::State;
use crate::owners::accounts::Key;

/// What an allocation answers: the address is 0 unless the status is SUCCESS.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: Status,
    pub(crate) address: u64,
}

impl Answer {
    pub(super) const fn refused(status: Status) -> Answer {
        Answer { status, address: 0 }
    }
}

/// The class that serves so many bytes, not 0: a slab's, or large runs'.
pub(super) fn class_for(meta: &Meta, bytes: u32) -> Class {
    let geometry = &meta.control().geometry;
    if bytes > geometry.span.max_slab_bytes() {
        return LARGE;
    }
    Class::for_slab_bytes(bytes).at_least(geometry.least_class)
}

/// The class of the smallest blocks of so many bytes that are all at multiples of `alignment`.
pub(super) fn place_for(meta: &Meta, bytes: u32, alignment: u32) -> Class {
    let most = meta.span_size().max_slab_bytes();
    (class_for(meta, bytes).0..LARGE.0)
        .map(Class)
        .find(|class| class.bytes() & (alignment - 1) == 0 && class.bytes() <= most)
        .unwrap_or(LARGE)
}

/// What an allocation is, once the contract has been checked.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub(crate) key: Key,
    pub(crate) account: Account,
    /// The class that the bytes ask for; the block may be of a larger one.
    pub(crate) class: Class,
    /// The class of the block to look for, which is larger if a verifier wants room behind it.
    pub(crate) place: Class,
    /// Bytes that are asked for.
    pub(crate) bytes: u32,
    /// Bytes that the block is to have.
    pub(crate) room: u32,
    /// What the address must be a multiple of: the class's blocks are, and so must be those of a larger one that serves it.
    pub(crate) alignment: u32,
    /// Whether its account's cell has counted it.
    pub(crate) counted: bool,
    /// Whether the block is a verified one.
    pub(crate) set_aside: bool,
}

impl Request {
    /// What is left to do for a block that its account has counted.
    pub(super) fn counted(meta: &Meta, key: Key, bytes: u32) -> Request {
        let class = class_for(meta, bytes);
        Request { counted: true, ..Request::new(key, meta.first_place(key), class, bytes) }
    }

    pub(super) const fn new(key: Key, account: Account, class: Class, bytes: u32) -> Request {
        let place = class;
        Request {
            key,
            account,
            class,
            place,
            bytes,
            room: bytes,
            alignment: GRAIN,
            counted: false,
            set_aside: false,
        }
    }

    /// The state of the block that the caller gets.
    pub(super) const fn live(self, block: BlockId) -> State {
        let owner = self.key.owner();
        State::live(if self.set_aside { owner.left() } else { owner }, block)
    }
}

/// What a call gets whose account was closed under it, by the adapter's removal.
pub(super) const CLOSED: Status = Status::INVALID_PARAMETER;
