//! What is wrong with metadata that was saved.

use core::fmt;

/// The first fault in saved metadata, and where it is. [`Image::read`](crate::Image::read) refuses such an image with
/// [`ImageError::Fault`](crate::ImageError::Fault), which has this in it. It displays as one line.
/// [`ImageError`](crate::ImageError) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ImageFault {
    /// What is wrong.
    pub what: &'static str,
    /// Where. The number counts what `what` names: blocks (offsets in the range, in units of 16 bytes), spans,
    /// magazines, accounts, adapters or CPUs.
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
