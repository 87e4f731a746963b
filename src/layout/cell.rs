//! Counter cells: how many allocations an account has counted, in one class, on one CPU or in the shared row.
//!
//! A cell is emptied before its account gets another owner, and then its upper bits change. So whoever counts outside a
//! section loads the cell, looks at the account, and exchanges the very word: that fails when the cell was emptied
//! meanwhile, and nobody counts for another owner (I13). Sections count by plain stores; the remover fences them first.

use super::block::Account;
use super::classes::Class;
use super::meta::Meta;
use crate::sync::{AtomicU64, Ordering};

/// Bits of the count. Those above say how often the cell was emptied, modulo 2^16.
const COUNT_BITS: u32 = 48;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

/// The count in a cell of a CPU's.
const fn count_of(cell: u64) -> u64 {
    cell & COUNT
}

/// The count in a cell of the shared row, which is below zero while another row has what was taken back here.
const fn balance_of(cell: u64) -> u64 {
    ((cell << (64 - COUNT_BITS)) as i64 >> (64 - COUNT_BITS)) as u64
}

/// Adds to a cell; `count` may be below zero. `false`: `valid` said no, after the cell was read.
#[inline]
pub(crate) fn add_to_cell(cell: &AtomicU64, count: u64, valid: impl Fn() -> bool) -> bool {
    loop {
        // ORDERING: Acquire - before the look at the account. Pairs with the Release in `empty_cell`: who sees an emptied
        // cell sees that its account was closed.
        let seen = cell.load(Ordering::Acquire);
        if !valid() {
            return false;
        }
        let sum = seen & !COUNT | seen.wrapping_add(count) & COUNT;
        // ORDERING: Release - what is taken back was counted before; pairs with the Acquire in `count`.
        if cell.compare_exchange(seen, sum, Ordering::Release, Ordering::Relaxed).is_ok() {
            return true;
        }
    }
}

/// Counts in a cell that was `seen` before the account was found open. `false`: it was emptied since, or another thread
/// of the same cache counted.
#[inline(always)]
pub(crate) fn count_seen(cell: &AtomicU64, seen: u64, count: u64) -> bool {
    // ORDERING: Relaxed - read after the walk; the state's Release follows (I8).
    cell.compare_exchange(seen, seen.wrapping_add(count), Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Takes all that a cell holds, if `valid` says yes after it was read. Who read it before fails to count.
pub(crate) fn empty_cell(cell: &AtomicU64, valid: impl Fn() -> bool) -> Option<u64> {
    loop {
        // ORDERING: Acquire - before the look at the account, as in `add_to_cell`.
        let seen = cell.load(Ordering::Acquire);
        if !valid() {
            return None;
        }
        let empty = (seen & !COUNT).wrapping_add(1 << COUNT_BITS);
        // ORDERING: AcqRel - Release: the account was closed before; Acquire: nothing that was counted comes later.
        if cell.compare_exchange(seen, empty, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            return Some(count_of(seen));
        }
    }
}

impl Meta {
    /// An account's cell in the shared row; the only one that an *other* account has.
    pub(crate) fn shared_cell(&self, account: Account, class: Class) -> &AtomicU64 {
        if account.is_other() {
            self.other_cell(account, class)
        } else {
            self.cell(self.control().cpus, account, class)
        }
    }

    /// Allocations counted under an account, in one class.
    pub(crate) fn count(&self, account: Account, class: Class) -> u64 {
        // ORDERING: Acquire, both - read after the walk (I8). The shared row first: what it takes back
        // was counted before, there or in another row; pairs with the Release in `add_to_cell`.
        let shared = balance_of(self.shared_cell(account, class).load(Ordering::Acquire));
        let cpus = if account.is_other() { 0 } else { self.control().cpus };
        let own = (0..cpus).map(|cpu| count_of(self.cell(cpu, account, class).load(Ordering::Acquire)));
        own.fold(shared, u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A count that comes too late is refused, though the cell holds the same count again; and one below zero is kept.
    #[test]
    fn a_late_count_is_refused() {
        let cell = AtomicU64::new(7);
        let seen = cell.load(Ordering::Relaxed);
        assert_eq!(empty_cell(&cell, || false), None);
        assert_eq!(empty_cell(&cell, || true), Some(7));
        assert!(add_to_cell(&cell, 7, || true));
        assert!(!count_seen(&cell, seen, 1));
        assert!(!add_to_cell(&cell, 1, || false));
        assert!(add_to_cell(&cell, 1, || true));
        assert_eq!(count_of(cell.load(Ordering::Relaxed)), 8);
        assert!(add_to_cell(&cell, 10u64.wrapping_neg(), || true));
        assert_eq!(balance_of(cell.load(Ordering::Relaxed)), 2u64.wrapping_neg());
        assert_eq!(empty_cell(&cell, || true), Some(2u64.wrapping_neg() & COUNT));
        assert_eq!(cell.load(Ordering::Relaxed), 2 << COUNT_BITS);
    }
}
