//! The range of addresses that a pool hands out.

use super::block::BlockId;
use super::classes::{GRAIN, GRAIN_SHIFT, SpanSize};

/// Where a range begins. The pool's handle has a copy, so that free knows an address's place before it has read
/// anything of the pool's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Base(pub(crate) u64);

impl Base {
    /// An address as a *place*: its offset in the range in grains, and what is left of a multiple of
    /// 16 in the top bits. So one compare with the limit refuses both kinds of bad address.
    #[inline(always)]
    pub(crate) const fn place_of(self, address: u64) -> u64 {
        address.wrapping_sub(self.0).rotate_right(GRAIN_SHIFT)
    }

    /// The address whose place this is.
    pub(crate) const fn address_of(self, place: u64) -> u64 {
        place.rotate_left(GRAIN_SHIFT).wrapping_add(self.0)
    }
}

/// Where the range begins, and how many block ids it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    pub(crate) base: Base,
    /// Block ids are below this.
    pub(crate) limit: u64,
    /// The same, for the fast paths; 0 if spans are of one page. The fast paths know spans of the largest size alone, as
    /// a constant; so they miss in small pools, which go by copies of them with the other constant.
    pub(crate) fast_limit: u64,
}

impl Range {
    pub(crate) const fn new(base: u64, spans: u32, size: SpanSize) -> Range {
        let limit = (spans as u64) << size.shift();
        Range { base: Base(base), limit, fast_limit: if size.is_most() { limit } else { 0 } }
    }

    /// The address of a block; of a made-up one, which is prefetched and no more, some address.
    #[inline(always)]
    pub(crate) const fn address(&self, block: BlockId) -> u64 {
        self.base.0.wrapping_add(block.0 as u64 * GRAIN as u64)
    }

    /// The block id of a place, if the range has it.
    #[inline(always)]
    pub(crate) const fn block_at(&self, place: u64) -> Option<BlockId> {
        if place < self.limit { Some(BlockId(place as u32)) } else { None }
    }

    /// The block id of a place, if the range has it, and the fast paths serve the pool.
    #[inline(always)]
    pub(crate) const fn fast_block_at(&self, place: u64) -> Option<BlockId> {
        if place < self.fast_limit { Some(BlockId(place as u32)) } else { None }
    }

    /// The grain that an address lies in, if the range has it.
    pub(crate) const fn grain_of(&self, address: u64) -> Option<BlockId> {
        self.block_at(address.wrapping_sub(self.base.0) / GRAIN as u64)
    }
}
