//! Pool tags.

use core::fmt;

use crate::contract::words::pad;

/// A pool tag: one to four printable characters in a `ULONG`, the first in the lowest byte.
///
/// C drivers write the literal reversed (`'ichA'`), so that tools show it forwards; here it is
/// written forwards: `tag!("Ahci")`. It is displayed as PoolMon shows it.
///
/// Any number can be a tag, since drivers pass what they like; [`PoolTag::new`] checks the rule
/// of `ExAllocatePoolWithTag` (each character 0x20 to 0x7E), and a pool with strict tags refuses
/// those that Windows refuses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PoolTag(u32);

/// Why a text is no pool tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum TagError {
    /// The text has no character, or more than four.
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
    /// The tag with these characters. A short one ends in zero bytes, as the C literal does.
    ///
    /// # Errors
    /// [`TagError`] when the text is empty, longer than four, or not printable ASCII.
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

    /// The tag that C passes; every number is accepted. 0xFFFF_FFFF is the number of *other* rows: blocks with it count there,
    /// and a free with a tag does not compare it.
    #[must_use]
    pub const fn from_raw(raw: u32) -> PoolTag {
        PoolTag(raw)
    }

    /// The number that C passes.
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// The four characters, first one first.
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

/// A [`PoolTag`] checked at compile time: `tag!("Ahci")`.
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
