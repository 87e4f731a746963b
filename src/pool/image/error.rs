//! Why an image is refused.

use core::fmt;

use crate::contract::fault::ImageFault;

/// Why bytes are no [`Image`](crate::Image), or no [`Dump`](crate::Dump).
///
/// ```
/// use storport_pool::{Image, ImageError};
/// assert_eq!(Image::read(b"no image").unwrap_err(), ImageError::NoImage);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ImageError {
    /// They do not begin as an image does.
    NoImage,
    /// Another version of the library wrote them, whose metadata has another layout.
    Version,
    /// They are not whole, or were changed: their number or their checksum is wrong.
    Torn,
    /// They are as they were written. But no pool has such metadata.
    Fault(ImageFault),
    /// No pool's metadata is in these bytes, or it is of another version of the library
    /// ([`Dump::of_memory`](crate::Dump::of_memory)).
    NoMetadata,
    /// There is no memory for the image.
    NoMemory,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageError::NoImage => f.write_str("this is no image of a pool"),
            ImageError::Version => f.write_str("the image is of another version of the library"),
            ImageError::Torn => f.write_str("the image is not whole, or was changed"),
            ImageError::Fault(fault) => write!(f, "the image has metadata that no pool has: {fault}"),
            ImageError::NoMetadata => {
                f.write_str("there is no pool's metadata in this, or that of another version of the library")
            }
            ImageError::NoMemory => f.write_str("there is no memory for the image"),
        }
    }
}

impl core::error::Error for ImageError {}

impl From<ImageFault> for ImageError {
    fn from(fault: ImageFault) -> ImageError {
        ImageError::Fault(fault)
    }
}

/// The image is one of a pool with another geometry. Nothing was changed. [`Pool::restore`](crate::Pool::restore)
/// returns it.
///
/// ```
/// use storport_pool::{Image, PoolOptions};
/// let image = Image::read(&PoolOptions::new(1 << 20).build()?.save())?;
/// let error = PoolOptions::new(2 << 20).build()?.restore(&image).unwrap_err();
/// assert_eq!((error.what, error.image, error.pool), ("range_bytes", 1 << 20, 2 << 20));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct OtherGeometry {
    /// What differs. It is the first of: `range_bytes`, `cpus`, `accounts`, `adapters`, `min_block`, `magazines`,
    /// `large_spans`.
    pub what: &'static str,
    /// How many of it the image's pool has.
    pub image: u64,
    /// How many of it this pool has.
    pub pool: u64,
}

impl fmt::Display for OtherGeometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OtherGeometry { what, image, pool } = self;
        write!(f, "the image is of a pool of another geometry: its {what} is {image}, this one's {pool}")
    }
}

impl core::error::Error for OtherGeometry {}
