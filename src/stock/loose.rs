//! Loose blocks: free ones that lie in no magazine, since their free could use neither a cursor nor a magazine. Each
//! is a bit in its slab's bitmap, and its span a bit in its class's. Freed large runs are bits in their class's alone.
//!
//! To put is one `fetch_or` a bitmap, whatever others do: no link, no gap, no memory. Who takes clears bits, so nobody
//! holds a claim that keeps others out.

use crate::layout::block::BlockId;
use crate::layout::classes::{Class, LARGE, MOST_SPAN_GRAINS};
use crate::layout::control::LOOSE_HINTS;
use crate::layout::meta::Meta;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Words of a slab's bitmap at most.
const MOST_WORDS: usize = MOST_SPAN_GRAINS as usize / 64;

/// A slab's loose blocks, in hand.
pub(crate) struct TakenBits([u64; MOST_WORDS]);

impl TakenBits {
    pub(crate) fn count(&self) -> u32 {
        self.0.iter().map(|bits| bits.count_ones()).sum()
    }
}

/// The lowest `most` bits that are set in `bits`.
fn lowest(bits: u64, most: u32) -> u64 {
    if bits.count_ones() <= most {
        return bits;
    }
    let mut rest = bits;
    (0..most).for_each(|_| rest &= rest.wrapping_sub(1));
    bits & !rest
}

/// The numbers of the bits that are set.
fn each_bit(mut bits: u64) -> impl Iterator<Item = u32> {
    core::iter::from_fn(move || {
        let bit = (bits != 0).then(|| bits.trailing_zeros())?;
        bits &= bits - 1;
        Some(bit)
    })
}

impl Meta {
    /// Publishes a free block in hand. Wait-free, needs no memory: two RMWs, one for a large run.
    pub(crate) fn put_loose(&self, class: Class, block: BlockId) {
        let span = self.span_of(block);
        if class != LARGE {
            let slot = class.slot_of(block.in_span(self.span_size()));
            // ORDERING: Release - the caller's use of the block; pairs with the Acquire of who takes the bit.
            self.loose_word(span, slot as usize / 64).fetch_or(1 << (slot % 64), Ordering::Release);
        }
        self.mark_loose(class, span);
    }

    /// Says that a span may have loose blocks.
    fn mark_loose(&self, class: Class, span: u32) {
        // ORDERING: Release - the bit in the slab's bitmap; pairs with the Acquire in `take_loose`.
        self.loose_spans(class, span as usize / 64).fetch_or(1 << (span % 64), Ordering::Release);
        // ORDERING: Relaxed - a hint.
        self.loose_hint(class, (span as usize / 64) >> self.part_shift()).store(1, Ordering::Relaxed);
    }

    /// log2 of the words of a class's bitmap to a part of the range.
    fn part_shift(&self) -> u32 {
        self.control().loose_part_shift
    }

    /// The hint of a part of the range; of a number too high, the last one's, so that free has no panic to reach.
    fn loose_hint(&self, class: Class, part: usize) -> &AtomicU32 {
        &self.depot(class).loose.0[part.min(LOOSE_HINTS - 1)]
    }

    /// The parts of the range that may have loose blocks: all, or those that are said to. Others may have some too; never
    /// for good.
    fn loose_parts(&self, class: Class, all: bool) -> impl Iterator<Item = usize> {
        // ORDERING: Relaxed - a hint.
        (0..LOOSE_HINTS).filter(move |&part| all || self.loose_hint(class, part).load(Ordering::Relaxed) != 0)
    }

    /// Whether it is worth to look for loose blocks of a class.
    pub(crate) fn may_have_loose(&self, class: Class, all: bool) -> bool {
        self.loose_parts(class, all).next().is_some()
    }

    /// The words of a part of a class's bitmap of spans.
    fn words_of(&self, part: usize) -> core::ops::Range<usize> {
        let (shift, end) = (self.part_shift(), self.control().geometry.bitmap_words());
        (part << shift).min(end)..((part + 1) << shift).min(end)
    }

    /// The spans of a part that may have loose blocks of a class, as they are found.
    fn spans_in(&self, class: Class, part: usize) -> impl Iterator<Item = u32> {
        self.words_of(part).flat_map(move |word| {
            // ORDERING: Relaxed - a first look.
            each_bit(self.loose_spans(class, word).load(Ordering::Relaxed))
                .map(move |bit| word as u32 * 64 + bit)
        })
    }

    /// All spans that may have loose blocks of a class, as they are found.
    pub(crate) fn spans_with_loose(&self, class: Class) -> impl Iterator<Item = u32> {
        (0..LOOSE_HINTS).flat_map(move |part| self.spans_in(class, part))
    }

    /// The words of a slab's bitmap.
    fn loose_words(&self, class: Class, span: u32) -> impl Iterator<Item = &AtomicU64> {
        (0..class.slots(self.span_size()).div_ceil(64) as usize).map(move |n| self.loose_word(span, n))
    }

    /// Takes up to `most` loose blocks of a class, from all parts of the range or those that are said to have some; how
    /// many.
    ///
    /// A mark may be older than its slab: then the span's bits are another class's. A block in hand pins its slab
    /// (I5), so the entry as it is read after the bits were taken tells whose they are.
    pub(crate) fn take_loose(
        &self,
        class: Class,
        all: bool,
        most: u32,
        mut each: impl FnMut(BlockId),
    ) -> u32 {
        let mut taken = 0;
        for part in self.loose_parts(class, all) {
            for span in self.spans_in(class, part) {
                for (n, word) in self.loose_words(class, span).enumerate() {
                    let got = self.take_bits(class, span, word, most - taken);
                    taken += got.count_ones();
                    each_bit(got).for_each(|bit| {
                        each(BlockId(self.first_of(span).0 + class.grain_at(n as u32 * 64 + bit)));
                    });
                }
                if taken == most {
                    return taken;
                }
                self.unmark_loose(class, span);
            }
            self.unhint_loose(class, part);
        }
        taken
    }

    /// Takes up to `most` bits of a word of a slab's bitmap.
    fn take_bits(&self, class: Class, span: u32, word: &AtomicU64, most: u32) -> u64 {
        // ORDERING: Relaxed - a first look.
        let wanted = lowest(word.load(Ordering::Relaxed), most);
        if wanted == 0 || !self.is_slab_of(class, span) {
            return 0;
        }
        // ORDERING: Acquire - the last owner's use of the blocks; pairs with the Release in `put_loose`.
        let got = word.fetch_and(!wanted, Ordering::Acquire) & wanted;
        if got != 0 && !self.is_slab_of(class, span) {
            // ORDERING: Release - as in `put_loose`.
            word.fetch_or(got, Ordering::Release);
            self.mark_loose(self.read_span(span).class(), span);
            return 0;
        }
        got
    }

    /// Whether a span is a slab of this class.
    fn is_slab_of(&self, class: Class, span: u32) -> bool {
        let entry = self.read_span(span);
        !entry.is_none() && entry.class() == class
    }

    /// Whether a slab has loose blocks.
    fn has_loose(&self, class: Class, span: u32) -> bool {
        // ORDERING: Relaxed - a look.
        self.is_slab_of(class, span)
            && self.loose_words(class, span).any(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// Says that a span has no loose blocks, unless it has.
    fn unmark_loose(&self, class: Class, span: u32) {
        // ORDERING: AcqRel - Acquire: what was put before this mark, or another one of the word; a bit whose mark
        // comes behind is marked. Release: keeps that order for who changes the word next.
        self.loose_spans(class, span as usize / 64).fetch_and(!(1 << (span % 64)), Ordering::AcqRel);
        if self.has_loose(class, span) {
            self.mark_loose(class, span);
        }
    }

    /// Takes all loose blocks of a slab. The caller holds the reclaim claim.
    pub(crate) fn take_all_loose(&self, class: Class, span: u32) -> TakenBits {
        let mut taken = TakenBits([0; MOST_WORDS]);
        for (word, taken) in self.loose_words(class, span).zip(&mut taken.0) {
            // ORDERING: Relaxed - a first look.
            if word.load(Ordering::Relaxed) != 0 {
                // ORDERING: Acquire - as in `take_loose`.
                *taken = word.swap(0, Ordering::Acquire);
            }
        }
        taken
    }

    /// Puts them back.
    pub(crate) fn put_all_loose(&self, class: Class, span: u32, taken: &TakenBits) {
        for (word, &bits) in self.loose_words(class, span).zip(&taken.0).filter(|&(_, &bits)| bits != 0) {
            // ORDERING: Release - as in `put_loose`.
            word.fetch_or(bits, Ordering::Release);
        }
        self.mark_loose(class, span);
    }

    /// How many loose blocks a slab has.
    pub(crate) fn count_loose(&self, class: Class, span: u32) -> u32 {
        if !self.is_slab_of(class, span) {
            return 0;
        }
        // ORDERING: Relaxed - who takes them counts again.
        self.loose_words(class, span).map(|word| word.load(Ordering::Relaxed).count_ones()).sum()
    }

    /// Says that a part of the range has no loose blocks of a class, unless it has.
    fn unhint_loose(&self, class: Class, part: usize) {
        let hint = self.loose_hint(class, part);
        // ORDERING: Relaxed, all - a hint. Who must not miss a block looks without it.
        if hint.load(Ordering::Relaxed) != 0 {
            hint.store(0, Ordering::Relaxed);
            if self.spans_in(class, part).next().is_some() {
                hint.store(1, Ordering::Relaxed);
            }
        }
    }

    /// Takes the freed large runs, all or those that are said to be there, as they are found; whether there were any.
    pub(crate) fn take_freed_runs(&self, all: bool, mut each: impl FnMut(u32)) -> bool {
        let mut any = false;
        for part in self.loose_parts(LARGE, all) {
            for n in self.words_of(part) {
                let word = self.loose_spans(LARGE, n);
                // ORDERING: Relaxed - a first look.
                if word.load(Ordering::Relaxed) != 0 {
                    // ORDERING: Acquire - the last owner's use of the run; pairs with the Release in `mark_loose`.
                    let got = word.swap(0, Ordering::Acquire);
                    any |= got != 0;
                    each_bit(got).for_each(|bit| each(n as u32 * 64 + bit));
                }
            }
            self.unhint_loose(LARGE, part);
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_bits() {
        assert_eq!(lowest(0b1011_0100, 2), 0b1_0100);
        assert_eq!(lowest(0b1011_0100, 4), 0b1011_0100);
        assert_eq!(lowest(u64::MAX, 64), u64::MAX);
        assert_eq!(lowest(u64::MAX, 0), 0);
        assert!(each_bit(1 << 63 | 5).eq([0, 2, 63]));
    }
}
