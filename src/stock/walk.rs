//! Walking the states: who has what, now.

use crate::layout::block::BlockId;
use crate::layout::classes::{Class, LARGE, LARGE_BODY};
use crate::layout::meta::Meta;
use crate::layout::page_map::Entry;
use crate::layout::state::{Record, State};
use crate::sync::Ordering;

/// A block that a caller has.
#[derive(Clone, Copy)]
pub(crate) struct Live {
    pub(crate) block: BlockId,
    pub(crate) state: State,
    pub(crate) record: Record,
    pub(crate) class: Class,
}

impl Meta {
    fn entry_now(&self, span: u32) -> Entry {
        // ORDERING: Acquire - the span's use as this class; pairs with the Release of the adopter.
        Entry(self.span_entry(span).load(Ordering::Acquire))
    }

    /// Visits the live blocks that begin in a span. `false`: the span changed its use meanwhile.
    pub(crate) fn walk_span(&self, span: u32, mut visit: impl FnMut(Live)) -> bool {
        let entry = self.entry_now(span);
        if entry.is_none() || entry.class() == LARGE_BODY {
            return true;
        }
        let class = entry.class();
        let blocks = if class == LARGE { 1 } else { class.per_slab(self.span_size()) };
        for n in 0..blocks {
            let in_slab = if class == LARGE { 0 } else { class.nth_block(n) };
            let block = BlockId(self.first_of(span).0 + in_slab);
            let state = self.state(class, block);
            if state.is_live(block) {
                visit(Live { block, state, record: self.record(class, block), class });
            }
        }
        self.entry_now(span) == entry
    }
    /// Visits the live blocks of accounts that do not change hands while the walk goes on: a
    /// removed adapter's. A live block pins its span, so none is seen twice.
    pub(crate) fn walk(&self, mut visit: impl FnMut(Live)) {
        for span in 0..self.control().geometry.spans {
            self.walk_span(span, &mut visit);
        }
    }
}
