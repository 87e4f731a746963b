//! What a debugger asks: where a block is, what lies in a page, who has blocks of a tag.
//!
//! Loads only, at any time. The metadata may be wrong: then the answer is, and nothing else.

use super::quarantine::waits;
use crate::contract::block::{BlockDetail, BlockInfo, BlockState};
use crate::layout::block::BlockId;
use crate::layout::classes::{Class, GRAIN, LARGE, LARGE_BODY, PAGE, SLAB_CLASSES};
use crate::layout::meta::{Located, Meta};
use crate::stock::places::Places;

const PAGE_BYTES: u64 = PAGE as u64;
const PAGE_GRAINS: u32 = PAGE / GRAIN;

impl Meta {
    /// Visits the blocks that lie in the page of an address, if only in part. Where the page begins; `None`: outside of
    /// the range.
    pub(crate) fn inspect_page(&self, address: u64, mut visit: impl FnMut(BlockDetail)) -> Option<u64> {
        let grain = self.range().grain_of(address)?;
        match self.slab_at(grain) {
            Some((class, span)) => {
                let page = grain.in_span(self.span_size()) / PAGE_GRAINS;
                let (first, count) = class.of_page(page, self.span_size());
                Places::of(self, class, span, first, count)
                    .each()
                    .for_each(|(start, place)| visit(self.block_detail(class, start, place)));
            }
            None => visit(self.inspect_span(grain)),
        }
        // The range begins at a whole page.
        Some(address / PAGE_BYTES * PAGE_BYTES)
    }

    /// The block that an address lies in, and where it is; the span, where that has no blocks. `None`: outside of the
    /// range, or behind a slab's last block.
    pub(crate) fn inspect_block(&self, address: u64) -> Option<BlockDetail> {
        let grain = self.range().grain_of(address)?;
        let Some((class, span)) = self.slab_at(grain) else { return Some(self.inspect_span(grain)) };
        let number = class.number_at(grain.in_span(self.span_size()), self.span_size())?;
        let (start, place) = Places::of(self, class, span, number, 1).each().next()?;
        Some(self.block_detail(class, start, place))
    }

    /// The slab that a grain lies in: its class and its span.
    fn slab_at(&self, grain: BlockId) -> Option<(Class, u32)> {
        let span = self.span_of(grain);
        let entry = self.read_span(span);
        let class = entry.class();
        let known = !entry.is_none()
            && (class.0 as usize) < SLAB_CLASSES
            && entry == self.control().geometry.slab_entry(class, span);
        known.then_some((class, span))
    }

    /// A block of a slab, of which it is known where it is unless a caller has it.
    fn block_detail(&self, class: Class, start: BlockId, place: BlockState) -> BlockDetail {
        // After the look at the places: one that was found nowhere may be live by now.
        let found = Located { start, state: self.state(class, start), class, at_start: true };
        let none = BlockDetail {
            address: self.address_of(class, start),
            capacity: self.room_of(found),
            state: match place {
                _ if found.state.is_live(start) => BlockState::Live,
                BlockState::InHand if waits(self, start) => BlockState::Quarantined,
                place => place,
            },
            bytes: 0,
            owner: None,
            tag: None,
        };
        self.block_info(found).map_or(none, |BlockInfo { bytes, owner, tag, .. }| BlockDetail {
            bytes,
            owner: Some(owner),
            tag,
            ..none
        })
    }

    /// A span that is no slab: the large run that it belongs to, or the span itself.
    fn inspect_span(&self, grain: BlockId) -> BlockDetail {
        let span = self.span_of(grain);
        let entry = self.read_span(span);
        let of_run = !entry.is_none() && matches!(entry.class(), LARGE | LARGE_BODY);
        if let Some(found) = self.locate(grain).filter(|found| of_run && found.class == LARGE) {
            let freed = self.is_freed_run(self.span_of(found.start));
            let place = if freed { BlockState::FreedRun } else { BlockState::InHand };
            return self.block_detail(LARGE, found.start, place);
        }
        let free = entry.is_none() && self.is_free(span);
        BlockDetail {
            address: self.range().address(self.first_of(span)),
            capacity: self.span_size().bytes().into(),
            state: if free { BlockState::FreeSpan } else { BlockState::InHand },
            bytes: 0,
            owner: None,
            tag: None,
        }
    }

    /// Visits live blocks in the order of their addresses.
    pub(crate) fn each_live(&self, mut visit: impl FnMut(BlockInfo)) {
        self.walk(|live| {
            // By the entry as it is now; and its record may be another one's, if it was freed meanwhile.
            let found = self.locate(live.block).filter(|found| found.state == live.state);
            let now = |found: &Located| self.state(found.class, found.start) == live.state;
            if let Some(info) = found.and_then(|found| self.block_info(found).filter(|_| now(&found))) {
                visit(info);
            }
        });
    }
}
