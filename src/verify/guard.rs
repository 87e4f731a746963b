//! Guarded blocks: a large run of which only the block's own pages may be touched.

use super::verifier::Verifier;
use crate::contract::verify::host::Access;
use crate::layout::block::BlockId;
use crate::layout::classes::{GRAIN, PAGE};
use crate::layout::meta::Meta;
use crate::sync::Ordering;

const PAGE_BYTES: u64 = PAGE as u64;

/// Where a guarded block lies in its run, in bytes from the run's beginning.
#[derive(Clone, Copy)]
pub(crate) struct Placement {
    /// Its pages.
    pub(crate) pages: (u64, u64),
    pub(crate) block: u64,
}

/// Bytes of a run for a block of so many bytes and two guard pages. `None`: none is that long.
pub(crate) const fn run_bytes(bytes: u32) -> Option<u32> {
    let all = (bytes as u64).next_multiple_of(PAGE_BYTES) + 2 * PAGE_BYTES;
    if all <= u32::MAX as u64 { Some(all as u32) } else { None }
}

/// At its pages' end, as far as its alignment allows, or at their beginning.
pub(crate) const fn placement(bytes: u32, alignment: u32, before: bool) -> Placement {
    let pages = (bytes as u64).next_multiple_of(PAGE_BYTES);
    let alignment = if bytes >= PAGE {
        PAGE_BYTES
    } else if alignment > GRAIN {
        alignment as u64
    } else {
        GRAIN as u64
    };
    let free = if before { 0 } else { (pages - bytes as u64) / alignment * alignment };
    Placement { pages: (PAGE_BYTES, pages), block: PAGE_BYTES + free }
}

impl Meta {
    /// The address and bytes of a run.
    fn extent(&self, start: BlockId) -> (u64, u64) {
        (self.range().address(start), u64::from(self.run_spans(start)) * u64::from(self.span_size().bytes()))
    }

    /// Makes a run in hand one with a guarded block, placed so. `false`: the host cannot protect its pages.
    pub(crate) fn guard(&self, verifier: &Verifier, start: BlockId, placement: Placement) -> bool {
        let (address, bytes) = self.extent(start);
        let (at, len) = placement.pages;
        let guarded = verifier.host().protect(address, bytes, Access::None)
            && verifier.host().protect(address + at, len, Access::ReadWrite);
        if !guarded {
            // Some of its pages may be inaccessible. If they stay so, the run is a guarded one, and is opened later.
            if !self.open(verifier, start) {
                self.count_guarded(verifier, start, PAGE_BYTES);
            }
            return false;
        }
        self.count_guarded(verifier, start, placement.block);
        true
    }

    fn count_guarded(&self, verifier: &Verifier, start: BlockId, at: u64) {
        self.set_guarded(start, at);
        // ORDERING: Relaxed - a statistic.
        verifier.counters.guarded_live.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes the pages of a guarded run in hand inaccessible: its block is freed.
    pub(crate) fn shut(&self, verifier: &Verifier, start: BlockId) -> bool {
        let (address, bytes) = self.extent(start);
        verifier.host().protect(address, bytes, Access::None)
    }

    /// Makes all pages of a run in hand accessible. `false`: the host cannot. (Linux limits how many pieces of different
    /// protection a process has.)
    pub(crate) fn open(&self, verifier: &Verifier, start: BlockId) -> bool {
        let (address, bytes) = self.extent(start);
        verifier.host().protect(address, bytes, Access::ReadWrite)
    }
}
