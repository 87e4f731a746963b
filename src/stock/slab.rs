//! Slabs: spans of one class. A slab is carved lazily; the carve word of its class says how far.

use crate::layout::block::BlockId;
use crate::layout::classes::{Class, SpanSize};
use crate::layout::cursor::Cursor;
use crate::layout::meta::Meta;
use crate::layout::page_map::Entry;
use crate::sync::Ordering;

/// The carve word: span + 1 above, next block below; 0 = no slab is being carved.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Carve(u64);

impl Carve {
    const fn new(span: u32, next: u32) -> Carve {
        Carve((span as u64 + 1) << 32 | next as u64)
    }

    const fn span(self) -> u32 {
        (self.0 >> 32) as u32 - 1
    }

    const fn next(self) -> u32 {
        self.0 as u32
    }

    /// Whether this span is the one that is being carved.
    const fn is_of(self, span: u32) -> bool {
        self.0 != 0 && self.span() == span
    }

    /// How many blocks of a slab of the class were carved.
    const fn carved_of(self, class: Class, span: u32, size: SpanSize) -> u32 {
        if self.is_of(span) { self.next() } else { class.per_slab(size) }
    }
}

/// A run of never-used blocks of one slab, in the caller's hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    class: Class,
    span: u32,
    size: SpanSize,
    next: u32,
    end: u32,
}

impl Iterator for Run {
    type Item = BlockId;

    fn next(&mut self) -> Option<BlockId> {
        if self.next == self.end {
            return None;
        }
        let in_slab = self.class.nth_carved(self.next, self.span, self.size);
        let block = BlockId(BlockId::first_of(self.span, self.size).0 + in_slab);
        self.next += 1;
        Some(block)
    }
}

impl Run {
    /// Fills an empty magazine in hand, so that the run comes out in address order.
    pub(crate) fn fill(self, meta: &Meta, magazine: Cursor) -> Cursor {
        let room = magazine.room() - (self.end - self.next);
        for (n, block) in self.enumerate() {
            // ORDERING: Relaxed - the magazine is in hand; its transfer publishes.
            meta.magazine_entry(magazine.magazine(), room + n as u32).store(block.0, Ordering::Relaxed);
        }
        magazine.with_room(room)
    }
}

impl Meta {
    /// Takes up to `want` blocks that were never used from the class's current slab.
    pub(crate) fn carve(&self, class: Class, want: u32) -> Option<Run> {
        let word = &self.depot(class).slabs.carve;
        let size = self.span_size();
        let blocks = class.per_slab(size);
        // ORDERING: Acquire - the slab's page-map entry; pairs with the Release in `adopt_slab`.
        let mut seen = Carve(word.load(Ordering::Acquire));
        loop {
            if seen.0 == 0 {
                return None;
            }
            let end = (seen.next() + want).min(blocks);
            let rest = if end == blocks { 0 } else { Carve::new(seen.span(), end).0 };
            // ORDERING: Acquire - as above. Lock-free: a failure is another one's progress.
            match word.compare_exchange(seen.0, rest, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(Run { class, span: seen.span(), size, next: seen.next(), end }),
                Err(now) => seen = Carve(now),
            }
        }
    }

    /// Makes a span in hand the class's current slab, or gives it back if there is one. `false`: one came up
    /// meanwhile, the span is still in hand, and retired: before it is given back, sections must be fenced.
    #[must_use]
    pub(crate) fn adopt_slab(&self, class: Class, span: u32) -> bool {
        // ORDERING: Relaxed - a first look, before anyone can see the span as a slab.
        if self.depot(class).slabs.carve.load(Ordering::Relaxed) != 0 {
            self.give_spans(span, 1);
            return true;
        }
        self.forget_states(class, span);
        #[cfg(storport_pool_asan)]
        self.poison_span(span);
        let entry = self.control().geometry.slab_entry(class, span).0;
        // ORDERING: Release - a walker that sees the entry sees the span's former use ended.
        self.span_entry(span).store(entry, Ordering::Release);
        let depot = self.depot(class);
        // ORDERING: Relaxed - a statistic and a hint.
        depot.slabs.count.fetch_add(1, Ordering::Relaxed);
        // ORDERING: Release - the entries; pairs with the Acquire in `carve`.
        let current = depot.slabs.carve.compare_exchange(
            0,
            Carve::new(span, 0).0,
            Ordering::Release,
            Ordering::Relaxed,
        );
        if current.is_err() {
            self.retire_slab(class, span);
        }
        current.is_ok()
    }

    /// Ends a slab of which the caller holds every carved block. The span is in hand afterwards.
    pub(crate) fn retire_slab(&self, class: Class, span: u32) {
        // ORDERING: Relaxed - published with the span's bit (Release in `give_spans`).
        self.span_entry(span).store(Entry::NONE.0, Ordering::Relaxed);
        // ORDERING: Relaxed - a statistic and a hint.
        self.depot(class).slabs.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many blocks of a slab were carved.
    pub(crate) fn carved(&self, class: Class, span: u32) -> u32 {
        // ORDERING: Relaxed - `close_slab` looks again.
        Carve(self.depot(class).slabs.carve.load(Ordering::Relaxed)).carved_of(class, span, self.span_size())
    }

    /// Whether `held` blocks are all that was carved of the slab; if it is being carved, the rest
    /// is taken, so that nobody carves on.
    pub(crate) fn close_slab(&self, class: Class, span: u32, held: u32) -> bool {
        let word = &self.depot(class).slabs.carve;
        // ORDERING: Relaxed - the CAS decides.
        let seen = Carve(word.load(Ordering::Relaxed));
        seen.carved_of(class, span, self.span_size()) == held
            && (!seen.is_of(span)
                // ORDERING: Acquire - what the last carver did.
                || word.compare_exchange(seen.0, 0, Ordering::Acquire, Ordering::Relaxed).is_ok())
    }

    /// Retires a slab of which all carved blocks are loose. Then the span is in hand.
    pub(crate) fn retire_vacant(&self, class: Class, span: u32) -> bool {
        let carved = self.carved(class, span);
        if self.count_loose(class, span) != carved {
            return false;
        }
        let Some(taken) = self.take_all_loose(class, span, carved) else { return false };
        let ours = self.close_slab(class, span, carved);
        if ours {
            self.retire_slab(class, span);
        } else {
            // Somebody carved on. These need not be the first blocks that were carved: one of those may be live by now, and
            // one that was carved since be loose.
            self.put_all_loose(span, &taken);
        }
        ours
    }

    /// Undoes the retirement of a span in hand: all its blocks are loose.
    pub(crate) fn restore_slab(&self, class: Class, span: u32) {
        // ORDERING: Release - as in `adopt_slab`.
        let entry = self.control().geometry.slab_entry(class, span).0;
        self.span_entry(span).store(entry, Ordering::Release);
        // ORDERING: Relaxed - a statistic and a hint.
        self.depot(class).slabs.count.fetch_add(1, Ordering::Relaxed);
        self.put_carved_loose(class, span, class.per_slab(self.span_size()));
    }

    /// Makes the first `count` blocks to be carved of a slab loose. The caller holds them.
    fn put_carved_loose(&self, class: Class, span: u32, count: u32) {
        (0..count).for_each(|n| {
            let in_slab = class.nth_carved(n, span, self.span_size());
            self.put_loose(class, BlockId(self.first_of(span).0 + in_slab));
        });
    }

    /// The slab that is being carved, and its next block.
    #[cfg(all(feature = "alloc", not(storport_pool_loom)))]
    pub(crate) fn carving(&self, class: Class) -> Option<(u32, u32)> {
        // ORDERING: Relaxed - the caller has the metadata to itself.
        let word = self.depot(class).slabs.carve.load(Ordering::Relaxed);
        (word != 0).then_some((((word >> 32) as u32).wrapping_sub(1), word as u32))
    }

    /// How many slabs a class has.
    pub(crate) fn slabs(&self, class: Class) -> u32 {
        // ORDERING: Relaxed - a statistic and a hint.
        self.depot(class).slabs.count.load(Ordering::Relaxed)
    }
}
