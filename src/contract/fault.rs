//! What is wrong with metadata that was saved.

use core::fmt;

/// The first thing that is wrong with saved metadata, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ImageFault {
    /// What is wrong.
    pub what: &'static str,
    /// Where: the number of the block (its offset in the range, in units of 16 bytes), span, magazine, account, adapter or
    /// CPU that `what` names.
    pub at: u64,
}

impl ImageFault {
    pub(crate) const fn new(what: &'static str, at: u64) -> ImageFault {
        ImageFault { what, at }
    }
}

impl fmt::Display for ImageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (number {})", self.what, self.at)
    }
}

impl core::error::Error for ImageFault {}
