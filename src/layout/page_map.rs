//! Page-map entries: what a span is, and where the headers of its blocks are.

use super::classes::{CLASS_SLOTS, Class, LARGE};
use super::header::BlockId;
use super::opaque;

/// One entry. The encoding stands in docs/CONCURRENCY.md, section 3.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry(pub(crate) u64);

/// Index of the control block's word that reads 0, counted in headers from the base.
pub(crate) const NO_HEADER: u64 = 1;
/// The class of an entry that has none.
const NO_CLASS: usize = CLASS_SLOTS - 1;
const CLASS_SHIFT: u32 = 8;
const GENERATION_SHIFT: u32 = 16;
const TABLE_SHIFT: u32 = 24;

impl Entry {
    /// `table`: index of the slab's first header, counted in headers from the base.
    pub(crate) const fn new(class: Class, table: u64, generation: u8) -> Entry {
        let k4 = class.grain_shift();
        Entry(
            table << TABLE_SHIFT
                | (generation as u64) << GENERATION_SHIFT
                | (class.0 as u64) << CLASS_SHIFT
                | k4 as u64,
        )
    }

    /// Nothing here: its headers all are the control block's word that reads 0, whose account
    /// nobody owns. So the fast path needs no compare for it.
    pub(crate) const NONE: Entry = {
        let k4 = LARGE.grain_shift();
        Entry(NO_HEADER << TABLE_SHIFT | (NO_CLASS as u64) << CLASS_SHIFT | k4 as u64)
    };

    pub(crate) const fn is_none(self) -> bool {
        self.0 == Entry::NONE.0
    }

    pub(crate) const fn class(self) -> Class {
        Class((self.0 >> CLASS_SHIFT) as u8)
    }

    /// The same, as one register for the fast path's indexing and the slow paths' argument.
    #[inline(always)]
    pub(crate) fn class_opaque(self) -> Class {
        let class = opaque(self.class().index());
        // SAFETY: all entries hold class numbers below the slots (I4).
        unsafe { core::hint::assert_unchecked(class < CLASS_SLOTS) };
        Class(class as u8)
    }

    /// Index of `block`'s header, counted in headers from the base.
    #[inline(always)]
    pub(crate) const fn header_index(self, block: BlockId) -> u64 {
        (self.0 >> TABLE_SHIFT) + (block.in_slab() >> (self.0 as u32 & 31)) as u64
    }
}
