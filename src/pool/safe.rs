//! The safe layer: an adapter that removes itself, and blocks that free themselves.

use core::fmt;
use core::mem::ManuallyDrop;
#[cfg(feature = "std")]
use core::mem::MaybeUninit;

use static_assertions::assert_impl_all;

use crate::contract::adapter::AdapterId;
use crate::contract::status::Status;
use crate::contract::tag::PoolTag;
use crate::owners::adapters::AdapterError;
use crate::percpu::platform::Platform;
use crate::pool::handle::{DefaultPlatform, Pool};

/// An adapter as an owner: its blocks cannot outlive it, and dropping it removes it.
///
/// ```
/// use storport_pool::{Pool, tag};
/// let pool = Pool::new(1 << 20)?;
/// let disk = pool.adapter("disk0")?;
/// let mut srb = disk.allocate(208, tag!("VioS"))?;
/// srb.fill(0);
/// drop(srb);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Adapter<'p, P: Platform = DefaultPlatform> {
    pool: &'p Pool<P>,
    id: AdapterId,
}

/// A block: freed when dropped.
#[must_use = "a block is freed when it is dropped"]
pub struct Block<'a, P: Platform = DefaultPlatform> {
    adapter: &'a Adapter<'a, P>,
    address: u64,
    bytes: u32,
}

// A block may be freed on another thread, and an adapter used by several.
assert_impl_all!(Adapter<'static>: Send, Sync);
assert_impl_all!(Block<'static>: Send, Sync);

impl<P: Platform> Pool<P> {
    /// Adds an adapter that owns its blocks by lifetime.
    ///
    /// # Errors
    /// As [`add_adapter`](Pool::add_adapter).
    pub fn adapter(&self, name: &str) -> Result<Adapter<'_, P>, AdapterError> {
        Ok(Adapter { pool: self, id: self.add_adapter(name)? })
    }
}

impl<P: Platform> Adapter<'_, P> {
    /// The pool that it is one of.
    #[cfg(all(feature = "std", feature = "allocator-api2"))]
    pub(crate) fn pool(&self) -> &Pool<P> {
        self.pool
    }

    /// The adapter as the raw routines take it.
    #[must_use]
    pub fn id(&self) -> AdapterId {
        self.id
    }

    /// A block of `bytes` bytes, 1 to 2^32 - 1, not initialised. IRQL <= DISPATCH; lock-free.
    ///
    /// # Errors
    /// The status that [`Pool::allocate`] returned.
    #[inline]
    pub fn allocate(&self, bytes: u32, tag: PoolTag) -> Result<Block<'_, P>, Status> {
        let mut address = 0;
        self.pool.allocate(self.id, bytes, tag, Some(&mut address)).ok()?;
        Ok(Block { adapter: self, address, bytes })
    }

    /// As many blocks of `bytes` bytes, all or none; each is freed when it is dropped, or all of them at once by
    /// [`free_bulk`](Adapter::free_bulk). IRQL <= DISPATCH; lock-free.
    ///
    /// ```
    /// use storport_pool::{Pool, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.adapter("disk0")?;
    /// let blocks: [_; 16] = disk.allocate_bulk(208, tag!("VioS"))?;
    /// assert_eq!(disk.free_bulk(blocks), 16);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The status that [`Pool::allocate_bulk`] returned.
    pub fn allocate_bulk<const N: usize>(
        &self,
        bytes: u32,
        tag: PoolTag,
    ) -> Result<[Block<'_, P>; N], Status> {
        let mut addresses = [0; N];
        self.pool.allocate_bulk(self.id, bytes, tag, &mut addresses).ok()?;
        Ok(addresses.map(|address| Block { adapter: self, address, bytes }))
    }

    /// Frees these blocks at once, and says how many were freed: all, unless the call is refused above DISPATCH, or
    /// by the host's switch. Then they stay allocated, and the adapter's removal reports them. Blocks of another adapter
    /// are freed in its name, one by one.
    ///
    /// IRQL <= DISPATCH; bounded by their number.
    pub fn free_bulk<const N: usize>(&self, blocks: [Block<'_, P>; N]) -> usize {
        if blocks.iter().all(|block| core::ptr::eq(block.adapter, self)) {
            let addresses = blocks.map(Block::into_address);
            // SAFETY: the blocks were ours, and nobody can use them any more.
            return unsafe { self.pool.free_bulk(self.id, &addresses, &mut []) };
        }
        // Some are another adapter's: each in its own owner's name.
        let freed = blocks.map(|block| {
            let Adapter { pool, id } = *block.adapter;
            // SAFETY: as above.
            unsafe { pool.free(id, block.into_address()) }.is_success()
        });
        freed.into_iter().filter(|&freed| freed).count()
    }
}

impl<P: Platform> Drop for Adapter<'_, P> {
    /// Removes the adapter. Blocks that were leaked on purpose become the orphans', and the
    /// violation hook hears of them. PASSIVE.
    fn drop(&mut self) {
        // An error would mean that it was removed through its id already.
        let _ = self.pool.remove_adapter_with(self.id, |_| {});
    }
}

impl<P: Platform> fmt::Debug for Adapter<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Adapter({})", self.id)
    }
}

impl<P: Platform> Block<'_, P> {
    /// The address, as the raw routines know it.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Bytes that were requested.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "no block is empty")]
    pub fn len(&self) -> u32 {
        self.bytes
    }

    /// Gives the block up without freeing it; [`Pool::free`] takes the address.
    #[must_use]
    pub fn into_address(self) -> u64 {
        ManuallyDrop::new(self).address
    }

    /// The block's memory, if the pool made its range itself; `None` for a range that the caller
    /// supplied, which the pool does not know how to reach.
    #[cfg(feature = "std")]
    pub fn memory(&mut self) -> Option<&mut [MaybeUninit<u8>]> {
        self.adapter.pool.backing.as_ref()?;
        let start = core::ptr::with_exposed_provenance_mut::<MaybeUninit<u8>>(self.address as usize);
        // SAFETY: the range is the pool's own mapping, of which this block is allocated to us alone.
        Some(unsafe { core::slice::from_raw_parts_mut(start, self.bytes as usize) })
    }

    /// Fills the block's memory, if the pool made its range itself. Answers whether it did.
    #[cfg(feature = "std")]
    pub fn fill(&mut self, byte: u8) -> bool {
        self.memory().map(|memory| memory.fill(MaybeUninit::new(byte))).is_some()
    }
}

impl<P: Platform> Drop for Block<'_, P> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the block is ours, and nobody can use it after its owner. A free above DISPATCH is
        // refused and leaves the block allocated: a leak that the adapter's removal reports.
        let _ = unsafe { self.adapter.pool.free(self.adapter.id, self.address) };
    }
}

impl<P: Platform> fmt::Debug for Block<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} bytes at {:#x})", self.bytes, self.address)
    }
}
