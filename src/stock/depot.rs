//! The depot of one class: the magazines that lie with no CPU. Each is a bit in its class's bitmap; how many blocks it
//! has, it says itself, in its last word.
//!
//! To publish is one store and one `fetch_or`, whatever others do: no link, no gap, no memory. Who takes clears the bit.
//! So nobody holds a claim that keeps others out, and whoever is stopped in here holds one magazine at most.

use super::parts::Parts;
use crate::layout::classes::Class;
use crate::layout::cursor::{Cursor, MAGAZINE_WORDS};
use crate::layout::meta::Meta;
use crate::sync::Ordering;

impl Meta {
    fn depot_parts(&self, class: Class) -> Parts<'_> {
        let control = self.control();
        Parts {
            hints: &self.depot(class).full,
            shift: control.full_part_shift,
            words: control.geometry.full_words,
        }
    }

    /// Publishes a magazine in hand. Wait-free: one RMW.
    pub(crate) fn publish_magazine(&self, class: Class, magazine: Cursor) {
        debug_assert!(magazine.is_magazine());
        let number = (magazine.magazine() - self.control().geometry.arena) / MAGAZINE_WORDS;
        // ORDERING: Relaxed - the magazine is in hand; published by its bit.
        self.magazine_link(magazine.magazine()).store(magazine.0, Ordering::Relaxed);
        // ORDERING: Release - the entries and the word above; pairs with the Acquire of who takes the bit.
        self.full_word(class, number as usize / 64).fetch_or(1 << (number % 64), Ordering::Release);
        self.depot_parts(class).hint(number as usize / 64);
    }

    /// Takes a magazine of a class: from the whole depot, or where one is said to be. Lock-free.
    pub(crate) fn take_magazine(&self, class: Class, all: bool) -> Option<Cursor> {
        let parts = self.depot_parts(class);
        for part in parts.each(all) {
            for n in parts.words_of(part) {
                let word = self.full_word(class, n);
                // ORDERING: Relaxed - a first look.
                let mut seen = word.load(Ordering::Relaxed);
                while seen != 0 {
                    let bit = seen & seen.wrapping_neg();
                    // ORDERING: Acquire - the entries; pairs with the Release in `publish_magazine`.
                    let before = word.fetch_and(!bit, Ordering::Acquire);
                    if before & bit != 0 {
                        let number = n as u32 * 64 + bit.trailing_zeros();
                        let magazine = self.control().geometry.arena + number * MAGAZINE_WORDS;
                        // ORDERING: Relaxed - the magazine is in hand.
                        return Some(Cursor(self.magazine_link(magazine).load(Ordering::Relaxed)));
                    }
                    seen = before & !bit;
                }
            }
            parts.clear(part, || {
                // ORDERING: Relaxed - a look.
                parts.words_of(part).any(|n| self.full_word(class, n).load(Ordering::Relaxed) != 0)
            });
        }
        None
    }
}
