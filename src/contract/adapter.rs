//! The handle that stands for HwDeviceExtension.

use core::fmt;

/// An adapter, as the routines take it: the stand-in for HwDeviceExtension.
///
/// A plain number, free to copy. After [`Pool::remove_adapter`](crate::Pool::remove_adapter) it
/// is stale, and the routines answer `INVALID_PARAMETER`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct AdapterId(pub(crate) u32);

const SLOT_BITS: u32 = 10;
/// Generations that a slot can have.
pub(crate) const GENERATIONS: u32 = 1 << 20;

impl AdapterId {
    /// Blocks whose adapter was removed without releasing them belong here.
    pub const ORPHANS: AdapterId = AdapterId::new(0, 1);
    /// Accounts of removed adapters that no block refers to: they keep their tag's totals.
    pub(crate) const GONE: AdapterId = AdapterId(1);

    /// Bits of a handle; the two above mark account words that are not open.
    pub(crate) const BITS: u32 = 30;

    pub(crate) const fn new(slot: u32, generation: u32) -> AdapterId {
        AdapterId(generation << SLOT_BITS | slot)
    }

    /// The handle with this number, of which 30 bits count; for a null or made-up one the routines
    /// answer `INVALID_PARAMETER`.
    #[must_use]
    pub const fn from_raw(raw: u32) -> AdapterId {
        AdapterId(raw & ((1 << AdapterId::BITS) - 1))
    }

    /// The handle's number; not 0 for those that the pool gives out.
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.0
    }

    pub(crate) const fn slot(self) -> u32 {
        self.0 & ((1 << SLOT_BITS) - 1)
    }

    pub(crate) const fn generation(self) -> u32 {
        self.0 >> SLOT_BITS
    }
}

impl fmt::Display for AdapterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            AdapterId::ORPHANS => f.pad("orphans"),
            _ => write!(f, "adapter {}.{}", self.slot(), self.generation()),
        }
    }
}

impl fmt::Debug for AdapterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
