//! The safe layer: an adapter that removes itself, and blocks that free themselves. These borrow the pool;
//! [`owned`](super::owned) shares it.

use core::fmt;
use core::mem::{ManuallyDrop, MaybeUninit};

use static_assertions::assert_impl_all;

use crate::contract::adapter::{AdapterId, AdapterName};
use crate::contract::status::Status;
use crate::contract::tag::PoolTag;
use crate::owners::adapters::AdapterError;
use crate::percpu::platform::Platform;
use crate::pool::handle::{DefaultPlatform, Pool};
use crate::pool::held::{FreeError, Held, drop_adapter};

/// An adapter as an owner. Its blocks cannot outlive it, and dropping it removes it. It borrows the pool.
/// `OwnedAdapter` (feature `alloc`) shares the pool, for structs and threads.
///
/// ```
/// use storport_pool::{Pool, tag};
/// let pool = Pool::new(1 << 20)?;
/// let disk = pool.adapter("disk0")?;
/// assert_eq!(disk.name(), disk.pool().adapter_name(disk.id()));
/// let mut srb = disk.allocate(208, tag!("VioS"))?;
/// srb.fill(0);
/// drop(srb);
/// let removal = disk.remove()?;
/// assert!(removal.outstanding.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Adapter<'p, P: Platform = DefaultPlatform> {
    pool: &'p Pool<P>,
    id: AdapterId,
}

/// A block of an [`Adapter`]. It is freed when it is dropped.
///
/// It cannot be freed above DISPATCH, or while the host's switch is down. If it is dropped there, it stays allocated.
/// The violation hook hears of it ([`Stranded`](crate::ViolationKind::Stranded)), and [`Adapter::adopt`] gives it back.
/// [`free`](Block::free) says why at once, and keeps the block.
///
/// ```
/// use storport_pool::{Pool, Status, tag};
/// let pool = Pool::new(1 << 20)?;
/// let disk = pool.adapter("disk0")?;
/// let mut block = disk.allocate(100, tag!("VioS"))?;
/// assert_eq!((block.len(), block.address() % 16), (100, 0));
/// assert!(block.fill(0) && block.memory().is_some_and(|memory| memory.len() == 100));
/// block.resize(112)?; // in place, as far as its size class has room
/// assert_eq!(block.resize(113), Err(Status::INSUFFICIENT_RESOURCES));
/// assert!(block.free().is_ok());
/// let address = disk.allocate(100, tag!("VioS"))?.into_address(); // nobody owns it now
/// assert_eq!(unsafe { pool.free(disk.id(), address) }, Status::SUCCESS);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a block is freed when it is dropped"]
pub struct Block<'a, P: Platform = DefaultPlatform> {
    adapter: &'a Adapter<'a, P>,
    held: Held,
}

// A block may be freed on another thread, and an adapter used by several.
assert_impl_all!(Adapter<'static>: Send, Sync);
assert_impl_all!(Block<'static>: Send, Sync);

impl<P: Platform> Pool<P> {
    /// Adds an adapter that owns its blocks by lifetime. PASSIVE, as [`add_adapter`](Pool::add_adapter). [`Adapter`]
    /// has an example.
    ///
    /// # Errors
    /// As [`add_adapter`](Pool::add_adapter).
    pub fn adapter(&self, name: &str) -> Result<Adapter<'_, P>, AdapterError> {
        Ok(Adapter { pool: self, id: self.add_adapter(name)? })
    }
}

impl<P: Platform> Adapter<'_, P> {
    /// The pool of this adapter. Any IRQL.
    #[must_use]
    pub fn pool(&self) -> &Pool<P> {
        self.pool
    }

    /// The adapter's handle, as the routines of [`Pool`] take it. Any IRQL.
    #[must_use]
    pub fn id(&self) -> AdapterId {
        self.id
    }

    /// Its name. `None`: it was removed through its id. Any IRQL.
    pub fn name(&self) -> Option<AdapterName> {
        self.pool.adapter_name(self.id)
    }

    /// A block of `bytes` bytes, 1 to 2^32 - 1, not initialised. IRQL <= DISPATCH; lock-free.
    ///
    /// # Errors
    /// The status that [`Pool::allocate`] returned.
    #[inline]
    pub fn allocate(&self, bytes: u32, tag: PoolTag) -> Result<Block<'_, P>, Status> {
        Ok(Block { adapter: self, held: Held::allocate(self.pool, self.id, bytes, tag)? })
    }

    /// A block whose address is a multiple of `alignment`, a power of two. IRQL <= DISPATCH; lock-free.
    ///
    /// ```
    /// use storport_pool::{Pool, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.adapter("disk0")?;
    /// assert_eq!(disk.allocate_aligned(96, 64, tag!("Sens"))?.address() % 64, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The status that [`Pool::allocate_aligned`] returned.
    pub fn allocate_aligned(&self, bytes: u32, alignment: u32, tag: PoolTag) -> Result<Block<'_, P>, Status> {
        Ok(Block { adapter: self, held: Held::allocate_aligned(self.pool, self.id, bytes, alignment, tag)? })
    }

    /// `N` blocks of `bytes` bytes each, all or none. Each is freed when it is dropped.
    /// [`free_bulk`](Adapter::free_bulk) frees all of them at once. IRQL <= DISPATCH; lock-free.
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
        let blocks = Held::allocate_bulk(self.pool, self.id, bytes, tag)?;
        Ok(blocks.map(|held| Block { adapter: self, held }))
    }

    /// Frees these blocks at once. The answer is how many were freed: all, unless the call is refused, above DISPATCH
    /// or by the host's switch. Then they stay allocated, as a dropped [`Block`] does, and the hook hears of each.
    /// Blocks of another adapter are freed in its name, one by one.
    ///
    /// IRQL <= DISPATCH; bounded by their number. [`allocate_bulk`](Adapter::allocate_bulk) has an example.
    pub fn free_bulk<const N: usize>(&self, blocks: [Block<'_, P>; N]) -> usize {
        if blocks.iter().all(|block| core::ptr::eq(block.adapter, self)) {
            let addresses = blocks.map(Block::into_address);
            let mut statuses = [Status::SUCCESS; N];
            // SAFETY: the blocks were ours, and nobody can use them any more.
            let freed = unsafe { self.pool.free_bulk(self.id, &addresses, &mut statuses) };
            if freed < N {
                for (&address, status) in addresses.iter().zip(statuses) {
                    Held::stranded(self.pool, self.id, address, status);
                }
            }
            return freed;
        }
        // Some are another adapter's: each in its own owner's name.
        blocks.into_iter().filter_map(|block| block.free().ok()).count()
    }

    /// Takes a block back that nobody holds. Its drop was told ([`Stranded`](crate::ViolationKind::Stranded)), or
    /// [`into_address`](Block::into_address) gave it up. `None`: no live block of this adapter begins there.
    ///
    /// Any IRQL; loads only.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use storport_pool::{Irql, Pool, ViolationKind, tag};
    ///
    /// static LOST: AtomicU64 = AtomicU64::new(0);
    /// let pool = Pool::new(1 << 20)?;
    /// pool.on_violation(|violation| {
    ///     if violation.kind == ViolationKind::Stranded {
    ///         LOST.store(violation.address, Ordering::Relaxed);
    ///     }
    /// });
    /// let disk = pool.adapter("disk0")?;
    /// let block = disk.allocate(208, tag!("VioS"))?;
    /// {
    ///     let _in_handler = Irql::raise(Irql::DEVICE);
    ///     drop(block); // Cannot be freed here.
    /// }
    /// // SAFETY: nobody holds the block: its drop was told.
    /// let block = unsafe { disk.adopt(LOST.load(Ordering::Relaxed)) }.unwrap();
    /// assert_eq!(block.len(), 208);
    /// drop(block);
    /// assert_eq!(pool.usage().live, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Safety
    /// Nobody else holds the block, nor frees it by its address.
    pub unsafe fn adopt(&self, address: u64) -> Option<Block<'_, P>> {
        Some(Block { adapter: self, held: Held::find(self.pool, self.id, address)? })
    }

    /// Removes the adapter, and says what it still has: blocks that [`into_address`](Block::into_address) gave up, or
    /// whose drop was told. Feature `alloc`. PASSIVE; walks all states.
    ///
    /// # Errors
    /// `INVALID_PARAMETER`: it was removed through its id. `INVALID_IRQL` above DISPATCH: the adapter stays, and the hook hears of it.
    #[cfg(feature = "alloc")]
    pub fn remove(self) -> Result<crate::pool::snapshot::Removal, Status> {
        let this = ManuallyDrop::new(self);
        // Refused, it is dropped, and that tells.
        this.pool.remove_adapter(this.id).inspect_err(|_| drop_adapter(this.pool, this.id))
    }
}

impl<P: Platform> Drop for Adapter<'_, P> {
    /// Removes the adapter. Blocks that were given up become the orphans', and the violation hook hears of them. PASSIVE.
    /// Above DISPATCH the adapter stays, and the hook hears of that
    /// ([`StrandedAdapter`](crate::ViolationKind::StrandedAdapter)).
    fn drop(&mut self) {
        drop_adapter(self.pool, self.id);
    }
}

impl<P: Platform> fmt::Debug for Adapter<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Adapter({})", self.id)
    }
}

impl<'a, P: Platform> Block<'a, P> {
    /// Its address, as the routines of [`Pool`] take it. Any IRQL.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.held.address
    }

    /// Bytes that were requested, or that its own `resize` asked for. ([`Pool::resize`] by the address is not seen here.) Any
    /// IRQL.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "no block is empty")]
    pub fn len(&self) -> u32 {
        self.held.bytes
    }

    /// Gives the block `bytes` bytes from now on, in place. IRQL <= DISPATCH; no loop.
    ///
    /// # Errors
    /// The status that [`Pool::resize`] returned. The block is as it was.
    pub fn resize(&mut self, bytes: u32) -> Result<(), Status> {
        self.held.resize(self.adapter.pool, self.adapter.id, bytes)
    }

    /// Frees the block. If it cannot be freed, the error says why and has the block. IRQL <= DISPATCH; bounded as
    /// [`Pool::free`].
    ///
    /// # Errors
    /// [`FreeError`], with the block in it.
    pub fn free(self) -> Result<(), FreeError<Block<'a, P>>> {
        let this = ManuallyDrop::new(self);
        let Adapter { pool, id } = *this.adapter;
        // SAFETY: the block is ours, and nobody can use it after this.
        unsafe { this.held.free(pool, id) }
            .map_err(|status| FreeError { status, block: ManuallyDrop::into_inner(this) })
    }

    /// Gives the block up without freeing it. [`Pool::free`] and [`Adapter::adopt`] take the address. Any IRQL.
    #[must_use]
    pub fn into_address(self) -> u64 {
        ManuallyDrop::new(self).held.address
    }

    /// The block's memory, as many bytes as [`len`](Block::len) says. `None`: the caller supplied the range, and did
    /// not say where its memory is ([`Pool::with_memory`]). Any IRQL.
    pub fn memory(&mut self) -> Option<&mut [MaybeUninit<u8>]> {
        self.held.memory(self.adapter.pool)
    }

    /// Fills the block's [memory](Block::memory). The answer is whether there was any. Any IRQL; O(bytes).
    pub fn fill(&mut self, byte: u8) -> bool {
        self.memory().map(|memory| memory.fill(MaybeUninit::new(byte))).is_some()
    }
}

impl<P: Platform> Drop for Block<'_, P> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the block is ours, and nobody can use it after its owner.
        unsafe { self.held.drop(self.adapter.pool, self.adapter.id) };
    }
}

impl<P: Platform> fmt::Debug for Block<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.held.fmt(f)
    }
}
