//! Which block, and which account.

use super::classes::{MAP_SHIFT, MOST_SPAN_GRAINS};

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
    /// Which page of the page map it lies in.
    pub(crate) const fn page(self) -> usize {
        (self.0 >> MAP_SHIFT) as usize
    }

    /// What a state word has of the block's place: its offset, in grains, in a span of the largest size.
    pub(crate) const fn low(self) -> u32 {
        self.0 % MOST_SPAN_GRAINS
    }
}
