//! Adapters: the records that a HwDeviceExtension stands for.
//!
//! A record's memory is type-stable and its slot word carries a generation, so a stale handle, a
//! walker or a racing removal meets defined words; nothing needs to be reclaimed, and no epoch.

use core::fmt;

use super::accounts::{Key, OTHER_TAG};
use crate::contract::adapter::AdapterId;
use crate::contract::adapter::GENERATIONS;
use crate::layout::header::Account;
use crate::layout::meta::Meta;
use crate::sync::{Ordering, fence};

/// An adapter's name: up to 32 bytes of UTF-8.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct AdapterName {
    bytes: [u8; AdapterName::MAX],
}

impl AdapterName {
    /// Bytes of the longest name; what is longer is cut at a character.
    pub const MAX: usize = 32;

    fn new(name: &str) -> AdapterName {
        let mut len = name.len().min(Self::MAX);
        while !name.is_char_boundary(len) {
            len -= 1;
        }
        let mut bytes = [0; Self::MAX];
        bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
        AdapterName { bytes }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let len = self.bytes.iter().position(|&byte| byte == 0).unwrap_or(Self::MAX);
        core::str::from_utf8(&self.bytes[..len]).unwrap_or("")
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

/// Why an adapter could not be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdapterError {
    /// As many adapters live as the pool was made for.
    TooMany,
    /// No account is left for the adapter's *other* row.
    NoAccount,
}

impl fmt::Display for AdapterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AdapterError::TooMany => "as many adapters live as the pool was made for",
            AdapterError::NoAccount => "no account is left for the adapter",
        })
    }
}

impl core::error::Error for AdapterError {}

/// The slot word: generation above, state below.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Slot(u64);

const VACANT: u64 = 0;
const RESERVED: u64 = 1;
const LIVE: u64 = 2;
const REMOVING: u64 = 3;

impl Slot {
    const fn new(generation: u32, state: u64) -> Slot {
        Slot((generation as u64) << 32 | state)
    }

    const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    const fn state(self) -> u64 {
        self.0 & 0xFF
    }
}

/// Words of a record: slot, other account, name.
const SLOT: usize = 0;
const OTHER: usize = 1;
const NAME: usize = 2;

impl Meta {
    fn slots(&self) -> u32 {
        // The orphans and the host's.
        self.control().geometry.adapters_len + 1
    }

    fn slot(&self, slot: u32) -> Slot {
        // ORDERING: Acquire - the record; pairs with the Release that made it live.
        Slot(self.adapter_word(slot, SLOT).load(Ordering::Acquire))
    }

    fn change_slot(&self, slot: u32, from: Slot, to: Slot) -> bool {
        self.adapter_word(slot, SLOT)
            // ORDERING: AcqRel - Release: the record; Acquire: the last owner's.
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Makes the orphans' record. Called once, before the pool is shared.
    pub(crate) fn init_adapters(&self) {
        let made = self.fill(AdapterId::ORPHANS, "orphans");
        debug_assert!(made.is_ok());
    }

    /// Adds an adapter. Lock-free.
    pub(crate) fn add_adapter(&self, name: &str) -> Result<AdapterId, AdapterError> {
        for slot in 1..self.slots() {
            let seen = self.slot(slot);
            let generation = seen.generation() + 1;
            if seen.state() != VACANT || generation >= GENERATIONS {
                continue;
            }
            if !self.change_slot(slot, seen, Slot::new(generation, RESERVED)) {
                continue;
            }
            return self.fill(AdapterId::new(slot, generation), name);
        }
        Err(AdapterError::TooMany)
    }

    /// Writes a reserved record and makes it live.
    fn fill(&self, id: AdapterId, name: &str) -> Result<AdapterId, AdapterError> {
        let slot = id.slot();
        let name = AdapterName::new(name);
        for (n, chunk) in name.bytes.chunks_exact(8).enumerate() {
            let word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
            // ORDERING: Release - after the slot word that says RESERVED: who reads this sees that.
            self.adapter_word(slot, NAME + n).store(word, Ordering::Release);
        }
        let other = self.reserve(Key::new(id, OTHER_TAG));
        let Some(other) = other else {
            self.set_slot(id, VACANT);
            return Err(AdapterError::NoAccount);
        };
        // ORDERING: Relaxed - published by the slot word.
        self.adapter_word(slot, OTHER).store(other.0 as u64, Ordering::Relaxed);
        self.set_slot(id, LIVE);
        // The word was closed while the record was reserved, unless the pool's switch is down.
        // ORDERING: SeqCst - pairs with `close_accounts`.
        fence(Ordering::SeqCst);
        self.open_account(other);
        Ok(id)
    }

    fn set_slot(&self, id: AdapterId, state: u64) {
        // ORDERING: Release - the record; pairs with the Acquire in `slot`.
        self.adapter_word(id.slot(), SLOT).store(Slot::new(id.generation(), state).0, Ordering::Release);
    }

    fn slot_of(&self, id: AdapterId) -> Option<Slot> {
        let slot = (id.slot() < self.slots()).then(|| self.slot(id.slot()))?;
        (slot.generation() == id.generation()).then_some(slot)
    }

    /// Whether the handle names a live adapter.
    pub(crate) fn adapter_live(&self, id: AdapterId) -> bool {
        self.slot_of(id).is_some_and(|slot| slot.state() == LIVE)
    }

    /// Whether the adapter's accounts may be open: it is live, and the pool's switch is up. The orphans'
    /// never are, since nobody allocates in their name; frees find them the slow way.
    pub(crate) fn adapter_open(&self, id: AdapterId) -> bool {
        id != AdapterId::ORPHANS && !self.not_implemented() && self.adapter_live(id)
    }

    /// Whether the handle is one of a removed adapter.
    pub(crate) fn adapter_removed(&self, id: AdapterId) -> bool {
        id.slot() < self.slots()
            && id != AdapterId::GONE
            && self.slot_of(id).is_none_or(|slot| slot.state() == VACANT)
    }

    /// The adapter's *other* account.
    pub(crate) fn adapter_other(&self, id: AdapterId) -> Option<Account> {
        self.slot_of(id)?;
        // ORDERING: Relaxed - ordered by the slot word.
        Some(Account(self.adapter_word(id.slot(), OTHER).load(Ordering::Relaxed) as isize))
    }

    /// The adapter's name, while the record is its.
    pub(crate) fn adapter_name(&self, id: AdapterId) -> Option<AdapterName> {
        let live = || self.adapter_live(id).then_some(());
        live()?;
        let mut name = AdapterName::default();
        for (n, chunk) in name.bytes.chunks_exact_mut(8).enumerate() {
            // ORDERING: Acquire - keeps the second look below; pairs with the Release in `fill`.
            let word = self.adapter_word(id.slot(), NAME + n).load(Ordering::Acquire);
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        live()?;
        Some(name)
    }

    /// Begins the removal of a live adapter: one caller wins, new calls are refused from here on.
    pub(crate) fn begin_removal(&self, id: AdapterId) -> bool {
        let live = Slot::new(id.generation(), LIVE);
        id != AdapterId::ORPHANS
            && id.slot() < self.slots()
            && self.change_slot(id.slot(), live, Slot::new(id.generation(), REMOVING))
    }

    /// Ends it: the slot may be taken again, with another generation.
    pub(crate) fn end_removal(&self, id: AdapterId) {
        self.set_slot(id, VACANT);
    }

    /// All live adapters but the orphans.
    #[cfg(feature = "alloc")]
    pub(crate) fn live_adapters(&self) -> impl Iterator<Item = AdapterId> {
        (1..self.slots()).filter_map(|slot| {
            let seen = self.slot(slot);
            (seen.state() == LIVE).then(|| AdapterId::new(slot, seen.generation()))
        })
    }
}
