//! Page-map entries: what a span is, and where the headers of its blocks are.

use super::classes::{CLASS_SLOTS, Class};
use super::header::BlockId;

/// One entry. The encoding stands in docs/CONCURRENCY.md, section 3.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry(pub(crate) u64);

/// Index of the control block's word that reads 0, counted in headers from the base.
pub(crate) const NO_HEADER: u64 = 1;
/// The class of an entry that has none.
const NO_CLASS: usize = CLASS_SLOTS - 1;
pub(crate) const CLASS_SHIFT: u32 = 8;
const GENERATION_SHIFT: u32 = 16;
pub(crate) const TABLE_SHIFT: u32 = 24;

impl Entry {
    pub(crate) const fn new(class: Class, headers: HeaderTable, generation: u8) -> Entry {
        Entry(
            headers.first() << TABLE_SHIFT
                | (generation as u64) << GENERATION_SHIFT
                | (class.0 as u64) << CLASS_SHIFT
                | headers.shift(),
        )
    }

    /// Nothing here: a shift by 32 takes all ids to one header, the control block's word that reads 0,
    /// whose account nobody owns. So the fast path needs no compare for it.
    pub(crate) const NONE: Entry = Entry(NO_HEADER << TABLE_SHIFT | (NO_CLASS as u64) << CLASS_SHIFT | 32);

    pub(crate) const fn is_none(self) -> bool {
        self.0 == Entry::NONE.0
    }

    pub(crate) const fn class(self) -> Class {
        Class((self.0 >> CLASS_SHIFT) as u8)
    }

    /// Index of the block's header, counted in headers from the base.
    #[inline(always)]
    pub(crate) const fn header_index(self, block: BlockId) -> u64 {
        (self.0 >> TABLE_SHIFT) + (block.0 as u64 >> (self.0 as u32 & 63))
    }
}

/// Where the headers of a class lie: the index of the first one above, k - 4 in the low byte.
#[derive(Clone, Copy)]
pub(crate) struct HeaderTable(u64);

impl HeaderTable {
    pub(crate) const NONE: HeaderTable = HeaderTable(0);
    pub(crate) const FIRST_SHIFT: u32 = 8;

    /// `first`: where the headers of the class begin, counted in headers from the base.
    pub(crate) const fn new(first: u64, class: Class) -> HeaderTable {
        HeaderTable(first << HeaderTable::FIRST_SHIFT | class.grain_shift() as u64)
    }

    const fn first(self) -> u64 {
        self.0 >> HeaderTable::FIRST_SHIFT
    }

    const fn shift(self) -> u64 {
        self.0 & 63
    }

    /// Index of the block's header, counted in headers from the base. Any id gives some number; not
    /// all name a header.
    #[inline(always)]
    pub(crate) const fn index(self, block: BlockId) -> u64 {
        self.first() + (block.0 as u64 >> self.shift())
    }
}

#[cfg(test)]
mod tests {
    use super::super::classes::{LARGE, SLAB_CLASSES};
    use super::*;

    /// Free's slow way would make up for an entry that leads nowhere, so no test of behaviour tells.
    #[test]
    fn an_entry_leads_to_its_classes_headers() {
        for class in (0..SLAB_CLASSES as u8).map(Class).chain([LARGE]) {
            for generation in [0, 1, 0x5A, 0xFF] {
                let first = 0x12_3456_789A;
                let table = HeaderTable::new(first, class);
                let entry = Entry::new(class, table, generation);
                assert_eq!(entry.class(), class);
                assert_eq!(entry.0 >> 24, first);
                assert_eq!(entry.0 >> 16 & 0xFF, u64::from(generation));
                assert_eq!(entry.0 & 0xFF, u64::from(class.grain_shift()));
                for block in [0, 1, 4095, 4096, 0xFFFF_F000] {
                    let index = first + (u64::from(block) >> class.grain_shift());
                    assert_eq!(entry.header_index(BlockId(block)), index);
                    assert_eq!(table.index(BlockId(block)), index);
                }
                assert!(!entry.is_none());
            }
        }
        assert!(Entry::NONE.is_none());
        // No class of its own, and one header for all.
        assert!(Entry::NONE.class().index() > LARGE.index());
        for block in [0, 4096, u32::MAX] {
            assert_eq!(Entry::NONE.header_index(BlockId(block)), NO_HEADER);
        }
    }
}
