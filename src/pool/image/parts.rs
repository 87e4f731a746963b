//! Which words of the metadata an image has: what is in use, in few pieces.

use super::error::ImageError;
use crate::layout::config::Config;
use crate::layout::control::Control;
use crate::layout::copied::Width;
use crate::layout::geometry::{CELL_ROW, Geometry, PAGE_MAP, RECORDS, SPARES};
use crate::layout::memory::Memory;
use crate::layout::meta::Meta;
use crate::layout::zeroed::Zeroed;
use crate::sync::Ordering;

/// Some words in a row: where they begin, in bytes from the base, and how many there are.
#[derive(Clone, Copy)]
pub(super) struct Part {
    at: isize,
    words: usize,
}

impl Part {
    fn of(from: usize, to: usize) -> Part {
        Part { at: from as isize, words: (to - from) / 4 }
    }

    /// The words of this metadata.
    ///
    /// # Safety
    /// Nobody else uses the metadata meanwhile.
    pub(super) unsafe fn of_meta<'a>(self, meta: Meta) -> &'a mut [u32] {
        // SAFETY: the part lies in the metadata, behind or below the control block; the caller's promise.
        unsafe { meta.memory().words(self.at, self.words) }
    }
}

impl Part {
    /// Makes these words of `to`, the caller's, what they are in `from`, which others use; whether any was another one.
    pub(super) fn draw(self, to: &Meta, from: &Meta, width: Width) -> bool {
        to.draw(from, self.at, self.words * 4, width)
    }

    /// Makes these words of `meta` what they are in a dump of metadata whose base lies at `base`.
    ///
    /// # Safety
    /// Nobody else uses the metadata meanwhile.
    pub(super) unsafe fn fill(self, meta: Meta, dump: &[u8], base: usize) {
        // SAFETY: the caller's promise.
        let words = unsafe { self.of_meta(meta) };
        let from = dump.get(base.wrapping_add_signed(self.at)..).unwrap_or_default();
        for (word, bytes) in words.iter_mut().zip(from.chunks_exact(4)) {
            *word = bytes.try_into().map_or(0, u32::from_ne_bytes);
        }
    }
}

/// The tables that every image has, before those of each span: account words; page map, adapters and the tables by
/// span; marks of loose blocks, depots, cells, cursors; the magazines that were ever used.
pub(super) fn tables(geometry: &Geometry, arena_next: u64) -> [Part; 4] {
    let end = arena_next.clamp(geometry.arena.into(), geometry.arena_end.into()) as usize;
    let arena = geometry.arena as usize;
    [
        Part { at: -(geometry.below as isize), words: geometry.below / 4 },
        Part::of(PAGE_MAP, geometry.loose),
        Part::of(geometry.loose_spans, arena * 4),
        Part::of(arena * 4, end * 4),
    ]
}

/// The same words as [`tables`] has, by their width, but for the hints where live blocks were seen.
pub(super) fn tables_by_width(
    geometry: &Geometry,
    control: &Control,
    arena_next: u64,
) -> impl Iterator<Item = (Part, Width)> {
    let [accounts, _, _, magazines] = tables(geometry, arena_next);
    let geometry = *geometry;
    // And the pool's own account.
    let cells = (control.account_mask.unsigned_abs() + 1) * CELL_ROW;
    let first = geometry.cpu_block(0) - cells;
    let fixed = [
        (accounts, Width::Wide),
        (Part::of(PAGE_MAP, geometry.span_words), Width::Wide),
        (Part::of(geometry.span_words, geometry.seen_live), Width::Narrow),
        (Part::of(geometry.loose_spans, first), Width::Wide),
        (magazines, Width::Narrow),
    ];
    // The shared row is one more.
    let rows = (0..=control.cpus).flat_map(move |cpu| {
        let block = geometry.cpu_block(cpu);
        let cells = (Part::of(block - cells, block), Width::Wide);
        [cells, (Part::of(block, block + 2 * SPARES), Width::Narrow)]
    });
    fixed.into_iter().chain(rows)
}

/// What a span has, if it was ever used: loose blocks' bits, and of each kind of areas the states and the records.
pub(super) fn of_span(geometry: &Geometry, span: u32) -> impl Iterator<Item = Part> {
    let loose = geometry.loose + span as usize * geometry.loose_words * 8;
    let areas = geometry
        .areas_of(span)
        .flat_map(|(_, at, words)| [at, at + RECORDS].map(|at| Part { at: at as isize, words }));
    core::iter::once(Part::of(loose, loose + geometry.loose_words * 8)).chain(areas)
}

/// The spans that were ever used.
pub(super) fn used(meta: &Meta) -> impl Iterator<Item = u32> {
    (0..meta.control().geometry.spans).filter(|&span| meta.used_areas(span) != 0)
}

/// Metadata of an image's own, over which nobody makes a pool.
pub(super) struct Scratch {
    meta: Meta,
    /// The words of `meta` lie in it.
    _memory: Zeroed,
}

impl Scratch {
    /// Zeroed but for the control block.
    pub(super) fn new(config: &Config) -> Result<Scratch, ImageError> {
        let geometry = Geometry::new(config).map_err(|_| ImageError::Torn)?;
        let memory = Zeroed::new(geometry.below + geometry.above).ok_or(ImageError::NoMemory)?;
        // SAFETY: the base lies in the memory; it is aligned as the control block wants it.
        let meta = unsafe {
            let base = memory.start().byte_add(geometry.below);
            base.cast::<Control>().write(Control::new(config, geometry));
            Memory::new(base)
        };
        Ok(Scratch { meta: Meta::new(meta), _memory: memory })
    }

    pub(super) const fn meta(&self) -> Meta {
        self.meta
    }
}

/// Copies one pool's metadata over another one's of the same geometry.
pub(super) struct Copy {
    pub(super) from: Meta,
    pub(super) to: Meta,
}

impl Copy {
    /// # Safety
    /// Nobody else uses `to`, and nobody writes to `from`. `arena_next` is the higher one of the two.
    pub(super) unsafe fn all(&self, arena_next: u64) {
        let geometry = self.to.control().geometry;
        for span in 0..geometry.spans {
            // What neither has used is 0 in both.
            if self.from.used_areas(span) | self.to.used_areas(span) != 0 {
                // SAFETY: the caller's promise.
                of_span(&geometry, span).for_each(|part| unsafe { self.part(part) });
            }
        }
        let [accounts, by_span, others, magazines] = tables(&geometry, arena_next);
        let touched = Part::of(geometry.touched_spans, geometry.span_words);
        // SAFETY: the caller's promise, and the parts do not overlap.
        unsafe {
            // What was touched since may be resident.
            for (word, from) in touched.of_meta(self.to).iter_mut().zip(touched.of_meta(self.from)) {
                *word |= *from;
            }
            let before = Part::of(PAGE_MAP, geometry.adapters);
            let between = Part::of(geometry.free_spans, geometry.touched_spans);
            let behind = Part::of(geometry.span_words, by_span.at as usize + by_span.words * 4);
            for part in [accounts, before, between, behind, others, magazines] {
                self.part(part);
            }
        }
        for slot in 1..=geometry.adapters_len {
            self.to.restore_slot(slot, &self.from);
        }
    }

    /// # Safety
    /// As `all`.
    unsafe fn part(&self, part: Part) {
        // SAFETY: the caller's promise; they are two pools' metadata.
        unsafe { part.of_meta(self.to).copy_from_slice(part.of_meta(self.from)) };
    }
}

/// How far the magazines go that were ever used.
pub(super) fn arena_next(meta: &Meta) -> u64 {
    // ORDERING: Relaxed - the caller has the metadata to itself.
    meta.control().arena_next.load(Ordering::Relaxed)
}
