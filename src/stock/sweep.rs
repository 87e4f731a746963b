//! Sweeps: everything free of one class is gathered, empty slabs are retired, the rest goes back.

use super::queue::Popped;
use crate::layout::classes::{Class, SLAB_CLASSES};
use crate::layout::cursor::Cursor;
use crate::layout::header::BlockId;
use crate::layout::meta::{Claim, Meta};
use crate::percpu::Platform;
use crate::sync::Ordering;

/// A span word's mark: this slab is retired. The low bits chain to the next such span, + 1.
const RETIRED: u32 = 1 << 31;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Swept {
    /// Slabs that became free spans.
    pub(crate) retired: u32,
    /// Free blocks that went back to the depot.
    pub(crate) blocks: u32,
    /// Something was in another one's hand.
    pub(crate) contended: bool,
}

/// The free blocks of a class, in the sweeper's hand: magazines chained by their links, and
/// blocks chained by their headers where no magazine was to be had.
struct Hand<'a> {
    meta: &'a Meta,
    class: Class,
    magazines: u32,
    blocks: u32,
}

impl Hand<'_> {
    fn add_magazine(&mut self, magazine: Cursor) {
        // ORDERING: Relaxed - in hand; published by `publish_magazine`.
        self.meta.magazine_link(magazine.magazine()).store(self.magazines, Ordering::Relaxed);
        self.magazines = magazine.0;
    }

    fn magazines(&self) -> impl Iterator<Item = Cursor> {
        let mut next = self.magazines;
        core::iter::from_fn(move || {
            let magazine = (next != 0).then_some(Cursor(next))?;
            // ORDERING: Relaxed - in hand.
            next = self.meta.magazine_link(magazine.magazine()).load(Ordering::Relaxed);
            Some(magazine)
        })
    }

    fn add_block(&mut self, block: BlockId) {
        let word = self.meta.header_of(self.class, block);
        let header = self.meta.read_header(self.class, block);
        // ORDERING: Relaxed - in hand; published by `publish_block`.
        word.store(header.with_link(self.blocks).0, Ordering::Relaxed);
        self.blocks = block.0 + 1;
    }

    fn blocks(&self) -> impl Iterator<Item = BlockId> {
        let mut next = self.blocks;
        core::iter::from_fn(move || {
            let block = (next != 0).then(|| BlockId(next - 1))?;
            next = self.meta.read_header(self.class, block).bytes();
            Some(block)
        })
    }

    fn magazine_ids(&self) -> impl Iterator<Item = BlockId> {
        let (meta, capacity) = (self.meta, self.meta.capacity(self.class));
        self.magazines().flat_map(move |magazine| {
            (magazine.room()..capacity).rev().map(move |n| meta.get_id(magazine, n))
        })
    }

    fn ids(&self) -> impl Iterator<Item = BlockId> {
        self.magazine_ids().chain(self.blocks())
    }

    /// Takes what the caches, the depot and the block queue hold.
    fn gather<P: Platform>(&mut self, platform: &P) -> bool {
        let (meta, class) = (self.meta, self.class);
        let mut contended = false;
        platform.steal(meta, class, |stolen| match stolen {
            Some(magazine) => self.add_magazine(magazine),
            None => contended = true,
        });
        for cpu in 0..meta.control().cpus {
            let spare = meta.spare(cpu, class);
            // ORDERING: Relaxed - a first look.
            if spare.load(Ordering::Relaxed) != 0 {
                // ORDERING: Acquire - the entries; pairs with the Release that put it there.
                let taken = spare.swap(0, Ordering::Acquire);
                if taken != 0 {
                    self.add_magazine(Cursor(taken));
                }
            }
        }
        if meta.depot_is_empty(class) {
            return contended;
        }
        let Some(consumer) = meta.try_consume(class) else {
            return true;
        };
        loop {
            match consumer.magazine() {
                Ok(magazine) => self.add_magazine(magazine),
                Err(end) => {
                    contended |= end == Popped::Gap;
                    break;
                }
            }
        }
        let mut open: Option<Cursor> = None;
        loop {
            match consumer.block() {
                Ok(block) => match open.take().or_else(|| meta.take_empty(class)) {
                    Some(magazine) => {
                        let magazine = meta.put_id(magazine, block);
                        if magazine.is_full() {
                            self.add_magazine(magazine);
                        } else {
                            open = Some(magazine);
                        }
                    }
                    None => self.add_block(block),
                },
                Err(end) => {
                    contended |= end == Popped::Gap;
                    break;
                }
            }
        }
        if let Some(magazine) = open {
            self.add_magazine(magazine);
        }
        contended
    }

    fn word(&self, block: BlockId) -> u32 {
        // ORDERING: Relaxed - span words of this class are the sweeper's.
        self.meta.span_word(block.span()).load(Ordering::Relaxed)
    }

    fn set_word(&self, span: u32, word: u32) {
        // ORDERING: Relaxed - as in `word`; retired ones are published with their bit.
        self.meta.span_word(span).store(word, Ordering::Relaxed);
    }

    /// Retires every slab of which all carved blocks are in hand. Returns the chain of them.
    fn retire(&self) -> (u32, u32) {
        for block in self.ids() {
            self.set_word(block.span(), self.word(block) + 1);
        }
        let (mut chain, mut retired) = (0, 0);
        for block in self.ids() {
            let held = self.word(block);
            if held & RETIRED != 0 || held == 0 {
                continue;
            }
            if self.meta.close_slab(self.class, block.span(), held) {
                self.meta.retire_slab(self.class, block.span());
                self.set_word(block.span(), RETIRED | chain);
                chain = block.span() + 1;
                retired += 1;
            } else {
                self.set_word(block.span(), 0);
            }
        }
        (chain, retired)
    }

    /// Gives back every block whose slab lives, in as few magazines as hold them. Returns how many.
    fn give_back(&self) -> u32 {
        let (meta, class) = (self.meta, self.class);
        // Entries move towards the front of the chain; both go downwards in each magazine, and the
        // writer never overtakes the reader, since it fills each to the capacity that none exceeds.
        let capacity = meta.capacity(class);
        let mut kept = 0;
        let mut writers = self.magazines();
        let mut writer = None;
        for block in self.magazine_ids() {
            if self.word(block) & RETIRED != 0 {
                continue;
            }
            let open: Cursor = match writer {
                Some(open) => open,
                None => match writers.next() {
                    Some(next) => next.with_room(capacity),
                    None => break,
                },
            };
            let open = meta.put_id(open, block);
            writer = (!open.is_full()).then_some(open);
            kept += 1;
        }
        let mut left = kept;
        let mut next = self.magazines;
        while next != 0 {
            let magazine = Cursor(next);
            // ORDERING: Relaxed - in hand, read before it is given away.
            next = meta.magazine_link(magazine.magazine()).load(Ordering::Relaxed);
            let entries = left.min(capacity);
            left -= entries;
            if entries == 0 {
                meta.give_empty(magazine);
            } else {
                meta.publish_magazine(class, magazine.with_room(capacity - entries));
            }
        }
        let mut chain = self.blocks;
        while chain != 0 {
            let block = BlockId(chain - 1);
            chain = meta.read_header(class, block).bytes();
            if self.word(block) & RETIRED == 0 {
                meta.publish_block(class, block);
                kept += 1;
            }
        }
        kept
    }
}

impl Meta {
    /// Becomes the one who sweeps or trims, unless somebody is.
    pub(crate) fn try_reclaim(&self) -> Option<Claim<'_>> {
        let claim = self.try_claim(&self.control().reclaim_claim)?;
        if claim.inherited {
            self.reset_counts_slow();
        }
        Some(claim)
    }

    /// Reached once after a fork, if a thread that did not survive it was sweeping.
    #[cold]
    fn reset_counts_slow(&self) {
        for span in 0..self.control().geometry.spans {
            let entry = self.read_entry(span as usize);
            if !entry.is_none() && entry.class().index() < SLAB_CLASSES {
                // ORDERING: Relaxed - the sweeper's word.
                self.span_word(span).store(0, Ordering::Relaxed);
            }
        }
    }

    /// Gathers what is free of a class, wherever it is parked; retires its empty slabs if asked.
    pub(crate) fn sweep<P: Platform>(
        &self,
        platform: &P,
        _reclaim: &Claim<'_>,
        class: Class,
        retire_empty: bool,
    ) -> Swept {
        let mut hand = Hand { meta: self, class, magazines: 0, blocks: 0 };
        let contended = hand.gather(platform);
        let (mut chain, mut retired) = (0, 0);
        let mut idle = None;
        if retire_empty {
            (chain, retired) = hand.retire();
            idle = self.take_idle_slab(class);
            retired += u32::from(idle.is_some());
        }
        let blocks = hand.give_back();
        if retired > 0 {
            // A free of a stale address may have read an entry before it was retired (I5).
            platform.fence_sections(self);
        }
        if let Some(span) = idle {
            self.give_spans(span, 1);
        }
        while chain != 0 {
            let span = chain - 1;
            // ORDERING: Relaxed - the span is in hand.
            chain = self.span_word(span).load(Ordering::Relaxed) & !RETIRED;
            hand.set_word(span, 0);
            self.give_spans(span, 1);
        }
        Swept { retired, blocks, contended }
    }
}
