//! Which block, and which account.

use super::classes::{MOST_SPAN_GRAINS, SpanSize};

/// Index of an account: -accounts to -1, since account words lie below the base, and below those the pool's own. From 0
/// up the *other* accounts, which have no word: that of the orphans, those of the adapters by slot, that of the gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Account(pub(crate) isize);

impl Account {
    /// The orphans' *other* account.
    pub(crate) const ORPHANS: Account = Account(0);

    /// Whether this is an *other* account: its cells lie in the shared row alone.
    pub(crate) const fn is_other(self) -> bool {
        self.0 >= 0
    }
}

/// Which block: its offset in the range, in grains.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockId(pub(crate) u32);

impl BlockId {
    /// The first block of a span.
    pub(crate) const fn first_of(span: u32, size: SpanSize) -> BlockId {
        BlockId(span << size.shift())
    }

    /// Which span it lies in.
    pub(crate) const fn span(self, size: SpanSize) -> u32 {
        self.0 >> size.shift()
    }

    /// Its offset in its span, in grains.
    pub(crate) const fn in_span(self, size: SpanSize) -> u32 {
        self.0 & (size.grains() - 1)
    }

    /// What a state word has of the block's place: its offset, in grains, in a span of the largest size.
    pub(crate) const fn low(self) -> u32 {
        self.0 % MOST_SPAN_GRAINS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_its_span_and_the_rest() {
        for size in [SpanSize::PAGE, SpanSize::MOST] {
            let block = BlockId(0x1_2345);
            let first = BlockId::first_of(block.span(size), size);
            assert_eq!(first.0 + block.in_span(size), block.0);
        }
        assert_eq!(BlockId(0x1_2345).low(), 0x345);
    }
}
