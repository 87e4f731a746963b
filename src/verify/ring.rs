//! A ring of numbers: who puts one takes the one that was there. Wait-free; nobody waits for a call that stands still.

use crate::sync::{AtomicU64, Ordering};

/// A ring of a power of two places; 0 is none.
pub(crate) struct Ring<'a> {
    pub(crate) next: &'a AtomicU64,
    pub(crate) places: &'a [AtomicU64],
}

impl Ring<'_> {
    /// Puts a number, and takes the one that lay there longest, or 0. Two RMWs.
    pub(crate) fn put(&self, number: u64) -> u64 {
        // ORDERING: Relaxed - which place is a matter of order alone.
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        match self.places.get(next as usize & (self.places.len() - 1)) {
            // ORDERING: AcqRel - what was done with the block before it was put here; pairs with itself and `take_each`.
            Some(place) => place.swap(number, Ordering::AcqRel),
            None => number,
        }
    }

    /// Takes all numbers, one after the other. How many there were.
    pub(crate) fn take_each(&self, mut visit: impl FnMut(u64)) -> usize {
        let mut taken = 0;
        for place in self.places {
            // ORDERING: Relaxed, then AcqRel - as in `put`.
            if place.load(Ordering::Relaxed) != 0 {
                let number = place.swap(0, Ordering::AcqRel);
                if number != 0 {
                    taken += 1;
                    visit(number);
                }
            }
        }
        taken
    }

    /// The numbers that are there now.
    pub(crate) fn look(&self) -> impl Iterator<Item = u64> {
        // ORDERING: Relaxed - what was so when it was looked at.
        self.places.iter().map(|place| place.load(Ordering::Relaxed)).filter(|&number| number != 0)
    }
}
