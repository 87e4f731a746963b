//! What the pool should know: who has which block, while calls are under way too.

use std::collections::BTreeMap;

use storport_pool::AdapterId;

use crate::common::occupied;

/// Where an adapter is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Live,
    /// Its removal has begun.
    Removing {
        release: bool,
    },
    /// Removed; its blocks are the orphans'.
    Kept,
    /// Removed, and its blocks with it.
    Released,
}

#[derive(Clone, Copy, Debug)]
pub struct Adapter {
    pub id: AdapterId,
    pub life: Life,
    /// Calls under way in its name.
    pub allocs: u64,
    pub frees: u64,
}

/// A block as an allocation gave it.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// Number of the adapter.
    pub owner: usize,
    pub bytes: u32,
}

/// An address that was handed out.
#[derive(Debug, Default)]
pub struct Slot {
    /// Allocations that returned it, minus frees that succeeded.
    balance: i64,
    /// Frees of it under way.
    pending: i64,
    /// Frees that succeeded since none was under way.
    wins: u64,
    /// Whether a free is under way of a block that was live when it began.
    due: bool,
    /// Whether frees of it overlap, or may be late.
    pub contested: bool,
    /// What it may be now: more than one when a late free met another's allocation.
    candidates: Vec<Block>,
}

impl Slot {
    /// The block that is surely there.
    pub fn definite(&self) -> Option<Block> {
        (self.balance - self.pending == 1 && self.candidates.len() == 1).then(|| self.candidates[0])
    }
}

/// How a free that is under way was made.
pub struct Begun {
    pub address: u64,
    pub owner: usize,
    life: Life,
}

/// An address where one of these blocks is, or, unless one must be, none.
pub struct Doubt {
    pub address: u64,
    pub blocks: Vec<Block>,
    pub must_be: bool,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Ledger {
    pub slots: BTreeMap<u64, Slot>,
    pub adapters: Vec<Adapter>,
    /// Addresses that were freed, the last ones.
    pub stale: Vec<u64>,
    /// Allocations that succeeded.
    pub allocs: u64,
    /// Allocations whose adapter was removed meanwhile: they may have been counted, and undone.
    pub undone: u64,
    settled: u64,
    /// Allocations that found no memory.
    pub failures: u64,
    /// Misuses that were refused; and those of which an adapter that was removed meanwhile made one.
    pub refused: u64,
    pub doubtful: u64,
}

const STALE: usize = 64;

impl Ledger {
    /// Whom the pool knows as the owner.
    pub fn id_of(&self, owner: usize) -> AdapterId {
        let adapter = &self.adapters[owner];
        if adapter.life == Life::Kept { AdapterId::ORPHANS } else { adapter.id }
    }

    /// The adapters of this kind, by number.
    pub fn who(&self, which: impl Fn(&Adapter) -> bool) -> Vec<usize> {
        (0..self.adapters.len()).filter(|&n| which(&self.adapters[n])).collect()
    }

    /// The owner of what lies at an address, if that is known and no removal of it goes on.
    pub fn owner_at(&self, address: u64) -> Option<usize> {
        let [block] = self.slots.get(&address)?.candidates[..] else { return None };
        self.is_steady(block.owner).then_some(block.owner)
    }

    fn is_steady(&self, owner: usize) -> bool {
        matches!(self.adapters[owner].life, Life::Live | Life::Kept)
    }

    /// Blocks that are surely live, and whose owner is not being removed.
    pub fn live(&self) -> impl Iterator<Item = (u64, Block)> {
        self.slots
            .iter()
            .filter_map(|(&address, slot)| Some((address, slot.definite()?)))
            .filter(|(_, block)| self.is_steady(block.owner))
    }

    /// An allocation returned this block.
    pub fn handed_out(&mut self, address: u64, block: Block, range: (u64, u64)) {
        self.allocs += 1;
        let Block { owner, bytes } = block;
        let end = address + u64::from(bytes);
        assert!(range.0 <= address && end <= range.0 + range.1, "{address:#x} lies outside");
        assert!(address.is_multiple_of(if bytes >= 4096 { 4096 } else { 16 }));
        assert!(bytes > 4096 || address / 4096 == (end - 1) / 4096, "crosses a page");
        let life = self.adapters[owner].life;
        if life == Life::Released {
            return;
        }
        // A late free may have taken it before it was returned: then others may have its place by now.
        let certain = |slot: &Slot| slot.balance >= slot.candidates.len() as i64;
        let certain = self.slots.get(&address).is_none_or(certain);
        // A removal that releases may have freed it before it was returned: then, too.
        let releasing = life == Life::Removing { release: true };
        for (&other, slot) in self.slots.range(..end).filter(|_| certain) {
            if let Some(there) = slot.definite() {
                let apart = other + occupied(range.1, there.bytes) <= address || other == address;
                if !apart && releasing {
                    return;
                }
                assert!(apart, "{address:#x} overlaps {other:#x}");
            }
        }
        let slot = self.slots.entry(address).or_default();
        if slot.balance > slot.pending && releasing {
            return;
        }
        assert!(slot.balance <= slot.pending, "{address:#x} was handed out twice");
        slot.balance += 1;
        slot.candidates.push(block);
        if releasing {
            slot.pending += 1;
            slot.contested = true;
        }
    }

    /// A free begins. `due`: of a live block, so that one such free must succeed.
    pub fn begin_free(&mut self, address: u64, owner: usize, due: bool) -> Begun {
        self.adapters[owner].frees += 1;
        let slot = self.slots.entry(address).or_default();
        slot.contested |= !due || slot.pending > 0;
        slot.due |= due;
        slot.pending += 1;
        Begun { address, owner, life: self.adapters[owner].life }
    }

    /// It succeeded, or was refused as a misuse.
    pub fn end_free(&mut self, begun: Begun, succeeded: bool) {
        let Begun { address, owner, life } = begun;
        let steady = self.adapters[owner].life == life;
        self.adapters[owner].frees -= 1;
        let slot = self.slots.get_mut(&address).unwrap();
        slot.pending -= 1;
        if succeeded {
            slot.balance -= 1;
            slot.wins += 1;
            self.stale.insert(0, address);
            self.stale.truncate(STALE);
        } else {
            assert!(slot.contested || !steady, "{address:#x} could not be freed");
            *if steady { &mut self.refused } else { &mut self.doubtful } += 1;
        }
        if slot.pending == 0 {
            assert!(!slot.due || slot.wins > 0 || !steady, "nobody could free {address:#x}");
        }
        // A late free may have met a block that its allocation has not returned yet.
        if succeeded && slot.balance == 0 && !slot.contested {
            slot.candidates.clear();
        }
        self.rest(address);
    }

    /// A free that was not carried out, at a bad IRQL.
    pub fn cancel_free(&mut self, begun: &Begun) {
        self.adapters[begun.owner].frees -= 1;
        self.slots.get_mut(&begun.address).unwrap().pending -= 1;
        self.rest(begun.address);
    }

    /// Forgets what is over.
    fn rest(&mut self, address: u64) {
        let slot = self.slots.get_mut(&address).unwrap();
        if slot.pending == 0 {
            (slot.due, slot.wins, slot.contested) = (false, 0, false);
            if slot.balance == 0 && slot.candidates.is_empty() {
                self.slots.remove(&address);
            }
        }
    }

    /// A removal begins. Says how many blocks it must report, and may.
    pub fn begin_removal(&mut self, owner: usize, release: bool) -> (u64, u64) {
        self.adapters[owner].life = Life::Removing { release };
        let mut bounds = (0, self.adapters[owner].allocs);
        for slot in self.slots.values_mut() {
            bounds.0 += u64::from(slot.definite().is_some_and(|block| block.owner == owner));
            if slot.candidates.iter().any(|block| block.owner == owner) {
                bounds.1 += 1;
                if release {
                    slot.pending += 1;
                    slot.contested = true;
                }
            }
        }
        bounds
    }

    /// It has ended.
    pub fn end_removal(&mut self, owner: usize) {
        let release = self.adapters[owner].life == Life::Removing { release: true };
        self.adapters[owner].life = if release { Life::Released } else { Life::Kept };
        if !release {
            return;
        }
        for slot in self.slots.values_mut() {
            let before = slot.candidates.len();
            slot.candidates.retain(|block| block.owner != owner);
            let gone = (before - slot.candidates.len()) as i64;
            slot.balance -= gone;
            slot.pending -= gone;
        }
        let addresses: Vec<u64> = self.slots.keys().copied().collect();
        addresses.into_iter().for_each(|address| self.rest(address));
    }

    /// Whether an adapter's blocks may be released: all of them known, none being freed.
    pub fn may_release(&self, owner: usize) -> bool {
        let mine = |slot: &&Slot| slot.candidates.iter().any(|block| block.owner == owner);
        self.adapters[owner].frees == 0
            && self.slots.values().filter(mine).all(|slot| slot.definite().is_some())
    }

    /// With no call under way: every address is free or live. Gives those that might be several blocks, or
    /// a block or none: a late free may also have taken what an allocation was about to undo.
    pub fn settle(&mut self) -> Vec<Doubt> {
        let undone = std::mem::replace(&mut self.settled, self.undone) < self.undone;
        self.slots.retain(|_, slot| {
            slot.balance == 1 || undone && !slot.candidates.is_empty() || {
                assert!(slot.balance == 0 || undone && slot.balance < 0, "freed more often than allocated");
                false
            }
        });
        let mut doubts = Vec::new();
        for (&address, slot) in &self.slots {
            assert!(slot.balance <= 1 && slot.pending == 0, "{address:#x} is there twice: {slot:?}");
            if slot.balance != 1 || slot.candidates.len() != 1 {
                let blocks = slot.candidates.clone();
                doubts.push(Doubt { address, blocks, must_be: slot.balance == 1 });
            }
        }
        doubts
    }

    /// Whether a request fits, if that can be told.
    pub fn room(&self, bytes: u32, range: (u64, u64)) -> Option<bool> {
        let live: Option<Vec<_>> = self
            .slots
            .iter()
            .map(|(&address, slot)| slot.definite().map(|block| (address - range.0, block.bytes)))
            .collect();
        crate::common::room(range.1, live?.into_iter(), bytes)
    }
}
