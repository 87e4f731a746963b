//! Adapters: the records that a HwDeviceExtension stands for.
//!
//! A record's memory is type-stable and its slot word carries a generation, so a stale handle, a
//! walker or a racing removal meets defined words; nothing needs to be reclaimed, and no epoch.

use core::fmt;

use super::accounts::{Key, OTHER_TAG, UNUSED};
use crate::contract::adapter::{AdapterId, AdapterName, NUMBER_BITS};
use crate::layout::block::Account;
#[cfg(all(feature = "alloc", not(storport_pool_loom)))]
use crate::layout::geometry::ADAPTER_BYTES;
use crate::layout::meta::Meta;
use crate::layout::state::State;
use crate::sync::Ordering;

/// Why an adapter could not be added.
///
/// ```
/// use storport_pool::{AdapterError, PoolOptions};
/// let pool = PoolOptions::new(1 << 20).adapters(1).build()?;
/// pool.add_adapter("disk0")?;
/// assert_eq!(pool.add_adapter("disk1"), Err(AdapterError::TooMany));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum AdapterError {
    /// As many adapters live as the pool was made for ([`Config::adapters`](crate::Config::adapters)).
    TooMany,
    /// The pool's handles are used up. Every free place has had as many adapters as there are handles for it
    /// ([`Config::adapters`](crate::Config::adapters) says how many). Only a new pool has more.
    WornOut,
    /// The caller runs above DISPATCH.
    Irql,
}

impl fmt::Display for AdapterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AdapterError::TooMany => "as many adapters live as the pool was made for",
            AdapterError::Irql => "an adapter is added at DISPATCH_LEVEL or below",
            AdapterError::WornOut => {
                "every free place has had as many adapters as the pool has handles for it; make a new pool"
            }
        })
    }
}

impl core::error::Error for AdapterError {}

/// The slot word: above, how many lives the slot has had, this one included; below, the state, and whoever works at the
/// record: its fork generation.
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

    /// A state that somebody of this fork generation will end.
    const fn held(life: u32, state: u64, generation: u32) -> Slot {
        Slot(Slot::new(life, state).0 | (generation as u64) << 8)
    }

    /// Of a held slot: whose.
    const fn generation(self) -> u32 {
        self.0 as u32 >> 8
    }

    const fn life(self) -> u32 {
        (self.0 >> 32) as u32
    }

    const fn state(self) -> u64 {
        self.0 & 0xFF
    }
}

/// Words of a record: slot; the most lives that it ever had, of those that a restored image does not know; name.
const SLOT: usize = 0;
const GIVEN: usize = 1;
const NAME: usize = 2;

/// Which life of which slot a handle is for: the number's upper bits and its lower ones.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    slot: u32,
    life: u32,
}

/// A removal that is under way.
#[derive(Clone, Copy)]
pub(crate) struct Removing {
    slot: u32,
    word: Slot,
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

    pub(super) fn slots(&self) -> core::ops::RangeInclusive<u32> {
        1..=self.control().geometry.adapters_len
    }

    fn slot(&self, slot: u32) -> Slot {
        // ORDERING: Acquire - the record; pairs with the Release that made it live.
        Slot(self.adapter_word(slot, SLOT).load(Ordering::Acquire))
    }

    /// How many lives a slot had before an image that knows of fewer was restored: their handles are no one's.
    fn given(&self, slot: u32) -> u32 {
        // ORDERING: Relaxed - written before the pool is shared.
        self.adapter_word(slot, GIVEN).load(Ordering::Relaxed) as u32
    }

    /// Whether the handle is that of an adapter that lives, or is being removed.
    #[cfg(all(feature = "alloc", not(storport_pool_loom)))]
    pub(super) fn adapter_here(&self, id: AdapterId) -> bool {
        matches!(self.state_of(id), Some(LIVE | REMOVING))
    }

    /// Whether what some adapter left may have this handle: that of a life that its slot has had.
    #[cfg(all(feature = "alloc", not(storport_pool_loom)))]
    pub(super) fn has_lived(&self, left: AdapterId) -> bool {
        let bits = self.control().slot_bits;
        let (slot, life) = (left.raw() & ((1 << bits) - 1), left.raw() >> bits);
        self.slots().contains(&slot) && (1..=self.slot(slot).life()).contains(&life)
    }

    /// An adapter's slot word, as it is.
    #[cfg(all(feature = "alloc", not(storport_pool_loom)))]
    pub(super) fn slot_word(&self, slot: u32) -> u64 {
        self.slot(slot).0
    }

    /// Whether nobody adds or removes the adapter of a slot.
    #[cfg(all(feature = "alloc", not(storport_pool_loom)))]
    pub(super) fn is_slot_at_rest(&self, slot: u32) -> bool {
        matches!(self.slot(slot).state(), VACANT | LIVE)
    }

    /// Makes a saved slot that somebody worked at one at which nobody does. `None`: no pool writes such a slot. The caller
    /// has the metadata to itself.
    #[cfg(all(feature = "alloc", not(storport_pool_loom)))]
    pub(super) fn settle_slot(&self, slot: u32) -> Option<()> {
        let seen = self.slot(slot);
        let life = seen.life();
        let settled = match seen.state() {
            VACANT if seen == Slot::new(life, VACANT) => seen,
            LIVE if seen == Slot::new(life, LIVE) && life > 0 => seen,
            // Nobody has got the handle.
            RESERVED => Slot::new(life, VACANT),
            // Of no generation: who adds an adapter ends it.
            REMOVING if life > 0 => Slot::new(life, REMOVING),
            _ => return None,
        };
        // ORDERING: Relaxed, both - the metadata is the caller's.
        let given = self.adapter_word(slot, GIVEN).load(Ordering::Relaxed);
        self.adapter_word(slot, SLOT).store(settled.0, Ordering::Relaxed);
        (u64::from(life).max(given) <= self.lives().into()).then_some(())
    }

    /// Puts a saved record over this one, whose handles since then stay no one's. The caller has both to itself.
    #[cfg(all(feature = "alloc", not(storport_pool_loom)))]
    pub(crate) fn restore_slot(&self, slot: u32, from: &Meta) {
        let given = self.given(slot).max(self.slot(slot).life()).max(from.given(slot));
        for n in 0..ADAPTER_BYTES / 8 {
            // ORDERING: Relaxed, all - as above.
            let word = from.adapter_word(slot, n).load(Ordering::Relaxed);
            self.adapter_word(slot, n).store(word, Ordering::Relaxed);
        }
        let more = if given > self.slot(slot).life() { given } else { 0 };
        self.adapter_word(slot, GIVEN).store(more.into(), Ordering::Relaxed);
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
        let generation = self.generation_number();
        // Twice, since a place that was passed may be free by now.
        for slot in self.slots().chain(self.slots()) {
            let seen = self.slot(slot);
            let life = match seen.state() {
                VACANT => seen.life().max(self.given(slot)) + 1,
                // Who reserved it did not survive a fork, so nobody has got the handle.
                RESERVED if seen.generation() != generation => seen.life(),
                _ => continue,
            };
            if life > self.lives() {
                error = AdapterError::WornOut;
                continue;
            }
            let reserved = Slot::held(life, RESERVED, generation);
            if self.change_slot(slot, seen, reserved) {
                self.write_name(slot, name);
                // Fails when a forked child's handler took over what it had interrupted.
                if self.change_slot(slot, reserved, Slot::new(life, LIVE)) {
                    return Ok(self.handle(Place { slot, life }));
                }
            }
        }
        Err(error)
    }

    fn write_name(&self, slot: u32, name: &str) {
        let name = AdapterName::new(name);
        for (n, chunk) in name.bytes.chunks_exact(8).enumerate() {
            let word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
            // ORDERING: Release - after the slot word that says RESERVED: who reads this sees that.
            self.adapter_word(slot, NAME + n).store(word, Ordering::Release);
        }
    }

    /// The state of the life that the handle is for; `None` when the slot is in another one.
    fn state_of(&self, id: AdapterId) -> Option<u64> {
        let place = self.place_of(id)?;
        let slot = self.slot(place.slot);
        (slot.life() == place.life).then_some(slot.state())
    }

    /// Whose a block is, or was last, as hosts know it: a live adapter's handle for what is set aside is its own.
    pub(crate) fn owner_of(&self, state: State) -> AdapterId {
        let owner = state.owner();
        if owner.is_left() && self.adapter_live(owner.plain()) { owner.plain() } else { owner.known() }
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

    /// The *other* account of the adapter with this handle.
    pub(crate) fn adapter_other(&self, id: AdapterId) -> Option<Account> {
        self.place_of(id).map(|place| Account(place.slot as isize))
    }

    /// The *other* account of the gone.
    pub(crate) fn gone_other(&self) -> Account {
        Account(*self.slots().end() as isize + 1)
    }

    /// All *other* accounts.
    pub(crate) fn other_accounts(&self) -> impl Iterator<Item = Account> {
        (0..=self.gone_other().0).map(Account)
    }

    /// What stands for the word of an *other* account. An adapter's is open while that is live.
    pub(super) fn other_key(&self, account: Account) -> Key {
        if account == Account::ORPHANS {
            return Key::new(AdapterId::ORPHANS, OTHER_TAG);
        }
        if account == self.gone_other() {
            return Key::new(AdapterId::GONE, OTHER_TAG);
        }
        let slot = account.0 as u32;
        let seen = self.slot(slot);
        let key = Key::new(self.handle(Place { slot, life: seen.life() }), OTHER_TAG);
        match seen.state() {
            LIVE => key,
            REMOVING => key.closed(),
            _ => UNUSED,
        }
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
    pub(crate) fn begin_removal(&self, id: AdapterId) -> Option<Removing> {
        let Place { slot, life } = self.place_of(id)?;
        let removing = Slot::held(life, REMOVING, self.generation_number());
        self.change_slot(slot, Slot::new(life, LIVE), removing).then_some(Removing { slot, word: removing })
    }

    /// An adapter whose remover did not survive a fork: its removal is ours now.
    pub(crate) fn adopt_removal(&self) -> Option<(AdapterId, Removing)> {
        let generation = self.generation_number();
        self.slots().find_map(|slot| {
            let seen = self.slot(slot);
            let life = seen.life();
            let removing = Slot::held(life, REMOVING, generation);
            let stale = seen.state() == REMOVING && seen != removing;
            let ours = stale && self.change_slot(slot, seen, removing);
            ours.then(|| (self.handle(Place { slot, life }), Removing { slot, word: removing }))
        })
    }

    /// Whether nobody has ended it.
    pub(crate) fn is_removing(&self, removing: Removing) -> bool {
        self.slot(removing.slot) == removing.word
    }

    /// Ends it: the slot may be taken again, for another life. `false`: a forked child's handler ended it before.
    pub(crate) fn end_removal(&self, removing: Removing) -> bool {
        self.change_slot(removing.slot, removing.word, Slot::new(removing.word.life(), VACANT))
    }

    /// The first live adapter with this name, which is cut as an adapter's is.
    pub(crate) fn adapter_named(&self, name: &str) -> Option<AdapterId> {
        let name = AdapterName::new(name);
        self.live_adapters().find(|&id| self.adapter_name(id) == Some(name))
    }

    /// All live adapters.
    pub(crate) fn live_adapters(&self) -> impl Iterator<Item = AdapterId> {
        self.slots().filter_map(|slot| {
            let seen = self.slot(slot);
            let place = Place { slot, life: seen.life() };
            (seen.state() == LIVE).then(|| self.handle(place))
        })
    }
}
