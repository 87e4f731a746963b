//! A pool's blocks by `Layout`, for the two traits that programs allocate by.

use core::alloc::Layout;
use core::ptr::{self, null_mut};

use crate::contract::adapter::AdapterId;
use crate::contract::block::BlockInfo;
use crate::contract::tag::PoolTag;
use crate::layout::classes::GRAIN;
use crate::percpu::platform::Platform;
use crate::pool::handle::Pool;

/// In whose name blocks are allocated and freed.
pub(crate) struct Owner<'a, P: Platform> {
    /// Its range is memory of this process, whose addresses are exposed.
    pub(crate) pool: &'a Pool<P>,
    pub(crate) adapter: AdapterId,
}

impl<P: Platform> Clone for Owner<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Platform> Copy for Owner<'_, P> {}

impl<P: Platform> Owner<'_, P> {
    /// A block with this layout, which has a size; null if there is none.
    #[inline]
    pub(crate) fn allocate(self, layout: Layout, tag: PoolTag) -> *mut u8 {
        let (Ok(bytes), Ok(alignment)) = (u32::try_from(layout.size()), u32::try_from(layout.align())) else {
            return null_mut();
        };
        let mut address = 0;
        let status = if alignment <= GRAIN {
            self.pool.allocate(self.adapter, bytes, tag, Some(&mut address))
        } else {
            self.pool.allocate_aligned(self.adapter, bytes, alignment, tag, Some(&mut address))
        };
        if status.is_success() { ptr::with_exposed_provenance_mut(address as usize) } else { null_mut() }
    }

    /// A block with this layout, all of whose bytes are 0; null if there is none.
    pub(crate) fn allocate_zeroed(self, layout: Layout, tag: PoolTag) -> *mut u8 {
        let block = self.allocate(layout, tag);
        if !block.is_null() {
            // SAFETY: the block is ours, and has so many bytes. (Its former owner's may still be there.)
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    /// # Safety
    /// As [`Pool::free`].
    #[inline]
    pub(crate) unsafe fn free(self, block: *mut u8) {
        // A refused block stays allocated, and the violation hook hears of it.
        // SAFETY: the caller's promise.
        let _ = unsafe { self.pool.free(self.adapter, block.addr() as u64) };
    }

    /// The block with `new`'s size and alignment, where it is or in another place; null if it cannot be had, and then
    /// `block` is as it was. Keeps the block's own tag; where that is lost, `tag`.
    ///
    /// It stays where it is while it has room, and less than half of it is wasted, or another place would waste as much.
    ///
    /// # Safety
    /// The block has the layout `old`, and so many bytes; `new` has a size.
    pub(crate) unsafe fn reallocate(self, block: *mut u8, old: Layout, new: Layout, tag: PoolTag) -> *mut u8 {
        let address = block.addr() as u64;
        let ours = |found: &BlockInfo| found.live && found.address == address && found.owner == self.adapter;
        let Some(found) = self.pool.block_at(address).filter(ours) else {
            // `resize` refuses it, and the hook hears of it.
            let _ = self.pool.resize(self.adapter, address, 1);
            return null_mut();
        };
        let aligned = address.is_multiple_of(new.align() as u64);
        let fits = aligned && new.size() as u64 <= found.capacity;
        let least = new.size().max(new.align()).max(self.pool.least_block() as usize) as u64;
        if fits && found.capacity <= 2 * least && self.resize(address, new.size()) {
            return block;
        }
        let moved = self.allocate(new, found.tag.unwrap_or(tag));
        if moved.is_null() {
            // Who asks for less does not expect to be refused.
            let shrinks = fits && new.size() <= old.size();
            if shrinks {
                self.resize(address, new.size());
                return block;
            }
            return null_mut();
        }
        // SAFETY: two blocks that the caller has, each with so many bytes; and it gives the first one up.
        unsafe {
            ptr::copy_nonoverlapping(block, moved, old.size().min(new.size()));
            self.free(block);
        }
        moved
    }

    fn resize(self, address: u64, bytes: usize) -> bool {
        u32::try_from(bytes).is_ok_and(|bytes| self.pool.resize(self.adapter, address, bytes).is_success())
    }
}

impl<P: Platform> Pool<P> {
    /// Bytes of the smallest block.
    fn least_block(&self) -> u32 {
        crate::layout::classes::Class(self.meta.control().geometry.least_class).bytes()
    }
}
