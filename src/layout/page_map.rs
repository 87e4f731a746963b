//! Page-map entries: what a span is, and where the headers of its blocks are.

use super::classes::{CLASS_SLOTS, Class, SLAB_CLASSES};
use super::header::BlockId;

/// Index of the first of the control block's words that read 0, counted in headers from the base.
pub(crate) const NO_HEADER: u64 = 1;
/// How many of these there are: one for each value of an id's top bits, and one for the carry of the class
/// below.
pub(crate) const NO_HEADERS: usize = (1 << (u32::BITS - FIRST_SHIFT)) + 1;
/// The class of an entry that has none.
const NO_CLASS: usize = CLASS_SLOTS - 1;
pub(crate) const CLASS_SHIFT: u32 = 8;
pub(crate) const FIRST_SHIFT: u32 = 28;

/// Where the headers of a class lie: the index of the first one, in fixed point, and in the low byte how
/// far an id is shifted to the left to count in the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeaderTable(u64);

impl HeaderTable {
    pub(crate) const NONE: HeaderTable = HeaderTable(0);

    /// `first`: where the headers of the class begin, counted in headers from the base.
    pub(crate) const fn new(first: u64, class: Class) -> HeaderTable {
        HeaderTable(first << FIRST_SHIFT | (FIRST_SHIFT - class.grain_shift()) as u64)
    }

    /// Index of the block's header, counted in headers from the base. Any id gives some number; not
    /// all name a header.
    #[inline(always)]
    pub(crate) const fn index(self, block: BlockId) -> u64 {
        // The shift is at least 16, so an id's fraction of a header does not meet what lies below.
        (((block.0 as u64) << (self.0 & 63)) + self.0) >> FIRST_SHIFT
    }
}

/// One entry: a class, and where its headers are. The encoding stands in docs/CONCURRENCY.md, section 3.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry(pub(crate) u64);

impl Entry {
    pub(crate) const fn new(class: Class, headers: HeaderTable) -> Entry {
        Entry(headers.0 | (class.0 as u64) << CLASS_SHIFT)
    }

    /// Nothing here: without a shift, all ids come to the control block's words that read 0, whose
    /// account nobody owns. So the fast path needs no compare for it.
    pub(crate) const NONE: Entry = Entry(NO_HEADER << FIRST_SHIFT | (NO_CLASS as u64) << CLASS_SHIFT);

    pub(crate) const fn is_none(self) -> bool {
        self.0 == Entry::NONE.0
    }

    pub(crate) const fn class(self) -> Class {
        Class((self.0 >> CLASS_SHIFT) as u8)
    }

    /// Index of the block's header, counted in headers from the base.
    #[inline(always)]
    pub(crate) const fn header_index(self, block: BlockId) -> u64 {
        HeaderTable(self.0).index(block)
    }
}

const _: () = {
    assert!(FIRST_SHIFT - Class(SLAB_CLASSES as u8).grain_shift() >= CLASS_SHIFT + 8);
};

#[cfg(test)]
mod tests {
    use super::super::classes::LARGE;
    use super::*;

    /// Free's slow way would make up for an entry that leads nowhere, so no test of behaviour tells.
    #[test]
    fn an_entry_leads_to_its_classes_headers() {
        for class in (0..SLAB_CLASSES as u8).map(Class).chain([LARGE]) {
            // The last one that a pool of 64 GiB may need.
            for first in [17, 0x1234_5678, 0x2_3456_789A] {
                let table = HeaderTable::new(first, class);
                let entry = Entry::new(class, table);
                assert_eq!(entry.class(), class);
                assert_eq!(entry.0 >> 28, first);
                assert_eq!(entry.0 & 0xFF, 28 - u64::from(class.grain_shift()));
                for block in [0, 1, 4095, 4096, 0xFFFF_F000, 0xFFFF_FFFF] {
                    let index = first + (u64::from(block) >> class.grain_shift());
                    assert_eq!(entry.header_index(BlockId(block)), index);
                    assert_eq!(table.index(BlockId(block)), index);
                }
                assert!(!entry.is_none());
            }
        }
        assert!(Entry::NONE.is_none());
        // No class of its own, and headers that read 0.
        assert!(Entry::NONE.class().index() > LARGE.index());
        for block in [0, 4096, 0x0FFF_FFFF, 0x1000_0000, u32::MAX] {
            let index = Entry::NONE.header_index(BlockId(block));
            assert!((NO_HEADER..NO_HEADER + NO_HEADERS as u64).contains(&index), "{block:#x}: {index}");
        }
    }
}
