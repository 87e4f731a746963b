//! Adapters: the records that a HwDeviceExtension stands for.
//!
//! A record's memory is type-stable and its slot word carries a generation, so a stale handle, a
//! walker or a racing removal meets defined words; nothing needs to be reclaimed, and no epoch.

use core::fmt;

use super::accounts::{Key, OTHER_TAG};
use crate::contract::adapter::{AdapterId, NUMBER_BITS};
use crate::layout::block::Account;
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
    /// Every free place has had as many adapters as there are handles for it
    /// ([`Config::adapters`](crate::Config::adapters) says how many). Only a new pool has more.
    WornOut,
}

impl fmt::Display for AdapterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AdapterError::TooMany => "as many adapters live as the pool was made for",
            AdapterError::NoAccount => "no account is left for the adapter",
            AdapterError::WornOut => {
                "every free place has had as many adapters as the pool has handles for it; make a new pool"
            }
        })
    }
}

impl core::error::Error for AdapterError {}

/// The slot word: above, how many lives the slot has had, this one included; below, the state.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Slot(u64);

const VACANT: u64 = 0;
const RESERVED: u64 = 1;
const LIVE: u64 = 2;
const REMOVING: u64 = 3;

impl Slot {
    const fn new(life: u32, state: u64) -> Slot {
        Slot((life as u64) << 32 | state)
    }

    const fn life(self) -> u32 {
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

/// Which life of which slot a handle is for: the number's upper bits and its lower ones.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    slot: u32,
    life: u32,
}

impl Meta {
    /// The place of an adapter's own handle.
    fn place_of(&self, id: AdapterId) -> Option<Place> {
        let bits = self.control().slot_bits;
        let (slot, life) = (id.raw() & ((1 << bits) - 1), id.raw() >> bits);
        let known = !id.is_left() && self.slots().contains(&slot) && life > 0;
        known.then_some(Place { slot, life })
    }

    fn handle(&self, place: Place) -> AdapterId {
        AdapterId::numbered(place.life << self.control().slot_bits | place.slot)
    }

    /// How many lives a slot has.
    fn lives(&self) -> u32 {
        (1 << (NUMBER_BITS - self.control().slot_bits)) - 1
    }

    fn slots(&self) -> core::ops::RangeInclusive<u32> {
        1..=self.control().geometry.adapters_len
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

    /// Adds an adapter. Lock-free.
    pub(crate) fn add_adapter(&self, name: &str) -> Result<AdapterId, AdapterError> {
        let mut error = AdapterError::TooMany;
        for slot in self.slots() {
            let seen = self.slot(slot);
            if seen.state() != VACANT {
                continue;
            }
            let life = seen.life() + 1;
            if life > self.lives() {
                error = AdapterError::WornOut;
            } else if self.change_slot(slot, seen, Slot::new(life, RESERVED)) {
                return self.fill(Place { slot, life }, name);
            }
        }
        Err(error)
    }

    /// Writes a reserved record and makes it live.
    fn fill(&self, place: Place, name: &str) -> Result<AdapterId, AdapterError> {
        let (slot, id) = (place.slot, self.handle(place));
        let name = AdapterName::new(name);
        for (n, chunk) in name.bytes.chunks_exact(8).enumerate() {
            let word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
            // ORDERING: Release - after the slot word that says RESERVED: who reads this sees that.
            self.adapter_word(slot, NAME + n).store(word, Ordering::Release);
        }
        let other = self.reserve(Key::new(id, OTHER_TAG));
        let Some(other) = other else {
            // Nobody has got the handle, so the next one may.
            self.set_slot(Place { life: place.life - 1, ..place }, VACANT);
            return Err(AdapterError::NoAccount);
        };
        // ORDERING: Relaxed - published by the slot word.
        self.adapter_word(slot, OTHER).store(other.0 as u64, Ordering::Relaxed);
        self.set_slot(place, LIVE);
        // The word was closed while the record was reserved.
        // ORDERING: SeqCst - pairs with `close_accounts`.
        fence(Ordering::SeqCst);
        self.open_account(other);
        Ok(id)
    }

    fn set_slot(&self, place: Place, state: u64) {
        // ORDERING: Release - the record; pairs with the Acquire in `slot`.
        self.adapter_word(place.slot, SLOT).store(Slot::new(place.life, state).0, Ordering::Release);
    }

    /// The state of the life that the handle is for; `None` when the slot is in another one.
    fn state_of(&self, id: AdapterId) -> Option<u64> {
        let place = self.place_of(id)?;
        let slot = self.slot(place.slot);
        (slot.life() == place.life).then_some(slot.state())
    }

    /// Whether the handle names a live adapter. Its accounts are open then.
    pub(crate) fn adapter_live(&self, id: AdapterId) -> bool {
        self.state_of(id) == Some(LIVE)
    }

    /// Whether the handle may free: it names a live adapter, or the orphans of all.
    pub(crate) fn may_free(&self, id: AdapterId) -> bool {
        id == AdapterId::ORPHANS || self.adapter_live(id)
    }

    /// Whether the handle is one of a removed adapter.
    pub(crate) fn adapter_removed(&self, id: AdapterId) -> bool {
        self.place_of(id).is_some() && self.state_of(id).is_none_or(|state| state == VACANT)
    }

    /// The adapter's *other* account.
    pub(crate) fn adapter_other(&self, id: AdapterId) -> Option<Account> {
        self.state_of(id)?;
        let slot = self.place_of(id)?.slot;
        // ORDERING: Relaxed - ordered by the slot word.
        Some(Account(self.adapter_word(slot, OTHER).load(Ordering::Relaxed) as isize))
    }

    /// The adapter's name, while the record is its.
    pub(crate) fn adapter_name(&self, id: AdapterId) -> Option<AdapterName> {
        if id == AdapterId::ORPHANS {
            return Some(AdapterName::new("orphans"));
        }
        // Its leaks are told while it is being removed.
        let live = || matches!(self.state_of(id), Some(LIVE | REMOVING)).then_some(());
        live()?;
        let slot = self.place_of(id)?.slot;
        let mut name = AdapterName::default();
        for (n, chunk) in name.bytes.chunks_exact_mut(8).enumerate() {
            // ORDERING: Acquire - keeps the second look below; pairs with the Release in `fill`.
            let word = self.adapter_word(slot, NAME + n).load(Ordering::Acquire);
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        live()?;
        Some(name)
    }

    /// Begins the removal of a live adapter: one caller wins, new calls are refused from here on.
    pub(crate) fn begin_removal(&self, id: AdapterId) -> bool {
        self.place_of(id).is_some_and(|Place { slot, life }| {
            self.change_slot(slot, Slot::new(life, LIVE), Slot::new(life, REMOVING))
        })
    }

    /// Ends it: the slot may be taken again, for another life.
    pub(crate) fn end_removal(&self, id: AdapterId) {
        if let Some(place) = self.place_of(id) {
            self.set_slot(place, VACANT);
        }
    }

    /// All live adapters.
    #[cfg(feature = "alloc")]
    pub(crate) fn live_adapters(&self) -> impl Iterator<Item = AdapterId> {
        self.slots().filter_map(|slot| {
            let seen = self.slot(slot);
            let place = Place { slot, life: seen.life() };
            (seen.state() == LIVE).then(|| self.handle(place))
        })
    }
}
