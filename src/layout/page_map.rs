//! Page-map entries: what a page is part of, and where the states of its blocks are.

use super::block::BlockId;
use super::classes::{Class, SLAB_CLASSES};

/// How many words at the base read 0 for ever: one for each value of an id's top bits, and one for a carry.
pub(crate) const NO_STATES: usize = (1 << (u32::BITS - FIRST_SHIFT)) + 1;
pub(crate) const CLASS_SHIFT: u32 = 8;
pub(crate) const FIRST_SHIFT: u32 = 28;

/// One entry: a class, and where its states are. The encoding stands in docs/CONCURRENCY.md, section 3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry(pub(crate) u64);

impl Entry {
    /// Nothing here: without a shift, all ids come to words at the base that read 0, which no live block's state
    /// equals. So the fast path needs no compare for it.
    pub(crate) const NONE: Entry = Entry(0);

    /// A slab that begins at this block: its blocks' states begin at word `area`, counted from the base. All pages of
    /// a slab have the same entry.
    pub(crate) const fn slab(class: Class, first: BlockId, area: u64) -> Entry {
        debug_assert!(class.index() < SLAB_CLASSES);
        // Counted for block 0 of the range. It may be negative; the sum with an id of the slab is not.
        let before = (first.0 >> class.grain_shift()) as u64;
        let first = area.wrapping_sub(before) << FIRST_SHIFT;
        Entry(first | (class.0 as u64) << CLASS_SHIFT | (FIRST_SHIFT - class.grain_shift()) as u64)
    }

    /// A part of a large run. The fast paths find the words of `NONE` there.
    pub(crate) const fn large(class: Class) -> Entry {
        Entry((class.0 as u64) << CLASS_SHIFT)
    }

    pub(crate) const fn is_none(self) -> bool {
        self.0 == Entry::NONE.0
    }

    pub(crate) const fn class(self) -> Class {
        Class((self.0 >> CLASS_SHIFT) as u8)
    }

    /// Which word from the base is the block's state. An id of another slab gives some number.
    #[inline(always)]
    pub(crate) const fn state_index(self, block: BlockId) -> u64 {
        // The shift is at least 20, so an id's fraction of a word does not meet what lies below.
        ((block.0 as u64) << (self.0 & 63)).wrapping_add(self.0) >> FIRST_SHIFT
    }
}

const _: () = {
    let mut class = 0;
    while class < SLAB_CLASSES {
        assert!(FIRST_SHIFT - Class(class as u8).grain_shift() >= CLASS_SHIFT + 8);
        class += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::super::classes::{LARGE, LARGE_BODY, SpanSize};
    use super::*;

    /// Free's slow way would make up for an entry that leads nowhere, so no test of behaviour tells.
    #[test]
    fn an_entry_leads_to_its_slabs_states() {
        for class in (0..SLAB_CLASSES as u8).map(Class) {
            // The last ones that a pool of 64 GiB may need.
            for (span, area) in [(0, 17), (5, 17), (1, 0x1234_5678), (0xF_FFFE, 0x2_3456_789A)] {
                let first = BlockId::first_of(span, SpanSize::MOST);
                let entry = Entry::slab(class, first, area);
                assert_eq!(entry.class(), class);
                assert_eq!(entry.0 & 0xFF, 28 - u64::from(class.grain_shift()));
                for in_slab in [0, 1, 2047, 4095] {
                    let block = BlockId(first.0 + in_slab);
                    assert_eq!(entry.state_index(block), area + u64::from(in_slab >> class.grain_shift()));
                }
                assert!(!entry.is_none());
            }
        }
        assert!(Entry::NONE.is_none());
        for entry in [Entry::NONE, Entry::large(LARGE), Entry::large(LARGE_BODY)] {
            for block in [0, 4096, 0x0FFF_FFFF, 0x1000_0000, u32::MAX] {
                assert!(entry.state_index(BlockId(block)) < NO_STATES as u64, "{block:#x}");
            }
        }
        assert_eq!(Entry::large(LARGE).class(), LARGE);
        assert!(!Entry::large(LARGE_BODY).is_none());
    }
}
