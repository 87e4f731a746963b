//! Reclaim: spans in which nobody has a block become free ones.
//!
//! Who wants spans first looks, by loads alone, for as many adjacent ones as it wants: each free, freed, or without a
//! live block. Only if there are such, it takes something. So a request that cannot be served takes nothing from others.
//!
//! What it takes is in its hand for a moment, one thing at a time: a magazine, whose blocks it makes loose; the loose
//! blocks of one slab; and at most [`AT_ONCE`] spans of which it has all blocks.

use crate::layout::classes::{CLASSES, Class, LARGE, LARGE_BODY, SLAB_CLASSES};
use crate::layout::meta::Meta;
use crate::layout::state::LIVE;
use crate::percpu::platform::{Platform, Stolen};
use crate::stock::span::{AT_ONCE, Miss};
use crate::sync::Ordering;
use crate::trace::emit::emit;

const _: () = assert!(CLASSES <= 64, "a set of classes is one word");

/// What a look at a span finds.
enum Found {
    /// So many spans that are free, or can be: nobody has a block there.
    Vacant(u32),
    /// So many spans that are in use.
    Used(u32),
    /// The span is in somebody's hand.
    InHand,
}

impl Meta {
    /// Whether somebody has a block of a slab. It begins where one was seen last.
    pub(crate) fn has_live(&self, class: Class, span: u32) -> bool {
        let slots = class.slots(self.span_size());
        let first = self.state_index(class, self.first_of(span));
        let hint = self.seen_live(span);
        // ORDERING: Relaxed, all - a look; whoever takes the slab's blocks finds out.
        let seen = hint.load(Ordering::Relaxed).min(slots - 1);
        let live = |slot: u32| self.state_at(first + u64::from(slot)).load(Ordering::Relaxed) & LIVE != 0;
        if live(seen) {
            return true;
        }
        let found = (0..slots).find(|&slot| live(slot));
        if let Some(slot) = found {
            hint.store(slot, Ordering::Relaxed);
        }
        found.is_some()
    }

    /// Looks at a span.
    fn look(&self, span: u32) -> Found {
        if self.is_free(span) {
            return Found::Vacant(1);
        }
        let entry = self.read_span(span);
        match entry.class() {
            _ if entry.is_none() => Found::InHand,
            LARGE_BODY => Found::Used(1),
            LARGE => {
                // ORDERING: Relaxed - ordered by the entry, or wrong, and then the run is not to be had.
                let len = self.span_word(span).load(Ordering::Relaxed);
                let len = len.clamp(1, self.control().geometry.spans - span);
                if self.state(LARGE, self.first_of(span)).0 & LIVE != 0 {
                    Found::Used(len)
                } else if self.is_freed_run(span) {
                    Found::Vacant(len)
                } else {
                    Found::InHand
                }
            }
            class if self.has_live(class, span) => Found::Used(1),
            _ => Found::Vacant(1),
        }
    }

    /// The first of `len` adjacent spans, from `from` on, that are free or can be.
    fn find_vacant(&self, from: u32, len: u32, contended: &mut bool) -> Option<u32> {
        let (mut start, mut at) = (from, from);
        while at < self.control().geometry.spans {
            match self.look(at) {
                Found::Vacant(more) => {
                    at += more;
                    if at - start >= len {
                        return Some(start);
                    }
                }
                Found::Used(more) => {
                    at += more;
                    start = at;
                }
                Found::InHand => {
                    *contended = true;
                    at += 1;
                    start = at;
                }
            }
        }
        None
    }

    /// Makes `len` adjacent spans free, if that is possible. `Ok`: they were, somebody else may have some by now.
    /// `Contended`: others' hands may hold what is missing.
    pub(crate) fn reclaim<P: Platform>(&self, platform: &P, len: u32) -> Result<(), Miss> {
        let mut contended = false;
        let mut gathering = Gathering::new(self);
        emit!(platform.irql(), DEBUG, "sweep", spans = len);
        let mut from = 0;
        while let Some(start) = self.find_vacant(from, len, &mut contended) {
            let missing = gathering.gather(platform, start, len);
            gathering.give(platform);
            match missing {
                None => return Ok(()),
                Some(in_hand) => {
                    contended = true;
                    from = in_hand + 1;
                }
            }
        }
        Err(if contended { Miss::Contended } else { Miss::None })
    }

    /// Makes all spans free that can be; how many slabs went.
    pub(crate) fn reclaim_all<P: Platform>(&self, platform: &P) -> u64 {
        let mut gathering = Gathering::new(self);
        let mut from = 0;
        // What is in somebody's hand is left for the next time.
        while let Some(start) = self.find_vacant(from, 1, &mut false) {
            from = start + 1;
            let _ = gathering.gather(platform, start, 1);
        }
        gathering.slabs(platform)
    }
}

/// Spans that are made free.
struct Gathering<'a> {
    meta: &'a Meta,
    /// The classes whose magazines were emptied.
    drained: u64,
    /// Spans in hand, retired, and their former classes.
    retired: [(Class, u32); AT_ONCE],
    count: usize,
    /// Slabs that became free spans.
    slabs: u64,
}

impl<'a> Gathering<'a> {
    fn new(meta: &'a Meta) -> Gathering<'a> {
        Gathering { meta, drained: 0, retired: [(LARGE, 0); AT_ONCE], count: 0, slabs: 0 }
    }

    /// Makes these spans free, the last ones by `give`. The first one that it could not, if any.
    fn gather<P: Platform>(&mut self, platform: &P, start: u32, len: u32) -> Option<u32> {
        let mut span = start;
        let mut missing = None;
        while span < start + len && missing.is_none() {
            match self.meta.look(span) {
                Found::Vacant(more) if self.make_free(platform, span) => span += more,
                _ => missing = Some(span),
            }
        }
        missing
    }

    /// Makes a vacant span free, or takes it in hand until `give`.
    fn make_free<P: Platform>(&mut self, platform: &P, span: u32) -> bool {
        let meta = self.meta;
        let entry = meta.read_span(span);
        if meta.is_free(span) {
            return true;
        }
        // In somebody's hand.
        if entry.is_none() {
            return false;
        }
        let class = entry.class();
        if class == LARGE {
            return meta.take_freed_run(span) && meta.give_large(span);
        }
        if class.index() >= SLAB_CLASSES {
            return false;
        }
        let mut ours = meta.retire_vacant(class, span);
        if !ours && self.drained >> class.index() & 1 == 0 {
            self.drained |= 1 << class.index();
            drain(meta, platform, class);
            ours = meta.retire_vacant(class, span);
        }
        if ours {
            self.retired[self.count] = (class, span);
            self.count += 1;
            if self.count == meta.spans_at_once() as usize {
                self.give(platform);
            }
        }
        ours
    }

    /// Gives the retired spans away.
    fn give<P: Platform>(&mut self, platform: &P) {
        let meta = self.meta;
        let retired = &self.retired[..core::mem::take(&mut self.count)];
        // A free of a stale address may have read an entry before it was retired (I5).
        if retired.is_empty() {
            return;
        }
        if platform.fence_sections(meta) {
            self.slabs += retired.len() as u64;
            retired.iter().for_each(|&(_, span)| meta.give_spans(span, 1));
            emit!(platform.irql(), DEBUG, "slabs retired", slabs = retired.len());
        } else {
            retired.iter().for_each(|&(class, span)| meta.restore_slab(class, span));
        }
    }

    /// How many slabs became free spans.
    fn slabs<P: Platform>(mut self, platform: &P) -> u64 {
        self.give(platform);
        self.slabs
    }
}

/// Makes the blocks of all magazines of a class loose, one magazine after the other: those of the depot, the CPUs'
/// spares, and what the CPUs have loaded.
fn drain<P: Platform>(meta: &Meta, platform: &P, class: Class) {
    // As many as there are: others may go on to publish.
    for _ in 0..meta.control().geometry.full_words * 64 {
        let Some(magazine) = meta.take_magazine(class, true) else { break };
        meta.spill_magazine(class, magazine);
    }
    for cpu in 0..meta.control().cpus {
        if let Some(spare) = meta.take_spare(cpu, class) {
            meta.spill_magazine(class, spare);
        }
    }
    platform.steal(meta, 0..meta.control().cpus, class, |stolen| {
        if let Stolen::Magazine(magazine) = stolen {
            meta.spill_magazine(class, magazine);
        }
    });
}
