//! Large runs: whole spans in a row. Freeing one marks its first span; allocate's side collects.

use super::span::Miss;
use crate::layout::block::BlockId;
use crate::layout::classes::{LARGE, LARGE_BODY, SpanSize};
use crate::layout::meta::Meta;
use crate::layout::page_map::Entry;
use crate::sync::Ordering;

/// Spans that a request takes.
pub(crate) const fn spans_for(bytes: u32, size: SpanSize) -> u32 {
    bytes.div_ceil(size.bytes())
}

impl Meta {
    /// Takes a run for `bytes` that begins at a multiple of `every` spans; its state is not written yet.
    pub(crate) fn take_large(&self, bytes: u32, every: u32) -> Result<BlockId, Miss> {
        let len = spans_for(bytes, self.span_size());
        let start = self.take_run(len, every)?;
        self.forget_states(LARGE, start);
        #[cfg(not(storport_pool_loom))]
        self.set_plain(start);
        for span in start..start + len {
            let (class, word) = if span == start { (LARGE, len) } else { (LARGE_BODY, start) };
            // ORDERING: Relaxed - ours; published by the entry's Release.
            self.span_word(span).store(word, Ordering::Relaxed);
            // The span's other pages have none: fast paths find no state there, and others look at the first.
            // ORDERING: Release - the span word; pairs with the Acquire of `inspect` and walkers.
            self.span_entry(span).store(Entry::large(class).0, Ordering::Release);
        }
        // ORDERING: Relaxed - a statistic.
        self.depot(LARGE).slabs.count.fetch_add(1, Ordering::Relaxed);
        Ok(self.first_of(start))
    }

    /// Returns the spans of freed runs to the bitmap: of all, or of those that hints tell. Says whether any came.
    pub(crate) fn collect_large(&self, all: bool) -> bool {
        self.take_freed_runs(all, |start| self.give_large(start))
    }

    /// Returns the spans of a run in hand. `false`: its pages cannot be made accessible; it stays a freed run.
    pub(crate) fn give_large(&self, start: u32) -> bool {
        #[cfg(not(storport_pool_loom))]
        if self.guarded(start).is_some() {
            if let Some(verifier) = self.verifier() {
                if !self.open(verifier, self.first_of(start)) {
                    self.put_loose(LARGE, self.first_of(start));
                    return false;
                }
                // ORDERING: Relaxed - a statistic.
                let live = &verifier.counters.guarded_live;
                let _ = live.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |live| live.checked_sub(1));
            }
            self.set_plain(start);
        }
        // ORDERING: Relaxed - the run is in hand, its words were published with it.
        let len = self.span_word(start).load(Ordering::Relaxed);
        for span in start..start + len {
            // ORDERING: Relaxed - published with the bits (Release in `give_spans`).
            self.span_word(span).store(0, Ordering::Relaxed);
            self.span_entry(span).store(Entry::NONE.0, Ordering::Relaxed);
        }
        // ORDERING: Relaxed - a statistic.
        self.depot(LARGE).slabs.count.fetch_sub(1, Ordering::Relaxed);
        self.give_spans(start, len);
        true
    }
}
