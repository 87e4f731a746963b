//! Guarded blocks: a large run of which only the block's own pages may be touched.

use super::verifier::Verifier;
use crate::contract::verify::host::Access;
use crate::layout::block::BlockId;
use crate::layout::classes::{GRAIN, PAGE};
use crate::layout::meta::Meta;

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
    fn run(&self, start: BlockId) -> (u64, u64) {
        (self.range().address(start), u64::from(self.run_spans(start)) * u64::from(self.span_size().bytes()))
    }

    /// Makes a run in hand one with a guarded block, placed so. `false`: the host cannot protect its pages; all are
    /// accessible.
    pub(crate) fn guard(&self, verifier: &Verifier, start: BlockId, placement: Placement) -> bool {
        let (address, bytes) = self.run(start);
        let (at, len) = placement.pages;
        if !verifier.host().protect(address, bytes, Access::None) {
            return false;
        }
        if !verifier.host().protect(address + at, len, Access::ReadWrite) {
            self.open(verifier, start);
            return false;
        }
        self.set_guarded(start, placement.block);
        true
    }

    /// Makes the pages of a guarded run in hand inaccessible: its block is freed.
    pub(crate) fn shut(&self, verifier: &Verifier, start: BlockId) -> bool {
        let (address, bytes) = self.run(start);
        verifier.host().protect(address, bytes, Access::None)
    }

    /// Makes all pages of a run in hand accessible. `false`: the host cannot. (Linux limits how many pieces of different
    /// protection a process has.)
    pub(crate) fn open(&self, verifier: &Verifier, start: BlockId) -> bool {
        let (address, bytes) = self.run(start);
        verifier.host().protect(address, bytes, Access::ReadWrite)
    }
}
