//! Block headers: eight bytes out of line, written with one 64-bit store.

use super::classes::SPAN_GRAINS;

/// Index of an account: -accounts to -1, since account words lie below the base.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Account(pub(crate) isize);

/// Which block: its offset in the range, in grains.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockId(pub(crate) u32);

impl BlockId {
    pub(crate) const fn span(self) -> u32 {
        self.0 / SPAN_GRAINS
    }

    /// Offset in its slab, in grains.
    pub(crate) const fn in_slab(self) -> u32 {
        self.0 % SPAN_GRAINS
    }
}

/// A header's value. The encoding stands in docs/CONCURRENCY.md, section 3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header(pub(crate) u64);

/// The state of a block that the caller has.
pub(crate) const ALLOC: u16 = 0;
/// The state of a block that was freed.
pub(crate) const FREE: u16 = ALLOC ^ CLAIM;
/// The state of a large run that the caller has; its free leaves the fast path.
pub(crate) const LARGE_ALLOC: u16 = 0x4000;
/// The state of a large run that was freed.
pub(crate) const LARGE_FREE: u16 = LARGE_ALLOC ^ CLAIM;
/// What a claim flips.
pub(crate) const CLAIM: u16 = 0x8000;
const LINK_SHIFT: u32 = 16;
pub(crate) const ACCOUNT_SHIFT: u32 = 48;
const LINK_MASK: u64 = 0xFFFF_FFFF << LINK_SHIFT;

impl Header {
    pub(crate) const fn new(state: u16, account: Account, bytes: u32, block: BlockId) -> Header {
        Header(
            (account.0 as u64) << ACCOUNT_SHIFT
                | (bytes as u64) << LINK_SHIFT
                | (block.0 as u16 ^ state) as u64,
        )
    }

    /// Whether this may be the header of `block`, allocated. A zeroed header may be taken for one;
    /// its account is 0, which nobody owns.
    #[inline(always)]
    pub(crate) const fn may_be_allocated(self, block: BlockId) -> bool {
        self.0 as u16 == block.0 as u16 ^ ALLOC
    }

    /// Whether this is the header of `block` in `state`.
    pub(crate) const fn is(self, state: u16, block: BlockId) -> bool {
        self.0 as u16 == block.0 as u16 ^ state && self.account().0 != 0
    }

    pub(crate) const fn account(self) -> Account {
        Account((self.0 as i64 >> ACCOUNT_SHIFT) as isize)
    }

    /// Requested bytes, while allocated; the link, while queued; else the last of either.
    pub(crate) const fn bytes(self) -> u32 {
        (self.0 >> LINK_SHIFT) as u32
    }

    /// The header of an allocated block, freed.
    pub(crate) const fn freed(self) -> Header {
        Header(self.0 ^ CLAIM as u64)
    }

    pub(crate) const fn with_link(self, link: u32) -> Header {
        Header(self.0 & !LINK_MASK | (link as u64) << LINK_SHIFT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back() {
        let block = BlockId(0x0012_3FF7);
        let header = Header::new(ALLOC, Account(-1024), u32::MAX, block);
        assert!(header.is(ALLOC, block));
        assert!(!header.is(FREE, block) && !header.is(LARGE_ALLOC, block));
        assert!(!header.is(ALLOC, BlockId(0x0012_3FF6)) && !header.may_be_allocated(BlockId(0x0012_3FF6)));
        assert!(header.may_be_allocated(block) && !header.freed().may_be_allocated(block));
        assert_eq!(header.account(), Account(-1024));
        assert_eq!(header.bytes(), u32::MAX);
        assert!(header.freed().is(FREE, block));
        assert_eq!(header.freed().with_link(7).bytes(), 7);
        assert_eq!(header.freed().with_link(7).account(), Account(-1024));
        assert_eq!(
            Header::new(LARGE_ALLOC, Account(-1), 5, block).freed(),
            Header::new(LARGE_FREE, Account(-1), 5, block)
        );
    }

    #[test]
    fn a_zeroed_header_is_no_block() {
        assert!(!Header(0).is(ALLOC, BlockId(0)) && !Header(0).is(LARGE_ALLOC, BlockId(0)));
    }
}
