//! Which block, and which account.

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
