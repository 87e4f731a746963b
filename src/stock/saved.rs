//! Metadata that was saved, looked at before anybody uses it: each index leads somewhere, and each block is in one place.
//!
//! The caller has it to itself. Whatever its words are, this ends, and touches nothing outside of it.

use crate::contract::adapter::AdapterId;
use crate::contract::fault::ImageFault;
use crate::layout::block::BlockId;
use crate::layout::classes::{CLASS_SLOTS, CLASSES, Class, GRAIN, LARGE, LARGE_BODY, SLAB_CLASSES};
use crate::layout::control::PARTS;
use crate::layout::cursor::{Cursor, MAGAZINE_WORDS};
use crate::layout::geometry::{Geometry, LEVELS};
use crate::layout::meta::Meta;
use crate::layout::page_map::Entry;
use crate::layout::state::{LIVE, State};
use crate::layout::zeroed::Zeroed;
use crate::stock::large::spans_for;
use crate::stock::parts::each_bit;
use crate::sync::Ordering;

/// A set of small numbers.
struct Set(Zeroed);

impl Set {
    /// `None`: there is no memory for it.
    fn new(numbers: usize) -> Option<Set> {
        Some(Set(Zeroed::new(numbers.div_ceil(64) * 8)?))
    }

    /// `false`: it was there.
    fn add(&mut self, number: u32) -> bool {
        let Some(word) = self.0.words().get_mut(number as usize / 64) else { return false };
        let seen = *word;
        *word |= 1 << (number % 64);
        seen != *word
    }
}

/// A look at saved metadata, and what it has met so far.
pub(crate) struct Saved<'a> {
    meta: &'a Meta,
    blocks: Set,
    magazines: Set,
    /// Slabs by class, and large runs.
    slabs: [u32; CLASSES],
    /// Blocks of all slabs.
    total: u64,
    /// Those that are in a place.
    met: u64,
}

type Checked = Result<(), ImageFault>;

fn fault(what: &'static str, at: impl Into<u64>) -> Checked {
    Err(ImageFault::new(what, at.into()))
}

fn ensure(good: bool, what: &'static str, at: impl Into<u64>) -> Checked {
    if good { Ok(()) } else { fault(what, at) }
}

impl<'a> Saved<'a> {
    /// `None`: there is no memory to look.
    pub(crate) fn new(meta: &'a Meta) -> Option<Saved<'a>> {
        let geometry = &meta.control().geometry;
        Some(Saved {
            meta,
            blocks: Set::new(geometry.spans as usize * geometry.span.grains() as usize)?,
            magazines: Set::new(((geometry.arena_end - geometry.arena) / MAGAZINE_WORDS) as usize)?,
            slabs: [0; CLASSES],
            total: 0,
            met: 0,
        })
    }

    /// Checks all, makes marks that say who works at something say that nobody does, and counts anew what follows from
    /// the rest. How many blocks are in no place, so that nobody will ever have them. `known_owner`: whether an adapter has
    /// blocks, or what it left.
    pub(crate) fn check(mut self, known_owner: impl Fn(AdapterId) -> bool) -> Result<u64, ImageFault> {
        let spans = self.meta.control().geometry.spans;
        self.bitmaps()?;
        self.spans()?;
        (0..spans).try_for_each(|span| self.states(span, &known_owner))?;
        (0..SLAB_CLASSES as u8).try_for_each(|class| self.carve(Class(class)))?;
        (0..spans).try_for_each(|span| self.loose(span))?;
        (0..SLAB_CLASSES as u8).try_for_each(|class| self.depot(Class(class)))?;
        (0..=self.meta.control().cpus).try_for_each(|cpu| self.caches(cpu))?;
        self.empties()?;
        for class in 0..CLASSES {
            let depot = &self.meta.control().depots[class];
            // ORDERING: Relaxed, all here - the metadata is the caller's.
            depot.slabs.count.store(self.slabs[class], Ordering::Relaxed);
            for part in 0..PARTS {
                depot.full.0[part].store(1, Ordering::Relaxed);
                depot.loose.0[part].store(1, Ordering::Relaxed);
            }
        }
        Ok(self.total - self.met)
    }

    /// No bit stands for a span that the range does not have.
    fn bitmaps(&self) -> Checked {
        let (meta, spans) = (self.meta, self.meta.control().geometry.spans);
        let words = meta.control().geometry.bitmap_words();
        let over = if spans.is_multiple_of(64) { 0 } else { u64::MAX << (spans % 64) };
        let last = words - 1;
        // ORDERING: Relaxed, all - as in `check`.
        let mut behind =
            meta.free_spans(last).load(Ordering::Relaxed) | meta.touched_spans(last).load(Ordering::Relaxed);
        for class in (0..CLASSES as u8).map(Class) {
            behind |= meta.loose_spans(class, last).load(Ordering::Relaxed);
        }
        ensure(behind & over == 0, "a bitmap has bits behind the range's last span", spans)
    }

    /// Each span is free, a slab, part of a large run, or nobody's.
    fn spans(&mut self) -> Checked {
        let meta = self.meta;
        let (spans, size) = (meta.control().geometry.spans, meta.span_size());
        let mut span = 0;
        while span < spans {
            let entry = meta.read_span(span);
            if entry.is_none() {
                ensure(!meta.is_freed_run(span), "a span is marked as a freed run that is none", span)?;
                span += 1;
                continue;
            }
            ensure(!meta.is_free(span), "a span is free and in use", span)?;
            if entry == Entry::large(LARGE) {
                span += self.run(span)?;
                continue;
            }
            let class = entry.class();
            let known = (class.0 as usize) < SLAB_CLASSES
                && class.0 >= meta.control().geometry.least_class
                && class.bytes() <= size.max_slab_bytes()
                && entry == meta.control().geometry.slab_entry(class, span);
            ensure(known, "a span's page-map entry is none that a pool writes", span)?;
            ensure(!meta.is_freed_run(span), "a span is marked as a freed run that is none", span)?;
            self.area(class, span)?;
            self.slabs[class.index()] += 1;
            self.total += u64::from(class.per_slab(size));
            span += 1;
        }
        Ok(())
    }

    /// A span in use says that it uses its area: only what says so is saved, restored, and forgotten before its next use.
    fn area(&self, class: Class, span: u32) -> Checked {
        let used = self.meta.used_areas(span);
        let known = used >> LEVELS == 0 && used & Geometry::area_bit(class) != 0;
        ensure(known, "a span in use says that its area is not", span)
    }

    /// A large run that begins at this span: how many spans it has.
    fn run(&mut self, start: u32) -> Result<u32, ImageFault> {
        let meta = self.meta;
        // ORDERING: Relaxed, all - as in `check`.
        let len = meta.span_word(start).load(Ordering::Relaxed);
        let room = meta.control().geometry.spans - start;
        ensure((1..=room).contains(&len), "a large run is longer than the range", start)?;
        for body in start + 1..start + len {
            let known = meta.read_span(body) == Entry::large(LARGE_BODY)
                && meta.span_word(body).load(Ordering::Relaxed) == start
                && !meta.is_free(body)
                && !meta.is_freed_run(body);
            ensure(known, "a span of a large run does not lead to its first one", body)?;
        }
        self.area(LARGE, start)?;
        let block = meta.first_of(start);
        let live = meta.state(LARGE, block).is_live(block);
        ensure(!live || !meta.is_freed_run(start), "a large run is live and freed", start)?;
        let bytes = meta.record(LARGE, block).bytes;
        let fits = bytes > 0 && spans_for(bytes, meta.span_size()) <= len;
        ensure(!live || fits, "a live large run has other bytes than its spans", start)?;
        let size = u64::from(meta.span_size().bytes());
        let inside = u64::from(meta.guarded(start).unwrap_or(0)) * u64::from(GRAIN);
        let fits = inside + u64::from(bytes) <= u64::from(len) * size;
        ensure(!live || fits, "a guarded block lies outside of its run", start)?;
        self.slabs[LARGE.index()] += 1;
        Ok(len)
    }

    /// Each live state is that of a block which begins in the span, and no other word says that something is live.
    fn states(&mut self, span: u32, known_owner: &impl Fn(AdapterId) -> bool) -> Checked {
        let meta = self.meta;
        let (entry, first) = (meta.read_span(span), meta.first_of(span));
        let geometry = &meta.control().geometry;
        let used = meta.used_areas(span);
        // All of its words are 0, and untouched.
        if used == 0 {
            return Ok(());
        }
        for (level, at, words) in geometry.areas_of(span) {
            for index in at as u64 / 4..(at / 4 + words) as u64 {
                // ORDERING: Relaxed - as in `check`.
                let state = State(meta.state_at(index).load(Ordering::Relaxed));
                let unused = used >> level & 1 == 0;
                ensure(state.0 == 0 || !unused, "a state is written where none was used", span)?;
                if state.0 & LIVE == 0 {
                    continue;
                }
                let block = BlockId(first.0 + state.in_span(meta.span_size()));
                let known = !entry.is_none()
                    && state.is_live(block)
                    && match entry.class() {
                        LARGE => block == first && index == meta.state_index(LARGE, first),
                        LARGE_BODY => false,
                        class => self.begins(class, block) && index == meta.state_index(class, block),
                    };
                ensure(known, "a state is live where no block begins", block.0)?;
                if !known_owner(state.owner()) {
                    // Of an allocation that its adapter's removal overtook, and that never came back to undo it.
                    meta.state_at(index).store(state.freed().0, Ordering::Relaxed);
                } else if entry.class() != LARGE {
                    let class = entry.class();
                    let bytes = meta.record(class, block).bytes;
                    ensure(bytes <= class.bytes(), "a block has fewer bytes than were asked for", block.0)?;
                    self.meet(block)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a block of this class begins there in its slab.
    fn begins(&self, class: Class, block: BlockId) -> bool {
        let size = self.meta.span_size();
        class.block_of(block.in_span(size), size) == Some(block.in_span(size))
    }

    /// A block of a slab is in a place.
    fn meet(&mut self, block: BlockId) -> Checked {
        ensure(self.blocks.add(block.0), "a block is in two places", block.0)?;
        self.met += 1;
        Ok(())
    }

    /// A free block of this class is in a place.
    fn meet_free(&mut self, class: Class, block: BlockId) -> Checked {
        let meta = self.meta;
        let inside = u64::from(block.0) < meta.range().limit;
        let of_class = inside && {
            let entry = meta.entry_of(block);
            !entry.is_none() && entry.class() == class && self.begins(class, block)
        };
        ensure(of_class, "what is free is no block of its size", block.0)?;
        self.meet(block)
    }

    /// The slab that is being carved.
    fn carve(&mut self, class: Class) -> Checked {
        let meta = self.meta;
        let Some((span, next)) = meta.carving(class) else { return Ok(()) };
        let known = span < meta.control().geometry.spans && {
            let entry = meta.read_span(span);
            !entry.is_none() && entry.class() == class && next < class.per_slab(meta.span_size())
        };
        ensure(known, "what is being carved is no slab of its size", span)?;
        let first = meta.first_of(span).0;
        (next..class.per_slab(meta.span_size())).try_for_each(|n| {
            self.meet_free(class, BlockId(first + class.nth_carved(n, span, meta.span_size())))
        })
    }

    /// The loose blocks of a span.
    fn loose(&mut self, span: u32) -> Checked {
        let meta = self.meta;
        let entry = meta.read_span(span);
        // As in `states`.
        if meta.used_areas(span) == 0 {
            return Ok(());
        }
        for n in 0..meta.control().geometry.loose_words {
            // ORDERING: Relaxed - as in `check`.
            let bits = meta.loose_word(span, n).load(Ordering::Relaxed);
            if bits == 0 {
                continue;
            }
            let class = entry.class();
            let slab = !entry.is_none() && (class.0 as usize) < SLAB_CLASSES;
            ensure(slab, "blocks are loose in a span that is no slab", span)?;
            for bit in each_bit(bits) {
                let slot = n as u32 * 64 + bit;
                ensure(slot < class.slots(meta.span_size()), "a loose block is outside of its slab", span)?;
                let grain = class.grain_at(slot);
                ensure(class.slot_of(grain) == slot, "what is loose is no block", span)?;
                self.meet_free(class, BlockId(meta.first_of(span).0 + grain))?;
            }
            meta.mark_loose(class, span);
        }
        Ok(())
    }

    /// A magazine that lies somewhere, and its blocks.
    fn magazine(&mut self, class: Class, cursor: Cursor) -> Checked {
        let meta = self.meta;
        self.place(cursor)?;
        let room = cursor.room();
        ensure(room <= meta.capacity(class), "a magazine has more room than its size", cursor.magazine())?;
        (room..meta.capacity(class)).try_for_each(|n| self.meet_free(class, meta.get_id(cursor, n)))
    }

    /// A magazine is where magazines are, and in one place.
    fn place(&mut self, cursor: Cursor) -> Checked {
        let geometry = &self.meta.control().geometry;
        // ORDERING: Relaxed - as in `check`.
        let end = self.meta.control().arena_next.load(Ordering::Relaxed).min(geometry.arena_end.into());
        let at = cursor.magazine();
        let known = cursor.is_magazine() && at >= geometry.arena && u64::from(at) < end;
        ensure(known, "a magazine is where none was given out", at)?;
        ensure(self.magazines.add((at - geometry.arena) / MAGAZINE_WORDS), "a magazine is in two places", at)
    }

    /// The magazines of a depot.
    fn depot(&mut self, class: Class) -> Checked {
        let meta = self.meta;
        let geometry = &meta.control().geometry;
        for n in 0..geometry.full_words {
            // ORDERING: Relaxed, all - as in `check`.
            for bit in each_bit(meta.full_word(class, n).load(Ordering::Relaxed)) {
                let number = n as u64 * 64 + u64::from(bit);
                let at = u64::from(geometry.arena) + number * u64::from(MAGAZINE_WORDS);
                ensure(at < geometry.arena_end.into(), "a depot has a magazine that there is not", number)?;
                let cursor = Cursor(meta.magazine_link(at as u32).load(Ordering::Relaxed));
                ensure(
                    u64::from(cursor.magazine()) == at,
                    "a depot's magazine has another one's name",
                    number,
                )?;
                self.magazine(class, cursor)?;
            }
        }
        Ok(())
    }

    /// What a CPU has loaded, and its spares. The shared row has none.
    fn caches(&mut self, cpu: u32) -> Checked {
        let meta = self.meta;
        for class in (0..CLASS_SLOTS as u8).map(Class) {
            let serves = cpu < meta.control().cpus && (class.0 as usize) < SLAB_CLASSES;
            // ORDERING: Relaxed, all - as in `check`.
            let word = meta.cursor(cpu, class);
            let loaded = Cursor(word.load(Ordering::Relaxed));
            if loaded.is_magazine() && serves {
                self.magazine(class, loaded)?;
            } else if serves && (loaded.is_claimed() || loaded.is_stopped()) {
                // Whoever did that is no more.
                word.store(Cursor::NONE.0, Ordering::Relaxed);
            } else {
                ensure(loaded == Cursor::NONE, "a CPU has loaded what is no magazine", cpu)?;
            }
            let spare = Cursor(meta.spare(cpu, class).load(Ordering::Relaxed));
            if spare.0 != 0 {
                ensure(serves, "a CPU has a spare of no size", cpu)?;
                self.magazine(class, spare)?;
            }
        }
        Ok(())
    }

    /// The stock of empty magazines.
    fn empties(&mut self) -> Checked {
        let meta = self.meta;
        let geometry = &meta.control().geometry;
        // ORDERING: Relaxed, all - as in `check`.
        let next = meta.control().arena_next.load(Ordering::Relaxed);
        let whole = next
            .checked_sub(geometry.arena.into())
            .is_some_and(|words| words.is_multiple_of(MAGAZINE_WORDS.into()) && next >> 48 == 0);
        ensure(whole, "the next magazine is none", next)?;
        let mut at = meta.control().empties.load(Ordering::Relaxed) as u32;
        while at != 0 {
            let cursor = Cursor(at);
            ensure(cursor.magazine() == at, "an empty magazine's name is none", at)?;
            // One that was there already ends a circle.
            self.place(cursor)?;
            at = meta.magazine_link(at).load(Ordering::Relaxed);
        }
        Ok(())
    }
}
