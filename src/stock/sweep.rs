//! Sweeps: everything free of one class is gathered, empty slabs are retired, the rest goes back.

use super::queue::Popped;
use crate::layout::block::BlockId;
use crate::layout::classes::{Class, Classes, SLAB_CLASSES};
use crate::layout::cursor::Cursor;
use crate::layout::meta::Meta;
use crate::percpu::generation::Claim;
use crate::percpu::platform::Platform;
use crate::sync::{AtomicU32, Ordering};

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

/// The magazines of a class, in the sweeper's hand, chained by their links. Loose blocks stay where they are, but for
/// those of a slab that is retired.
struct Hand<'a> {
    meta: &'a Meta,
    class: Class,
    magazines: u32,
}

impl Hand<'_> {
    fn empty(meta: &Meta, class: Class) -> Hand<'_> {
        Hand { meta, class, magazines: 0 }
    }

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

    fn ids(&self) -> impl Iterator<Item = BlockId> {
        let (meta, capacity) = (self.meta, self.meta.capacity(self.class));
        self.magazines().flat_map(move |magazine| {
            (magazine.room()..capacity).rev().map(move |n| meta.get_id(magazine, n))
        })
    }

    /// Takes what every CPU has loaded; says whether some of it could not be had.
    fn take_loaded<P: Platform>(&mut self, platform: &P) -> bool {
        let mut contended = false;
        if self.meta.fence_refused() {
            return contended;
        }
        platform.steal(self.meta, Classes::one(self.class), |_, stolen| match stolen {
            Some(magazine) => self.add_magazine(magazine),
            None => contended = true,
        });
        contended
    }

    /// Takes what spares and depot hold; says whether some of it could not be had.
    fn take_parked(&mut self) -> bool {
        let (meta, class) = (self.meta, self.class);
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
        let mut contended = false;
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
        contended
    }

    fn word(&self, block: BlockId) -> &AtomicU32 {
        self.meta.span_word(block.span())
    }

    /// Retires every slab of which all carved blocks are in hand or loose.
    fn retire(&self, retired: &mut Retired<'_>) {
        let meta = self.meta;
        if meta.fence_refused() {
            return;
        }
        for block in self.ids() {
            let word = self.word(block);
            // ORDERING: Relaxed, here and below - span words of this class are the sweeper's.
            word.store(word.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        for block in self.ids() {
            let word = self.word(block);
            let held = word.load(Ordering::Relaxed);
            if held & RETIRED == 0 && held != 0 && !self.retire_slab(block.span(), held, retired) {
                word.store(0, Ordering::Relaxed);
            }
        }
        // And those whose carved blocks are all loose.
        for span in meta.spans_with_loose(self.class) {
            if meta.span_word(span).load(Ordering::Relaxed) & RETIRED == 0 {
                self.retire_slab(span, 0, retired);
            }
        }
        if let Some(span) = meta.take_idle_slab(self.class) {
            retired.add(span);
        }
    }

    /// Retires a slab of which so many blocks are in hand, if the loose ones are all others that were carved.
    fn retire_slab(&self, span: u32, held: u32, retired: &mut Retired<'_>) -> bool {
        let (meta, class) = (self.meta, self.class);
        let loose = meta.count_loose(class, span);
        if held + loose == 0 || held + loose != meta.carved(class, span) {
            return false;
        }
        // Others may put and take until the bits are in hand; then these are all, or the slab stays.
        let taken = meta.take_all_loose(class, span);
        if !meta.close_slab(class, span, held + taken.count()) {
            meta.put_all_loose(class, span, &taken);
            return false;
        }
        meta.retire_slab(class, span);
        retired.add(span);
        true
    }

    fn is_retired(&self, block: BlockId) -> bool {
        // ORDERING: Relaxed - the sweeper's word.
        self.word(block).load(Ordering::Relaxed) & RETIRED != 0
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
        for block in self.ids() {
            if self.is_retired(block) {
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
        kept
    }
}

/// The spans of retired slabs, in hand, chained by their span words.
struct Retired<'a> {
    meta: &'a Meta,
    chain: u32,
    count: u32,
}

impl Retired<'_> {
    fn none(meta: &Meta) -> Retired<'_> {
        Retired { meta, chain: 0, count: 0 }
    }

    fn add(&mut self, span: u32) {
        // ORDERING: Relaxed - in hand; published with the span's bit.
        self.meta.span_word(span).store(RETIRED | self.chain, Ordering::Relaxed);
        self.chain = span + 1;
        self.count += 1;
    }

    /// Gives the spans away; how many.
    fn give<P: Platform>(self, platform: &P) -> u32 {
        // A free of a stale address may have read an entry before it was retired (I5).
        if self.count == 0 || !platform.fence_sections(self.meta) {
            return 0;
        }
        let mut next = self.chain;
        while next != 0 {
            let span = next - 1;
            let word = self.meta.span_word(span);
            // ORDERING: Relaxed, both - the span is in hand.
            next = word.load(Ordering::Relaxed) & !RETIRED;
            word.store(0, Ordering::Relaxed);
            self.meta.give_spans(span, 1);
        }
        self.count
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

    /// Gathers what is free of a class, wherever it is; retires its empty slabs if asked.
    pub(crate) fn sweep<P: Platform>(
        &self,
        platform: &P,
        _reclaim: &Claim<'_>,
        class: Class,
        retire_empty: bool,
    ) -> Swept {
        let mut hand = Hand::empty(self, class);
        let loaded = hand.take_loaded(platform);
        let contended = hand.take_parked() || loaded;
        let mut retired = Retired::none(self);
        if retire_empty {
            hand.retire(&mut retired);
        }
        let blocks = hand.give_back();
        Swept { retired: retired.give(platform), blocks, contended }
    }

    /// Retires the empty slabs of all classes; how many.
    ///
    /// Two fences for all of them, since each interrupts the other CPUs: what they have loaded is laid
    /// into the depots first. What they take from there meanwhile stays with them.
    pub(crate) fn sweep_all<P: Platform>(&self, platform: &P, _reclaim: &Claim<'_>) -> u32 {
        if !self.fence_refused() {
            platform.steal(self, Classes::ALL, |class, stolen| {
                if let Some(magazine) = stolen {
                    self.publish_magazine(class, magazine);
                }
            });
        }
        let mut retired = Retired::none(self);
        for class in Classes::ALL.iter().filter(|&class| self.slabs(class) > 0) {
            let mut hand = Hand::empty(self, class);
            // What cannot be had now is left for the next time.
            let _ = hand.take_parked();
            hand.retire(&mut retired);
            hand.give_back();
        }
        retired.give(platform)
    }
}
