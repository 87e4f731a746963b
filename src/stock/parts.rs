//! Bitmaps of a class in parts, each with a hint: it says whether to look there at all.
//!
//! Who puts sets the bit, then the hint. Who found a part empty clears its hint, looks again, and sets it if that was
//! wrong. A hint may be lost while the two meet; so who must not miss a bit looks without hints.

use crate::layout::control::{Hints, PARTS};
use crate::sync::Ordering;

/// The parts of one class's bitmap.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) hints: &'a Hints,
    /// log2 of the words to a part.
    pub(crate) shift: u32,
    /// Words of the bitmap.
    pub(crate) words: usize,
}

impl<'a> Parts<'a> {
    /// Says that the part of this word may have something. Of a word too high, the last part, so that free has no panic
    /// to reach.
    pub(crate) fn hint(self, word: usize) {
        // ORDERING: Relaxed - a hint.
        self.hints.0[(word >> self.shift).min(PARTS - 1)].store(1, Ordering::Relaxed);
    }

    /// The parts to look at: all, or those that are said to have something.
    pub(crate) fn each(self, all: bool) -> impl Iterator<Item = usize> + use<'a> {
        // ORDERING: Relaxed - a hint.
        (0..PARTS).filter(move |&part| all || self.hints.0[part].load(Ordering::Relaxed) != 0)
    }

    /// The words of a part.
    pub(crate) fn words_of(self, part: usize) -> core::ops::Range<usize> {
        (part << self.shift).min(self.words)..((part + 1) << self.shift).min(self.words)
    }

    /// Says that a part has nothing, unless it has.
    pub(crate) fn clear(self, part: usize, has: impl FnOnce() -> bool) {
        let hint = &self.hints.0[part];
        // ORDERING: Relaxed, all - a hint.
        if hint.load(Ordering::Relaxed) != 0 {
            hint.store(0, Ordering::Relaxed);
            if has() {
                hint.store(1, Ordering::Relaxed);
            }
        }
    }
}

/// The numbers of the bits that are set.
pub(crate) fn each_bit(mut bits: u64) -> impl Iterator<Item = u32> {
    core::iter::from_fn(move || {
        let bit = (bits != 0).then(|| bits.trailing_zeros())?;
        bits &= bits - 1;
        Some(bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_that_is_set() {
        assert!(each_bit(1 << 63 | 5).eq([0, 2, 63]));
        assert!(each_bit(0).eq([]));
    }
}
