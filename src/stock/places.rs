//! Where the free blocks of a page are: in a CPU's cache, in the stock, or not carved yet.
//!
//! Loads only. The words are looked at one after the other while others change them, so a block that moves meanwhile may be
//! found nowhere, or where it was a moment ago.

use crate::contract::block::BlockState;
use crate::layout::block::BlockId;
use crate::layout::classes::{Class, GRAIN, PAGE};
use crate::layout::cursor::{Cursor, MAGAZINE_WORDS};
use crate::layout::meta::Meta;
use crate::stock::parts::each_bit;
use crate::sync::{AtomicU32, Ordering};

/// As many blocks as lie in a page at most.
const MOST: usize = (PAGE / GRAIN) as usize;

/// Some blocks of a slab, one behind the other, and where each is; live ones are in hand here.
pub(crate) struct Places<'a> {
    meta: &'a Meta,
    class: Class,
    span: u32,
    /// The number in its slab of the first block.
    first: u32,
    count: u32,
    states: [BlockState; MOST],
}

impl<'a> Places<'a> {
    /// Looks for `count` blocks of a slab, at most a page's, from number `first` on. Bound: the loads of one word for each
    /// CPU and each 64 magazines of the pool, and one for each entry of the class's magazines that have blocks.
    pub(crate) fn of(meta: &'a Meta, class: Class, span: u32, first: u32, count: u32) -> Places<'a> {
        let count = count.min(MOST as u32);
        let mut places = Places { meta, class, span, first, count, states: [BlockState::InHand; MOST] };
        places.uncarved();
        places.depot();
        for cpu in 0..meta.control().cpus {
            places.cached(meta.cursor(cpu, class), BlockState::Loaded { cpu });
            places.cached(meta.spare(cpu, class), BlockState::Spare { cpu });
        }
        places.loose();
        places
    }

    /// The blocks, from the first one on: each one's first grain, and where it is.
    pub(crate) fn each(&self) -> impl Iterator<Item = (BlockId, BlockState)> {
        self.states.iter().take(self.count as usize).zip(0..).map(|(&state, n)| (self.block(n), state))
    }

    fn block(&self, n: u32) -> BlockId {
        BlockId(self.meta.first_of(self.span).0 + self.class.nth_block(self.first + n))
    }

    fn note(&mut self, block: BlockId, state: BlockState) {
        let size = self.meta.span_size();
        if block.span(size) != self.span {
            return;
        }
        let Some(number) = self.class.number_at(block.in_span(size), size) else { return };
        let n = number.wrapping_sub(self.first);
        if n < self.count && self.block(n) == block {
            self.states[n as usize] = state;
        }
    }

    fn uncarved(&mut self) {
        let size = self.meta.span_size();
        let blocks = self.class.per_slab(size);
        let carved = self.meta.carved(self.class, self.span);
        let first = self.class.first_carved(self.span, size);
        for n in 0..self.count {
            let number = self.first + n;
            if (number + blocks - first) % blocks >= carved {
                self.states[n as usize] = BlockState::NeverCarved;
            }
        }
    }

    fn depot(&mut self) {
        let meta = self.meta;
        for (n, number) in (0..meta.control().geometry.full_words).zip((0u32..).step_by(64)) {
            // ORDERING: Acquire - the entries; pairs with the Release in `publish_magazine`.
            for bit in each_bit(meta.full_word(self.class, n).load(Ordering::Acquire)) {
                if let Some(at) = meta.magazine_numbered(number + bit) {
                    // ORDERING: Relaxed - a look, after the bit.
                    let named = Cursor(meta.magazine_link(at).load(Ordering::Relaxed));
                    if named.is_magazine() && named.magazine() == at {
                        self.entries(named, BlockState::Depot);
                    }
                }
            }
        }
    }

    fn cached(&mut self, word: &AtomicU32, state: BlockState) {
        // ORDERING: Acquire - the entries, of a magazine that was put there by a Release.
        let cursor = Cursor(word.load(Ordering::Acquire));
        let geometry = &self.meta.control().geometry;
        if cursor.is_magazine() && (geometry.arena..geometry.arena_end).contains(&cursor.magazine()) {
            self.entries(cursor, state);
        }
    }

    fn entries(&mut self, magazine: Cursor, state: BlockState) {
        for n in magazine.room()..self.meta.capacity(self.class) {
            self.note(self.meta.get_id(magazine, n), state);
        }
    }

    fn loose(&mut self) {
        let (meta, class) = (self.meta, self.class);
        for n in 0..self.count {
            let slot = class.slot_of(self.block(n).in_span(meta.span_size()));
            if meta.is_loose(self.span, slot) {
                self.states[n as usize] = BlockState::Loose;
            }
        }
    }
}

impl Meta {
    /// Where the magazine of this number lies, in words, if there is one.
    fn magazine_numbered(&self, number: u32) -> Option<u32> {
        let geometry = &self.control().geometry;
        let at = number.checked_mul(MAGAZINE_WORDS)?.checked_add(geometry.arena)?;
        (at < geometry.arena_end).then_some(at)
    }

    /// Whether the block whose state is this word of its slab's area is loose.
    fn is_loose(&self, span: u32, slot: u32) -> bool {
        // ORDERING: Relaxed - a look.
        self.loose_word(span, slot as usize / 64).load(Ordering::Relaxed) >> (slot % 64) & 1 != 0
    }
}
