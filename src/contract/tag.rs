//! Pool tags.

use core::fmt;

use crate::contract::words::pad;

/// A pool tag: one to four printable characters in a `ULONG`. The first character is the lowest byte.
///
/// C drivers write the literal backwards (`'ichA'`), so that tools show it forwards. Here it is written forwards:
/// [`tag!("Ahci")`](crate::tag). It displays as PoolMon shows it.
///
/// Any number can be a tag, since drivers pass what they like. [`PoolTag::new`] checks the rule of
/// `ExAllocatePoolWithTag`: each character is 0x20 to 0x7E. A pool with [strict tags](crate::Config::strict_tags)
/// refuses the tags that Windows refuses. The functions run at any IRQL.
///
/// ```
/// use storport_pool::{PoolTag, TagError, tag};
/// assert_eq!(PoolTag::new("Ahci")?, tag!("Ahci"));
/// assert_eq!(PoolTag::new("Storport"), Err(TagError::Length));
/// assert_eq!(tag!("Ahci").raw(), 0x6963_6841); // C's 'ichA'
/// assert_eq!(PoolTag::from_raw(0x6963_6841).bytes(), *b"Ahci");
/// assert_eq!(tag!("Io").to_string(), "Io  ");
/// # Ok::<(), TagError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PoolTag(u32);

/// Why a text is no pool tag, or no [`TagPattern`](crate::TagPattern).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum TagError {
    /// The text has no character, or too many: a tag has four at most, a pattern 16.
    Length,
    /// A character lies outside 0x20 to 0x7E.
    Character,
}

impl fmt::Display for TagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TagError::Length => "a pool tag has one to four characters",
            TagError::Character => "a pool tag's characters lie between 0x20 and 0x7E",
        })
    }
}

impl core::error::Error for TagError {}

impl PoolTag {
    /// The tag with these characters. A tag of fewer than four ends in zero bytes, as the C literal does.
    ///
    /// # Errors
    /// [`TagError`]: the text is empty, longer than four characters, or not printable ASCII.
    pub const fn new(text: &str) -> Result<PoolTag, TagError> {
        let bytes = text.as_bytes();
        if bytes.is_empty() || bytes.len() > 4 {
            return Err(TagError::Length);
        }
        let mut out = [0; 4];
        let mut i = 0;
        while i < bytes.len() {
            if bytes[i] < 0x20 || bytes[i] > 0x7E {
                return Err(TagError::Character);
            }
            out[i] = bytes[i];
            i += 1;
        }
        Ok(PoolTag(u32::from_le_bytes(out)))
    }

    /// The tag with the number that C passes. Every number is accepted. 0xFFFF_FFFF stands for *other* rows
    /// ([`Config::accounts`](crate::Config::accounts)): blocks with this tag count there, and
    /// [`free_with_tag`](crate::Pool::free_with_tag) does not compare it.
    #[must_use]
    pub const fn from_raw(raw: u32) -> PoolTag {
        PoolTag(raw)
    }

    /// The number that C passes.
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// The four characters, the first one first. A short tag ends in zero bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }
}

impl fmt::Display for PoolTag {
    /// As PoolMon shows it: four columns, zero bytes as spaces, other unprintable ones as `.`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.bytes().map(|byte| match byte {
            0 => b' ',
            0x20..=0x7E => byte,
            _ => b'.',
        });
        f.pad(core::str::from_utf8(&shown).unwrap_or("????"))
    }
}

impl fmt::Debug for PoolTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        pad(f, format_args!("'{self:.4}'"))
    }
}

/// [`PoolTag::from_raw`].
impl From<u32> for PoolTag {
    fn from(raw: u32) -> PoolTag {
        PoolTag::from_raw(raw)
    }
}

/// [`PoolTag::raw`].
impl From<PoolTag> for u32 {
    fn from(tag: PoolTag) -> u32 {
        tag.raw()
    }
}

/// The first character first; any four bytes are a tag.
impl From<[u8; 4]> for PoolTag {
    fn from(bytes: [u8; 4]) -> PoolTag {
        PoolTag::from_raw(u32::from_le_bytes(bytes))
    }
}

/// [`PoolTag::bytes`].
impl From<PoolTag> for [u8; 4] {
    fn from(tag: PoolTag) -> [u8; 4] {
        tag.bytes()
    }
}

/// [`PoolTag::new`].
impl TryFrom<&str> for PoolTag {
    type Error = TagError;

    fn try_from(text: &str) -> Result<PoolTag, TagError> {
        PoolTag::new(text)
    }
}

impl core::str::FromStr for PoolTag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<PoolTag, TagError> {
        PoolTag::new(text)
    }
}

/// A [`PoolTag`], checked at compile time.
///
/// ```
/// use storport_pool::{PoolTag, tag};
/// const AHCI: PoolTag = tag!("Ahci");
/// assert_eq!(AHCI.to_string(), "Ahci");
/// ```
///
/// A text that is no tag does not compile:
///
/// ```compile_fail
/// let long = storport_pool::tag!("Storport");
/// ```
#[macro_export]
macro_rules! tag {
    ($text:literal) => {
        const {
            match $crate::PoolTag::new($text) {
                Ok(tag) => tag,
                Err(_) => panic!("a pool tag has one to four characters between 0x20 and 0x7E"),
            }
        }
    };
}
