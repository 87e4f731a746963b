//! How many blocks may be live, and what was free at a refusal.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Reservations. Usable in a signal handler.
pub(super) struct Budget {
    /// Never less than the live blocks.
    reserved: AtomicU64,
    /// No reservation goes beyond.
    limit: AtomicU64,
    /// With so many live blocks or fewer, no request may be refused.
    safe: u64,
    /// How often a reservation went beyond `safe`.
    beyond: AtomicU64,
}

/// One reservation, and what was to be seen when it was made.
#[derive(Clone, Copy)]
pub(super) struct Reserved {
    within: bool,
    beyond: u64,
}

impl Budget {
    pub(super) const fn new(safe: u64) -> Budget {
        Budget { reserved: AtomicU64::new(0), limit: AtomicU64::new(safe), safe, beyond: AtomicU64::new(0) }
    }

    pub(super) fn set_limit(&self, limit: u64) {
        self.limit.store(limit, SeqCst);
    }

    /// Reserves a block, if the budget has one.
    pub(super) fn reserve(&self) -> Option<Reserved> {
        let limit = self.limit.load(SeqCst);
        let before =
            self.reserved.fetch_update(SeqCst, SeqCst, |now| (now < limit).then_some(now + 1)).ok()?;
        // Before the block is allocated: whoever has a block that goes beyond has said so.
        if before >= self.safe {
            self.beyond.fetch_add(1, SeqCst);
        }
        let beyond = self.beyond.load(SeqCst);
        Some(Reserved { within: self.reserved.load(SeqCst) <= self.safe, beyond })
    }

    /// Gives a reservation back, whose block is free.
    pub(super) fn release(&self) {
        self.reserved.fetch_sub(1, SeqCst);
    }

    /// Gives the reservation of a refused request back. `true`: from the reservation until now no more than the safe
    /// number of blocks was live at any time, so the refusal was wrong.
    ///
    /// If more had been, a reservation would have gone beyond in between; and it says so before its block is allocated.
    pub(super) fn refused(&self, reserved: Reserved) -> bool {
        let within = self.reserved.load(SeqCst) <= self.safe;
        let wrong = reserved.within && within && self.beyond.load(SeqCst) == reserved.beyond;
        self.release();
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_wrong_only_if_there_was_room_all_the_time() {
        let budget = Budget::new(2);
        let first = budget.reserve().unwrap();
        assert!(budget.refused(first));
        let _kept = budget.reserve().unwrap();
        let second = budget.reserve().unwrap();
        assert!(budget.reserve().is_none(), "the budget ends at the safe limit");
        budget.set_limit(3);
        let third = budget.reserve().unwrap();
        assert!(!budget.refused(third), "it went beyond itself");
        assert!(!budget.refused(second), "somebody went beyond in between");
        let again = budget.reserve().unwrap();
        assert!(budget.refused(again));
    }
}
