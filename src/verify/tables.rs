//! What the verifier's tables are made of.

use crate::contract::verify::stack::FRAMES;
use crate::sync::{AtomicU32, AtomicU64};

/// A note. Key: the block + 1 above, a ticket below; 0: none.
#[repr(C)]
pub(crate) struct NoteSlot {
    pub(super) key: AtomicU64,
    /// The state with which the block was given out above, the bytes asked for below.
    pub(super) what: AtomicU64,
    /// What is checked above, bytes that the block has below.
    pub(super) how: AtomicU64,
    /// Call stacks: of the allocation above, of the free below.
    pub(super) stacks: AtomicU64,
}

/// A place of the table. Head: 0 none, else the hash with `BUSY` or `READY`.
#[repr(C)]
pub(crate) struct StackSlot {
    pub(super) head: AtomicU64,
    /// By rule: whether it has refused an allocation from here.
    pub(super) refused: AtomicU64,
    /// Unused ones are 0.
    pub(super) frames: [AtomicU64; FRAMES],
}

/// Rules that a verifier can have at once.
pub(crate) const RULES: usize = 32;

/// A rule's place. Version: a count above, `CHANGING` or `ACTIVE` or neither below.
#[repr(C)]
pub(crate) struct RuleSlot {
    pub(super) version: AtomicU64,
    /// Adapter (0: all) and checks; tags, twice; probability and every; only; after; seed; once.
    pub(super) words: [AtomicU64; 8],
    /// Allocations that it was for, since it was added.
    pub(super) seen: AtomicU64,
    /// Those of them that it refused.
    pub(super) refused: AtomicU64,
}

impl RuleSlot {
    pub(crate) fn new() -> RuleSlot {
        RuleSlot {
            version: AtomicU64::new(0),
            words: core::array::from_fn(|_| AtomicU64::new(0)),
            seen: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }
}

/// A refusal. Zeroed: none yet. Written by whoever gets the first one.
#[repr(C)]
pub(crate) struct RefusalSlot {
    pub(super) state: AtomicU32,
    /// The rule's place, plus one; 0: no rule is asked for.
    pub(super) rule: AtomicU32,
    pub(super) tag: AtomicU32,
    pub(super) bytes: AtomicU32,
    pub(super) stack: AtomicU32,
    pub(super) frames: [AtomicU64; FRAMES],
}
