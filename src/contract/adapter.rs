//! The handle that stands for HwDeviceExtension.

use core::fmt;

use static_assertions::{assert_eq_size, assert_impl_all};

use crate::contract::words::{beginning, pad};

/// An adapter's handle. The routines take it where a miniport passes HwDeviceExtension.
///
/// It is a plain number and free to copy. `Pool::remove_adapter` makes it stale: from
/// then on the routines answer `INVALID_PARAMETER`. No later adapter of the pool gets the same number. Its functions
/// run at any IRQL.
///
/// ```
/// use storport_pool::{AdapterId, Pool, Status, tag};
/// let pool = Pool::new(1 << 20)?;
/// let disk = pool.add_adapter("disk0")?;
/// assert_ne!(disk, AdapterId::ORPHANS);
/// // C and tables keep the number.
/// assert_eq!(AdapterId::from_raw(disk.raw()), disk);
/// assert_eq!(AdapterId::from_word(disk.word()), disk);
/// // A made-up number is nobody's handle.
/// assert_eq!(pool.try_allocate(AdapterId::from_raw(0), 208, tag!("VioS")), Err(Status::INVALID_PARAMETER));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
// As the upper part of a live block's state word (docs/CONCURRENCY.md, section 3), so that free composes what it
// expects there in two instructions: the top bit is set and the low `SHIFT` bits are 0, whatever a host passes.
pub struct AdapterId(pub(crate) u32);

/// Bits of a handle in the value: of its number, and one that says "what that adapter left".
pub(crate) const HANDLE_BITS: u32 = 19;
/// Bits of a handle's number.
pub(crate) const NUMBER_BITS: u32 = HANDLE_BITS - 1;
/// Where the number lies in the value.
const SHIFT: u32 = 31 - HANDLE_BITS;
const TOP: u32 = 1 << 31;
/// What an adapter left belongs to its own handle with this bit: no other life's orphans have that. No host can make
/// it up.
const LEFT: u32 = 1 << 30;

assert_eq_size!(AdapterId, u32);
assert_impl_all!(AdapterId: Copy, Ord, core::hash::Hash, Send, Sync);

impl AdapterId {
    /// The owner of blocks that outlive their adapter. `Pool::remove_adapter` gives them
    /// to it, and the host frees them in its name.
    pub const ORPHANS: AdapterId = AdapterId::numbered(1);
    /// Accounts of removed adapters that no block refers to: they keep their tag's totals.
    pub(crate) const GONE: AdapterId = AdapterId::numbered(2);
    /// No adapter, and no block's owner.
    pub(crate) const NOBODY: AdapterId = AdapterId::numbered(0);

    /// The handle with a number below 2^[`NUMBER_BITS`].
    pub(crate) const fn numbered(number: u32) -> AdapterId {
        AdapterId(TOP | number << SHIFT)
    }

    /// The owner of what this adapter left.
    pub(crate) const fn left(self) -> AdapterId {
        AdapterId(self.0 | LEFT)
    }

    /// The adapter whose [`left`](Self::left) handle this is, or the handle itself.
    pub(crate) const fn plain(self) -> AdapterId {
        AdapterId(self.0 & !LEFT)
    }

    /// Whether this is the owner of what some adapter left.
    pub(crate) const fn is_left(self) -> bool {
        self.0 & LEFT != 0
    }

    /// The handle as hosts know it: whatever adapters left belongs to the orphans.
    pub(crate) const fn known(self) -> AdapterId {
        if self.is_left() { AdapterId::ORPHANS } else { self }
    }

    /// Whether the value is that of a handle, of some number.
    #[cfg(all(feature = "alloc", not(storport_pool_loom)))]
    pub(crate) const fn is_a_handle(self) -> bool {
        self.0 & TOP != 0 && self.0 & ((1 << SHIFT) - 1) == 0
    }

    /// The handle with this number. Any number may be passed. For 0, for a made-up number, and from 2^18 on, the
    /// routines answer `INVALID_PARAMETER`.
    #[must_use]
    pub const fn from_raw(raw: u32) -> AdapterId {
        if raw >> NUMBER_BITS == 0 { AdapterId::numbered(raw) } else { AdapterId::NOBODY }
    }

    /// The handle as the word that `Caller` keeps in a table. [`from_word`](AdapterId::from_word)
    /// reads it.
    #[must_use]
    pub const fn word(self) -> u32 {
        self.0
    }

    /// The handle with this [`word`](AdapterId::word). Any other number makes some handle, which may be a live one.
    #[must_use]
    pub const fn from_word(word: u32) -> AdapterId {
        AdapterId(TOP | word & !LEFT & !((1 << SHIFT) - 1))
    }

    /// The handle's number. The pool gives out none with the number 0.
    #[must_use]
    pub const fn raw(self) -> u32 {
        (self.0 & !TOP & !LEFT) >> SHIFT
    }
}

/// [`AdapterId::raw`].
impl From<AdapterId> for u32 {
    fn from(adapter: AdapterId) -> u32 {
        adapter.raw()
    }
}

/// [`AdapterId::from_raw`].
impl From<u32> for AdapterId {
    fn from(raw: u32) -> AdapterId {
        AdapterId::from_raw(raw)
    }
}

impl fmt::Display for AdapterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            AdapterId::ORPHANS => f.pad("orphans"),
            _ => pad(f, format_args!("adapter {}", self.raw())),
        }
    }
}

impl fmt::Debug for AdapterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An adapter's name: up to 32 bytes of UTF-8. Its functions run at any IRQL.
///
/// ```
/// use storport_pool::{AdapterName, Pool};
/// let pool = Pool::new(1 << 20)?;
/// let disk = pool.add_adapter("a name that is longer than 32 bytes")?;
/// let name = pool.adapter_name(disk).unwrap();
/// assert_eq!(name.as_str(), "a name that is longer than 32 by");
/// assert_eq!(name.as_str().len(), AdapterName::MAX);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AdapterName {
    pub(crate) bytes: [u8; AdapterName::MAX],
}

impl AdapterName {
    /// Bytes of the longest name. A longer one is cut, at the end of a character.
    pub const MAX: usize = 32;

    pub(crate) fn new(name: &str) -> AdapterName {
        let name = beginning(name, Self::MAX);
        let mut bytes = [0; Self::MAX];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        AdapterName { bytes }
    }

    /// The name whose bytes these are, as [`to_bytes`](AdapterName::to_bytes) gave them.
    #[cfg(all(feature = "std", target_os = "linux", not(storport_pool_loom)))]
    pub(crate) const fn from_bytes(bytes: [u8; Self::MAX]) -> AdapterName {
        AdapterName { bytes }
    }

    /// The name's bytes, zeros behind them.
    #[cfg(all(feature = "std", target_os = "linux", not(storport_pool_loom)))]
    pub(crate) const fn to_bytes(self) -> [u8; Self::MAX] {
        self.bytes
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let len = self.bytes.iter().position(|&byte| byte == 0).unwrap_or(Self::MAX);
        core::str::from_utf8(&self.bytes[..len]).unwrap_or("")
    }
}

impl AsRef<str> for AdapterName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for AdapterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for AdapterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// An adapter as a person knows it: by its name, else by its number.
#[derive(Clone, Copy)]
pub(crate) struct Named(pub(crate) AdapterId, pub(crate) Option<AdapterName>);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            // A name may have control characters: they are escaped.
            Some(name) if self.0 != AdapterId::ORPHANS && !name.as_str().is_empty() => {
                write!(f, "adapter {name:?}")
            }
            _ => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever number a host passes: the value keeps its shape, and numbers that no handle has are nobody's.
    #[test]
    fn a_made_up_number_is_nobodys_or_itself() {
        for raw in (0..1 << NUMBER_BITS).chain((NUMBER_BITS..32).flat_map(|bit| [1 << bit, (1 << bit) + 5])) {
            let id = AdapterId::from_raw(raw);
            assert_eq!(id.0 & (TOP | LEFT), TOP);
            assert_eq!(id.0 & ((1 << SHIFT) - 1), 0);
            assert_eq!(id.raw(), if raw < 1 << NUMBER_BITS { raw } else { 0 });
            assert!(!id.is_left() && id.left().is_left());
            assert_eq!((id.known(), id.left().known()), (id, AdapterId::ORPHANS));
        }
        assert_eq!(AdapterId::from_raw(u32::MAX), AdapterId::NOBODY);
        for word in [0, 1, 0xFFF, 0x8000_1FFF, u32::MAX] {
            let id = AdapterId::from_word(word);
            assert_eq!((id.0 & (TOP | LEFT), id.0 & ((1 << SHIFT) - 1)), (TOP, 0));
            assert_eq!(AdapterId::from_word(id.word()), id);
        }
    }
}
