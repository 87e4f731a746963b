//! Loose blocks: free ones that lie in no magazine, since their free could use neither a cursor nor a magazine. Each
//! is a bit in its slab's bitmap, and its span a bit in its class's. Freed large runs are bits in their class's alone.
//!
//! To put is one `fetch_or` a bitmap, whatever others do: no link, no gap, no memory. Who takes clears bits, so nobody
//! holds a claim that keeps others out.

use super::parts::{Parts, each_bit};
use crate::layout::block::BlockId;
use crate::layout::classes::{Class, LARGE, MOST_SPAN_GRAINS};
use crate::layout::cursor::Cursor;
use crate::layout::meta::Meta;
use crate::sync::{AtomicU64, Ordering};

/// Words of a slab's bitmap at most.
const MOST_WORDS: usize = MOST_SPAN_GRAINS as usize / 64;

/// A slab's loose blocks, in hand.
pub(crate) struct TakenBits([u64; MOST_WORDS]);

/// The lowest `most` bits that are set in `bits`.
fn lowest(bits: u64, most: u32) -> u64 {
    if bits.count_ones() <= most {
        return bits;
    }
    let mut rest = bits;
    (0..most).for_each(|_| rest &= rest.wrapping_sub(1));
    bits & !rest
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
    pub(super) fn mark_loose(&self, class: Class, span: u32) {
        // ORDERING: Release - the bit in the slab's bitmap; pairs with the Acquire in `unmark_loose`.
        self.loose_spans(class, span as usize / 64).fetch_or(1 << (span % 64), Ordering::Release);
        self.loose_parts(class).hint(span as usize / 64);
    }

    fn loose_parts(&self, class: Class) -> Parts<'_> {
        let control = self.control();
        Parts {
            hints: &self.depot(class).loose,
            shift: control.loose_part_shift,
            words: control.geometry.bitmap_words(),
        }
    }

    /// Puts every block of a magazine in hand to the loose ones, and the magazine to the empty ones.
    pub(crate) fn spill_magazine(&self, class: Class, mut magazine: Cursor) {
        // Which word of which slab, and its bits; most magazines have neighbours next to each other.
        let mut open: Option<(u32, u32, u64)> = None;
        let flush = |open: Option<(u32, u32, u64)>| {
            if let Some((span, n, bits)) = open {
                // ORDERING: Release - as in `put_loose`.
                self.loose_word(span, n as usize).fetch_or(bits, Ordering::Release);
                self.mark_loose(class, span);
            }
        };
        while self.entries(class, magazine) > 0 {
            let (block, rest) = self.take_id(magazine);
            magazine = rest;
            let (span, slot) = (self.span_of(block), class.slot_of(block.in_span(self.span_size())));
            match &mut open {
                Some((of, n, bits)) if (*of, *n) == (span, slot / 64) => *bits |= 1 << (slot % 64),
                _ => flush(open.replace((span, slot / 64, 1 << (slot % 64)))),
            }
        }
        flush(open);
        self.give_empty(magazine);
    }

    /// Whether it is worth to look for loose blocks of a class.
    pub(crate) fn may_have_loose(&self, class: Class, all: bool) -> bool {
        self.loose_parts(class).each(all).next().is_some()
    }

    /// The spans of a part that may have loose blocks of a class, as they are found.
    fn spans_in(&self, class: Class, part: usize) -> impl Iterator<Item = u32> {
        self.loose_parts(class).words_of(part).flat_map(move |word| {
            // ORDERING: Relaxed - a first look.
            each_bit(self.loose_spans(class, word).load(Ordering::Relaxed))
                .map(move |bit| word as u32 * 64 + bit)
        })
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
        for part in self.loose_parts(class).each(all) {
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
            self.loose_parts(class).clear(part, || self.spans_in(class, part).next().is_some());
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
            // While they are in hand: afterwards the slab may become a large run, whose mark says that it is freed.
            let class = self.read_span(span).class();
            // ORDERING: Release - as in `put_loose`.
            word.fetch_or(got, Ordering::Release);
            self.mark_loose(class, span);
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

    /// Takes all loose blocks of a slab, if there are as many; else none is in hand.
    ///
    /// Of several who try, the one that gets the first word goes on; the others have taken nothing.
    pub(crate) fn take_all_loose(&self, class: Class, span: u32, count: u32) -> Option<TakenBits> {
        let mut seen = [0; MOST_WORDS];
        for (word, seen) in self.loose_words(class, span).zip(&mut seen) {
            // ORDERING: Relaxed - a first look.
            *seen = word.load(Ordering::Relaxed);
        }
        if seen.iter().map(|bits| bits.count_ones()).sum::<u32>() != count {
            return None;
        }
        let mut taken = 0;
        for (word, &seen) in self.loose_words(class, span).zip(&seen) {
            // ORDERING: Acquire - as in `take_bits`.
            if seen != 0 && word.compare_exchange(seen, 0, Ordering::Acquire, Ordering::Relaxed).is_err() {
                break;
            }
            taken += 1;
        }
        // A block in hand pins its slab: the entry tells whose the bits are.
        let complete =
            taken == class.slots(self.span_size()).div_ceil(64) as usize && self.is_slab_of(class, span);
        if !complete {
            self.put_bits(span, &seen[..taken]);
        }
        complete.then_some(TakenBits(seen))
    }

    /// Gives back exactly the loose blocks that were taken.
    pub(crate) fn put_all_loose(&self, span: u32, taken: &TakenBits) {
        self.put_bits(span, &taken.0);
    }

    /// Puts loose blocks back that were taken of a slab, whatever its class is.
    fn put_bits(&self, span: u32, bits: &[u64]) {
        if bits.iter().all(|&bits| bits == 0) {
            return;
        }
        // While they are in hand: afterwards the slab may become a large run, whose mark says that it is freed.
        let class = self.read_span(span).class();
        debug_assert!(class != LARGE, "a slab's bits are in hand");
        for (n, &bits) in bits.iter().enumerate().filter(|&(_, &bits)| bits != 0) {
            // ORDERING: Release - as in `put_loose`.
            self.loose_word(span, n).fetch_or(bits, Ordering::Release);
        }
        // Of a class that the span no longer has, it is a mark too many, which does no harm.
        self.mark_loose(class, span);
    }

    /// How many loose blocks a slab has.
    pub(crate) fn count_loose(&self, class: Class, span: u32) -> u32 {
        // ORDERING: Relaxed - who takes them counts again.
        self.loose_words(class, span).map(|word| word.load(Ordering::Relaxed).count_ones()).sum()
    }

    /// Whether a large run is freed, and nobody has collected it yet.
    pub(crate) fn is_freed_run(&self, start: u32) -> bool {
        // ORDERING: Relaxed - who takes the mark looks again.
        self.loose_spans(LARGE, start as usize / 64).load(Ordering::Relaxed) >> (start % 64) & 1 != 0
    }

    /// Takes the mark of a freed run: then it is the caller's.
    pub(crate) fn take_freed_run(&self, start: u32) -> bool {
        let bit = 1 << (start % 64);
        // ORDERING: Acquire - the last owner's use of the run; pairs with the Release in `mark_loose`.
        self.loose_spans(LARGE, start as usize / 64).fetch_and(!bit, Ordering::Acquire) & bit != 0
    }

    /// Takes the freed large runs one by one, all or those that are said to be there; whether `each` made use of any.
    pub(crate) fn take_freed_runs(&self, all: bool, mut each: impl FnMut(u32) -> bool) -> bool {
        let mut any = false;
        let parts = self.loose_parts(LARGE);
        for part in parts.each(all) {
            for start in self.spans_in(LARGE, part) {
                if self.take_freed_run(start) {
                    any |= each(start);
                }
            }
            parts.clear(part, || self.spans_in(LARGE, part).next().is_some());
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
    }
}
