//! The safe layer over a shared pool: handles that a struct can keep, and that go to any thread.

use alloc::sync::{Arc, Weak};
use core::fmt;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ops::Deref;
use core::ptr;

use static_assertions::assert_impl_all;

use crate::contract::adapter::{AdapterId, AdapterName};
use crate::contract::status::Status;
use crate::contract::tag::PoolTag;
use crate::owners::adapters::AdapterError;
use crate::percpu::platform::Platform;
use crate::pool::handle::{DefaultPlatform, Pool};
use crate::pool::held::{FreeError, Held, drop_adapter};

/// An adapter that shares its pool. It can be kept in a struct, cloned, and sent to other threads. A clone is the same
/// adapter. The adapter is removed when the last clone and the last of its blocks are gone.
///
/// Each block counts as a user of the adapter. So an allocation and a free have one locked instruction more than
/// [`Pool::allocate`] and [`Pool::free`]. Where that matters, use [`Adapter`](crate::Adapter), or the routines.
///
/// **Whoever drops the last one** removes the adapter, and perhaps the pool. That is for IRQL PASSIVE, and walks the
/// metadata. So keep a clone outside of handlers.
///
/// **A block that is forgotten** (`mem::forget`, a cycle of `Arc`s) keeps the adapter and the pool, so no removal tells of it.
/// `Pool::leaks` finds it (feature `verifier`), and so does [`Pool::remove_adapter`] with the adapter's
/// [`id`](OwnedAdapter::id) when the program ends.
///
/// ```
/// use std::sync::Arc;
/// use storport_pool::{OwnedAdapter, OwnedBlock, Pool, Status, tag};
///
/// struct Disk {
///     adapter: OwnedAdapter,
///     waiting: Vec<OwnedBlock>,
/// }
///
/// let pool = Arc::new(Pool::new(1 << 20)?);
/// let mut disk = Disk { adapter: pool.adapter_owned("disk0")?, waiting: Vec::new() };
/// disk.waiting.push(disk.adapter.allocate(208, tag!("VioS"))?);
/// let elsewhere = disk.adapter.allocate(64, tag!("Sens"))?;
/// std::thread::spawn(move || drop(elsewhere)).join().unwrap();
/// assert_eq!(pool.usage().live, 1);
/// drop(disk);
/// assert_eq!((pool.usage().live, pool.adapters().len()), (0, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Its other functions:
///
/// ```
/// use std::sync::Arc;
/// use storport_pool::{Pool, tag};
/// let pool = Arc::new(Pool::new(1 << 20)?);
/// let disk = pool.adapter_owned("disk0")?;
/// assert!(std::ptr::eq(disk.pool(), &*pool));
/// assert_eq!(disk.name(), pool.adapter_name(disk.id()));
/// assert_eq!(disk.allocate_aligned(96, 64, tag!("Sens"))?.address() % 64, 0);
/// let blocks: [_; 8] = disk.allocate_bulk(208, tag!("VioS"))?;
/// let [address, ..] = blocks.map(|block| block.into_address()); // nobody owns them now
/// // SAFETY: nobody else holds the block.
/// assert!(unsafe { disk.adopt(address) }.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OwnedAdapter<P: Platform + 'static = DefaultPlatform> {
    inner: Arc<Inner<P>>,
}

/// What the clones share.
struct Inner<P: Platform + 'static> {
    pool: Shared<P>,
    id: AdapterId,
}

/// A pool that many share.
enum Shared<P: Platform + 'static> {
    Counted(Arc<Pool<P>>),
    Static(&'static Pool<P>),
}

impl<P: Platform + 'static> Deref for Shared<P> {
    type Target = Pool<P>;

    fn deref(&self) -> &Pool<P> {
        match self {
            Shared::Counted(pool) => pool,
            Shared::Static(pool) => pool,
        }
    }
}

/// A block of an [`OwnedAdapter`]. It is freed when it is dropped, wherever it was moved. If it is dropped where it
/// cannot be freed, the violation hook hears of it, as for a [`Block`](crate::Block). [`OwnedAdapter::adopt`] gives it
/// back.
///
/// ```
/// use std::sync::Arc;
/// use storport_pool::{Pool, tag};
/// let pool = Arc::new(Pool::new(1 << 20)?);
/// let mut block = pool.adapter_owned("disk0")?.allocate(100, tag!("VioS"))?;
/// assert_eq!((block.len(), block.address() % 16), (100, 0));
/// assert!(block.fill(0) && block.memory().is_some_and(|memory| memory.len() == 100));
/// block.resize(112)?; // in place, as far as its size class has room
/// println!("{:?}", block.adapter().name());
/// assert!(block.free().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a block is freed when it is dropped"]
pub struct OwnedBlock<P: Platform + 'static = DefaultPlatform> {
    adapter: OwnedAdapter<P>,
    held: Held,
}

assert_impl_all!(OwnedAdapter: Send, Sync, Clone);
assert_impl_all!(OwnedBlock: Send, Sync);

impl<P: Platform + 'static> Pool<P> {
    /// Adds an adapter that shares the pool. Its blocks own themselves. PASSIVE, as [`add_adapter`](Pool::add_adapter).
    /// [`OwnedAdapter`] has an example.
    ///
    /// # Errors
    /// As [`add_adapter`](Pool::add_adapter).
    pub fn adapter_owned(self: &Arc<Self>, name: &str) -> Result<OwnedAdapter<P>, AdapterError> {
        let id = self.add_adapter(name)?;
        Ok(OwnedAdapter { inner: Arc::new(Inner { pool: Shared::Counted(Arc::clone(self)), id }) })
    }

    /// As [`adapter_owned`](Pool::adapter_owned), for a pool in a static: a [`StaticPool`](crate::StaticPool)'s. PASSIVE.
    ///
    /// ```
    /// use storport_pool::{Config, OwnedBlock, Portable, SingleCpu, static_pool, tag};
    /// static_pool! {
    ///     static GUEST: Portable<SingleCpu> = Config::new(0x8000_0000, 1 << 20).min_block(64);
    /// }
    /// struct Request {
    ///     block: OwnedBlock<Portable<SingleCpu>>,
    /// }
    /// let disk = GUEST.init(Portable::new(SingleCpu))?.adapter_static("disk0")?;
    /// let request = Request { block: disk.allocate(208, tag!("VioS"))? };
    /// std::thread::spawn(move || drop(request.block)).join().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`add_adapter`](Pool::add_adapter).
    pub fn adapter_static(&'static self, name: &str) -> Result<OwnedAdapter<P>, AdapterError> {
        let id = self.add_adapter(name)?;
        Ok(OwnedAdapter { inner: Arc::new(Inner { pool: Shared::Static(self), id }) })
    }
}

impl<P: Platform + 'static> OwnedAdapter<P> {
    /// The pool of this adapter. Any IRQL.
    #[must_use]
    pub fn pool(&self) -> &Pool<P> {
        &self.inner.pool
    }

    /// The adapter without a hold on it or its pool: for what the pool itself keeps, such as its violation hook. Any IRQL.
    /// [`WeakAdapter`] has an example.
    #[must_use]
    pub fn downgrade(&self) -> WeakAdapter<P> {
        WeakAdapter { inner: Arc::downgrade(&self.inner) }
    }

    /// The adapter's handle, as the routines of [`Pool`] take it. Any IRQL.
    #[must_use]
    pub fn id(&self) -> AdapterId {
        self.inner.id
    }

    /// Its name. `None`: it was removed through its id. Any IRQL.
    pub fn name(&self) -> Option<AdapterName> {
        self.inner.pool.adapter_name(self.inner.id)
    }

    fn block(&self, held: Held) -> OwnedBlock<P> {
        OwnedBlock { adapter: self.clone(), held }
    }

    /// A block of `bytes` bytes, 1 to 2^32 - 1, not initialised. IRQL <= DISPATCH; lock-free.
    ///
    /// # Errors
    /// The status that [`Pool::allocate`] returned.
    #[inline]
    pub fn allocate(&self, bytes: u32, tag: PoolTag) -> Result<OwnedBlock<P>, Status> {
        Held::allocate(self.pool(), self.id(), bytes, tag).map(|held| self.block(held))
    }

    /// A block whose address is a multiple of `alignment`, a power of two. IRQL <= DISPATCH; lock-free.
    ///
    /// # Errors
    /// The status that [`Pool::allocate_aligned`] returned.
    pub fn allocate_aligned(
        &self,
        bytes: u32,
        alignment: u32,
        tag: PoolTag,
    ) -> Result<OwnedBlock<P>, Status> {
        Held::allocate_aligned(self.pool(), self.id(), bytes, alignment, tag).map(|held| self.block(held))
    }

    /// `N` blocks of `bytes` bytes each, all or none. IRQL <= DISPATCH; lock-free.
    ///
    /// # Errors
    /// The status that [`Pool::allocate_bulk`] returned.
    pub fn allocate_bulk<const N: usize>(
        &self,
        bytes: u32,
        tag: PoolTag,
    ) -> Result<[OwnedBlock<P>; N], Status> {
        Held::allocate_bulk(self.pool(), self.id(), bytes, tag)
            .map(|blocks| blocks.map(|held| self.block(held)))
    }

    /// Takes a block back that nobody holds, as [`Adapter::adopt`](crate::Adapter::adopt). `None`: no live block of
    /// this adapter begins there. Any IRQL; loads, and one locked instruction.
    ///
    /// # Safety
    /// Nobody else holds the block, nor frees it by its address.
    pub unsafe fn adopt(&self, address: u64) -> Option<OwnedBlock<P>> {
        Held::find(self.pool(), self.id(), address).map(|held| self.block(held))
    }
}

impl<P: Platform + 'static> Clone for OwnedAdapter<P> {
    fn clone(&self) -> Self {
        OwnedAdapter { inner: Arc::clone(&self.inner) }
    }
}

impl<P: Platform + 'static> Drop for Inner<P> {
    /// Removes the adapter, as the drop of an [`Adapter`](crate::Adapter) does. PASSIVE.
    fn drop(&mut self) {
        drop_adapter(&self.pool, self.id);
    }
}

/// An [`OwnedAdapter`] that keeps neither the adapter nor the pool: for hooks, which would else keep their own pool.
///
/// ```
/// use std::sync::Arc;
/// use storport_pool::Pool;
/// let pool = Arc::new(Pool::new(1 << 20)?);
/// let disk = pool.adapter_owned("disk0")?;
/// let weak = disk.downgrade();
/// assert_eq!(weak.upgrade(), Some(disk.clone()));
/// drop(disk);
/// assert_eq!(weak.upgrade(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct WeakAdapter<P: Platform + 'static = DefaultPlatform> {
    inner: Weak<Inner<P>>,
}

impl<P: Platform + 'static> WeakAdapter<P> {
    /// The adapter. `None`: its last holder is gone. Any IRQL; lock-free.
    #[must_use]
    pub fn upgrade(&self) -> Option<OwnedAdapter<P>> {
        Some(OwnedAdapter { inner: self.inner.upgrade()? })
    }
}

impl<P: Platform + 'static> Clone for WeakAdapter<P> {
    fn clone(&self) -> Self {
        WeakAdapter { inner: Weak::clone(&self.inner) }
    }
}

impl<P: Platform + 'static> fmt::Debug for WeakAdapter<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakAdapter")
    }
}

impl<P: Platform + 'static> fmt::Debug for OwnedAdapter<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnedAdapter({})", self.id())
    }
}

/// The same adapter of the same pool.
impl<P: Platform + 'static> PartialEq for OwnedAdapter<P> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl<P: Platform + 'static> Eq for OwnedAdapter<P> {}

impl<P: Platform + 'static> OwnedBlock<P> {
    /// Its adapter. Any IRQL.
    #[must_use]
    pub fn adapter(&self) -> &OwnedAdapter<P> {
        &self.adapter
    }

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
        self.held.resize(self.adapter.pool(), self.adapter.id(), bytes)
    }

    /// Frees the block. If it cannot be freed, the error says why and has the block. IRQL <= DISPATCH; bounded as
    /// [`Pool::free`]. If it is the last user of the adapter, PASSIVE.
    ///
    /// # Errors
    /// [`FreeError`], with the block in it.
    pub fn free(self) -> Result<(), FreeError<OwnedBlock<P>>> {
        // SAFETY: the block is ours, and nobody can use it after this.
        match unsafe { self.held.free(self.adapter.pool(), self.adapter.id()) } {
            Ok(()) => {
                drop(self.give_up());
                Ok(())
            }
            Err(status) => Err(FreeError { status, block: self }),
        }
    }

    /// Its adapter; the block is nobody's, and stays as it is.
    fn give_up(self) -> OwnedAdapter<P> {
        let this = ManuallyDrop::new(self);
        // SAFETY: read once, and `this` is not dropped.
        unsafe { ptr::read(&raw const this.adapter) }
    }

    /// Gives the block up without freeing it. [`Pool::free`] and [`OwnedAdapter::adopt`] take the address. The block no
    /// longer keeps its adapter from being removed. Any IRQL; if it is the last user of the adapter, PASSIVE.
    /// [`OwnedAdapter`] has an example.
    #[must_use]
    pub fn into_address(self) -> u64 {
        let address = self.held.address;
        drop(self.give_up());
        address
    }

    /// The block's memory, as [`Block::memory`](crate::Block::memory). Any IRQL.
    pub fn memory(&mut self) -> Option<&mut [MaybeUninit<u8>]> {
        self.held.memory(self.adapter.pool())
    }

    /// Fills the block's [memory](OwnedBlock::memory). The answer is whether there was any. Any IRQL; O(bytes).
    pub fn fill(&mut self, byte: u8) -> bool {
        self.memory().map(|memory| memory.fill(MaybeUninit::new(byte))).is_some()
    }
}

impl<P: Platform + 'static> Drop for OwnedBlock<P> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the block is ours, and nobody can use it after its owner.
        unsafe { self.held.drop(self.adapter.pool(), self.adapter.id()) };
    }
}

impl<P: Platform + 'static> fmt::Debug for OwnedBlock<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.held.fmt(f)
    }
}
