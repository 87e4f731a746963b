//! Metadata that was saved or copied, looked at before anybody uses it: each index leads somewhere, and each block is in
//! one place.
//!
//! The caller has it to itself. Whatever its words are, this ends, and touches nothing outside of it. What calls had in hand
//! when it was copied is no fault: a block or magazine in no place, a span that is neither free nor in use, a run that is
//! being put together or taken apart.

use crate::contract::adapter::AdapterId;
use crate::contract::block::BlockState;
use crate::contract::fault::ImageFault;
use crate::contract::finding::{Finding, Places, Subject};
use crate::layout::block::BlockId;
use crate::layout::classes::{CLASSES, Class, GRAIN, LARGE, LARGE_BODY, SLAB_CLASSES};
use crate::layout::control::PARTS;
use crate::layout::cursor::MAGAZINE_WORDS;
use crate::layout::geometry::{Geometry, LEVELS};
use crate::layout::meta::Meta;
use crate::layout::page_map::Entry;
use crate::layout::state::{LIVE, State};
use crate::layout::zeroed::Zeroed;
use crate::stock::findings::{Findings, Proof};
use crate::stock::large::spans_for;
use crate::stock::parts::each_bit;
use crate::sync::Ordering;

/// A set of small numbers.
pub(super) struct Set(Zeroed);

impl Set {
    /// `None`: there is no memory for it.
    fn new(numbers: usize) -> Option<Set> {
        Some(Set(Zeroed::new(numbers.div_ceil(64) * 8)?))
    }

    /// `false`: it was there.
    pub(super) fn add(&mut self, number: u32) -> bool {
        let Some(word) = self.0.words().get_mut(number as usize / 64) else { return false };
        let seen = *word;
        *word |= 1 << (number % 64);
        seen != *word
    }

    fn has(&mut self, number: u32) -> bool {
        self.0.words().get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 != 0)
    }
}

/// A look at saved metadata, and what it has met so far.
pub(crate) struct Saved<'a> {
    pub(super) meta: &'a Meta,
    pub(super) findings: &'a mut Findings,
    blocks: Set,
    pub(super) magazines: Set,
    /// Spans whose entry is a fault: what follows from it is not told again.
    condemned: Set,
    /// Slabs by class, and large runs.
    slabs: [u32; CLASSES],
    places: Places,
}

type Checked = Result<(), ImageFault>;

fn of_span(meta: &Meta, what: &'static str, span: u32) -> Finding {
    let size = u64::from(meta.span_size().bytes());
    let inside = span < meta.control().geometry.spans;
    let address = inside.then(|| meta.range().base.0 + u64::from(span) * size);
    Finding { address, ..Finding::new(what, Subject::Span, span.into()) }
}

fn of_block(meta: &Meta, what: &'static str, block: BlockId) -> Finding {
    let inside = u64::from(block.0) < meta.range().limit;
    let address = inside.then(|| meta.range().address(block));
    Finding { address, ..Finding::new(what, Subject::Block, block.0.into()) }
}

impl<'a> Saved<'a> {
    /// `None`: there is no memory to look.
    pub(crate) fn new(meta: &'a Meta, findings: &'a mut Findings) -> Option<Saved<'a>> {
        let geometry = &meta.control().geometry;
        Some(Saved {
            meta,
            findings,
            blocks: Set::new(geometry.spans as usize * geometry.span.grains() as usize)?,
            magazines: Set::new(((geometry.arena_end - geometry.arena) / MAGAZINE_WORDS) as usize)?,
            condemned: Set::new(geometry.spans as usize)?,
            slabs: [0; CLASSES],
            places: Places { spans: geometry.spans.into(), ..Places::default() },
        })
    }

    /// Checks all, makes marks that say who works at something say that nobody does, and counts anew what follows from
    /// the rest. Entries of the page map that no pool writes are emptied, so that who walks the spans afterwards goes by
    /// them. Where all blocks are: those in no place are in hand, and nobody will ever have them in a pool that is made of
    /// this. `known_owner`: whether an adapter has blocks, or what it left.
    pub(crate) fn check(mut self, known_owner: impl Fn(AdapterId) -> bool) -> Result<Places, ImageFault> {
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
        let Places { blocks, live, loaded, spare, depot, loose, never_carved, .. } = self.places;
        let met = live + loaded + spare + depot + loose + never_carved;
        Ok(Places { in_hand: blocks.saturating_sub(met), ..self.places })
    }

    /// Notes a fault of a span, unless all is `good`.
    fn span(&mut self, good: bool, proof: Proof, what: &'static str, span: u32) -> Result<bool, ImageFault> {
        let meta = self.meta;
        self.findings.ensure(good, proof, || of_span(meta, what, span))
    }

    /// No bit stands for a span that the range does not have.
    fn bitmaps(&mut self) -> Checked {
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
        let finding =
            of_span(meta, "a bitmap has bits behind the range's last span", spans).found(behind & over);
        self.findings.ensure(behind & over == 0, Proof::Word, || finding)?;
        Ok(())
    }

    /// Each span is free, a slab, part of a large run, or nobody's.
    fn spans(&mut self) -> Checked {
        let meta = self.meta;
        let (spans, size) = (meta.control().geometry.spans, meta.span_size());
        const NO_RUN: &str = "a span is marked as a freed run that is none";
        let mut span = 0;
        while span < spans {
            let entry = meta.read_span(span);
            if entry.is_none() {
                self.span(!meta.is_freed_run(span), Proof::Rest, NO_RUN, span)?;
                self.places.free_spans += u64::from(meta.is_free(span));
                self.places.spans_in_hand += u64::from(!meta.is_free(span));
                span += 1;
                continue;
            }
            self.span(!meta.is_free(span), Proof::Rest, "a span is free and in use", span)?;
            if entry == Entry::large(LARGE) {
                span += self.run(span)?;
                continue;
            }
            let body = entry == Entry::large(LARGE_BODY);
            if body && self.is_given_back(span) {
                self.places.spans_in_hand += 1;
                span += 1;
                continue;
            }
            let class = entry.class();
            let known = (class.0 as usize) < SLAB_CLASSES
                && class.0 >= meta.control().geometry.least_class
                && class.bytes() <= size.max_slab_bytes()
                && entry == meta.control().geometry.slab_entry(class, span);
            // A body's may be one of a run of which another word was read later.
            let proof = if body { Proof::Rest } else { Proof::Word };
            let finding =
                of_span(meta, "a span's page-map entry is none that a pool writes", span).found(entry.0);
            self.findings.ensure(known, proof, || finding)?;
            self.span(!meta.is_freed_run(span), Proof::Rest, NO_RUN, span)?;
            if known {
                self.area(class, span)?;
                self.slabs[class.index()] += 1;
                self.places.slab_spans += 1;
                self.places.blocks += u64::from(class.per_slab(size));
            } else {
                self.condemn(span);
            }
            span += 1;
        }
        Ok(())
    }

    /// Takes a span out of the look whose entry is a fault, or was about to go.
    fn condemn(&mut self, span: u32) {
        self.condemned.add(span);
        self.places.spans_in_hand += 1;
        // ORDERING: Relaxed - as in `check`.
        self.meta.span_entry(span).store(Entry::NONE.0, Ordering::Relaxed);
    }

    /// Whether a span is still marked as part of a large run whose first spans were given back: somebody is at it.
    fn is_given_back(&self, span: u32) -> bool {
        let meta = self.meta;
        let gone = |span| meta.read_span(span).is_none() && !meta.is_free(span);
        // ORDERING: Relaxed - as in `check`.
        let head = meta.span_word(span).load(Ordering::Relaxed);
        head < span && gone(head) || head == 0 && span > 0 && gone(span - 1)
    }

    /// A span in use says that it uses its area: only what says so is saved, restored, and forgotten before its next use.
    fn area(&mut self, class: Class, span: u32) -> Checked {
        let meta = self.meta;
        let used = meta.used_areas(span);
        let known = used >> LEVELS == 0 && used & Geometry::area_bit(class) != 0;
        let finding = of_span(meta, "a span in use says that its area is not", span).found(used.into());
        self.findings.ensure(known, Proof::Rest, || finding)?;
        Ok(())
    }

    /// A large run that begins at this span: how many spans it has.
    fn run(&mut self, start: u32) -> Result<u32, ImageFault> {
        let meta = self.meta;
        let block = meta.first_of(start);
        let (live, freed) = (meta.state(LARGE, block).is_live(block), meta.is_freed_run(start));
        let in_hand = !live && !freed;
        // ORDERING: Relaxed, all - as in `check`.
        let len = meta.span_word(start).load(Ordering::Relaxed);
        if in_hand && len == 0 {
            // Its first span is about to be given back; then it has no entry, and the next spans are seen to follow.
            self.condemn(start);
            return Ok(1);
        }
        let room = meta.control().geometry.spans - start;
        let finding = of_span(meta, "a large run is longer than the range", start);
        let finding = finding.found(len.into()).expected(room.into());
        if !self.findings.ensure((1..=room).contains(&len), Proof::Rest, || finding)? {
            self.condemn(start);
            return Ok(1);
        }
        for body in start + 1..start + len {
            let entry = meta.read_span(body);
            let head = meta.span_word(body).load(Ordering::Relaxed);
            let part = entry == Entry::large(LARGE_BODY) && head == start && !meta.is_freed_run(body);
            let coming = in_hand && entry.is_none();
            let finding = of_span(meta, "a span of a large run does not lead to its first one", body);
            let finding = finding.found(head.into()).expected(start.into());
            self.findings.ensure((part || coming) && !meta.is_free(body), Proof::Rest, || finding)?;
        }
        self.area(LARGE, start)?;
        self.span(!live || !freed, Proof::Rest, "a large run is live and freed", start)?;
        let bytes = meta.record(LARGE, block).bytes;
        let fits = bytes > 0 && spans_for(bytes, meta.span_size()) <= len;
        let finding = of_span(meta, "a live large run has other bytes than its spans", start);
        let finding = finding.found(bytes.into());
        self.findings.ensure(!live || fits, Proof::Rest, || finding)?;
        let size = u64::from(meta.span_size().bytes());
        let inside = u64::from(meta.guarded(start).unwrap_or(0)) * u64::from(GRAIN);
        let fits = inside + u64::from(bytes) <= u64::from(len) * size;
        let finding = of_span(meta, "a guarded block lies outside of its run", start);
        let finding = finding.found(inside);
        self.findings.ensure(!live || fits, Proof::Rest, || finding)?;
        self.slabs[LARGE.index()] += 1;
        self.places.run_spans += u64::from(len);
        let runs = match (live, freed) {
            (true, _) => &mut self.places.live_runs,
            (_, true) => &mut self.places.freed_runs,
            _ => &mut self.places.runs_in_hand,
        };
        *runs += 1;
        Ok(len)
    }

    /// Each live state is that of a block which begins in the span, and no other word says that something is live.
    fn states(&mut self, span: u32, known_owner: &impl Fn(AdapterId) -> bool) -> Checked {
        let meta = self.meta;
        let (entry, first) = (meta.read_span(span), meta.first_of(span));
        let geometry = &meta.control().geometry;
        let used = meta.used_areas(span);
        // All of its words are 0, and untouched; or what they are does not matter.
        if used == 0 || self.condemned.has(span) {
            return Ok(());
        }
        for (level, at, words) in geometry.areas_of(span) {
            for index in at as u64 / 4..(at / 4 + words) as u64 {
                // ORDERING: Relaxed - as in `check`.
                let state = State(meta.state_at(index).load(Ordering::Relaxed));
                let unused = used >> level & 1 == 0;
                let finding =
                    || of_span(meta, "a state is written where none was used", span).found(state.0.into());
                self.findings.ensure(state.0 == 0 || !unused, Proof::Rest, finding)?;
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
                let finding =
                    || of_block(meta, "a state is live where no block begins", block).found(state.0.into());
                if !self.findings.ensure(known, Proof::Rest, finding)? {
                    continue;
                }
                if !known_owner(state.owner()) {
                    // Of an allocation that its adapter's removal overtook, and that never came back to undo it.
                    meta.state_at(index).store(state.freed().0, Ordering::Relaxed);
                } else if entry.class() != LARGE {
                    let class = entry.class();
                    let bytes = meta.record(class, block).bytes;
                    let finding = || {
                        of_block(meta, "a block has fewer bytes than were asked for", block)
                            .found(bytes.into())
                            .expected(class.bytes().into())
                    };
                    self.findings.ensure(bytes <= class.bytes(), Proof::Rest, finding)?;
                    self.meet(block, BlockState::Live)?;
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
    fn meet(&mut self, block: BlockId, place: BlockState) -> Checked {
        let meta = self.meta;
        let finding = || Finding { place: Some(place), ..of_block(meta, "a block is in two places", block) };
        if self.findings.ensure(self.blocks.add(block.0), Proof::Rest, finding)? {
            let Places { live, loaded, spare, depot, loose, never_carved, in_hand, .. } = &mut self.places;
            *match place {
                BlockState::Live => live,
                BlockState::Loaded { .. } => loaded,
                BlockState::Spare { .. } => spare,
                BlockState::Depot => depot,
                BlockState::Loose => loose,
                BlockState::NeverCarved => never_carved,
                _ => in_hand,
            } += 1;
        }
        Ok(())
    }

    /// A free block of this class is in a place.
    pub(super) fn meet_free(&mut self, class: Class, block: BlockId, place: BlockState) -> Checked {
        let meta = self.meta;
        let inside = u64::from(block.0) < meta.range().limit;
        let condemned = inside && self.condemned.has(meta.span_of(block));
        let of_class = inside && {
            let entry = meta.entry_of(block);
            !entry.is_none() && entry.class() == class && self.begins(class, block)
        };
        let finding = || {
            let finding = of_block(meta, "what is free is no block of its size", block);
            Finding { place: Some(place), ..finding }.expected(class.bytes().into())
        };
        if condemned || !self.findings.ensure(of_class, Proof::Rest, finding)? {
            return Ok(());
        }
        self.meet(block, place)
    }

    /// The slab that is being carved.
    fn carve(&mut self, class: Class) -> Checked {
        let meta = self.meta;
        let Some((span, next)) = meta.carving(class) else { return Ok(()) };
        let inside = span < meta.control().geometry.spans;
        if inside && self.condemned.has(span) {
            return Ok(());
        }
        let known = inside && {
            let entry = meta.read_span(span);
            !entry.is_none() && entry.class() == class && next < class.per_slab(meta.span_size())
        };
        let finding = of_span(meta, "what is being carved is no slab of its size", span);
        let finding = finding.found(next.into()).expected(class.per_slab(meta.span_size()).into());
        if !self.findings.ensure(known, Proof::Rest, || finding)? {
            return Ok(());
        }
        let first = meta.first_of(span).0;
        (next..class.per_slab(meta.span_size())).try_for_each(|n| {
            let block = BlockId(first + class.nth_carved(n, span, meta.span_size()));
            self.meet_free(class, block, BlockState::NeverCarved)
        })
    }

    /// The loose blocks of a span.
    fn loose(&mut self, span: u32) -> Checked {
        let meta = self.meta;
        let entry = meta.read_span(span);
        // As in `states`.
        if meta.used_areas(span) == 0 || self.condemned.has(span) {
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
            let finding = of_span(meta, "blocks are loose in a span that is no slab", span).found(bits);
            if !self.findings.ensure(slab, Proof::Rest, || finding)? {
                continue;
            }
            for bit in each_bit(bits) {
                let slot = n as u32 * 64 + bit;
                let slots = class.slots(meta.span_size());
                let finding = || {
                    of_span(meta, "a loose block is outside of its slab", span)
                        .found(slot.into())
                        .expected(slots.into())
                };
                if !self.findings.ensure(slot < slots, Proof::Rest, finding)? {
                    continue;
                }
                let grain = class.grain_at(slot);
                let finding = || of_span(meta, "what is loose is no block", span).found(slot.into());
                if self.findings.ensure(class.slot_of(grain) == slot, Proof::Rest, finding)? {
                    self.meet_free(class, BlockId(meta.first_of(span).0 + grain), BlockState::Loose)?;
                }
            }
            meta.mark_loose(class, span);
        }
        Ok(())
    }
}
