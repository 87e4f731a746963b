//! A block that a value of Rust holds, whether it borrows the pool or shares it.

use core::fmt;
use core::mem::MaybeUninit;

use crate::contract::adapter::AdapterId;
use crate::contract::status::Status;
use crate::contract::tag::PoolTag;
use crate::contract::words::pad;
use crate::percpu::platform::Platform;
use crate::pool::handle::Pool;
use crate::routines::report::Call;

/// A block that its holder alone may free.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) address: u64,
    pub(super) bytes: u32,
}

impl Held {
    #[inline]
    pub(super) fn allocate<P: Platform>(
        pool: &Pool<P>,
        adapter: AdapterId,
        bytes: u32,
        tag: PoolTag,
    ) -> Result<Held, Status> {
        Ok(Held { address: pool.try_allocate(adapter, bytes, tag)?, bytes })
    }

    pub(super) fn allocate_aligned<P: Platform>(
        pool: &Pool<P>,
        adapter: AdapterId,
        bytes: u32,
        alignment: u32,
        tag: PoolTag,
    ) -> Result<Held, Status> {
        let mut address = 0;
        pool.allocate_aligned(adapter, bytes, alignment, tag, Some(&mut address)).ok()?;
        Ok(Held { address, bytes })
    }

    pub(super) fn allocate_bulk<P: Platform, const N: usize>(
        pool: &Pool<P>,
        adapter: AdapterId,
        bytes: u32,
        tag: PoolTag,
    ) -> Result<[Held; N], Status> {
        let mut addresses = [0; N];
        pool.allocate_bulk(adapter, bytes, tag, &mut addresses).ok()?;
        Ok(addresses.map(|address| Held { address, bytes }))
    }

    /// The live block of this adapter that begins at an address.
    pub(super) fn find<P: Platform>(pool: &Pool<P>, adapter: AdapterId, address: u64) -> Option<Held> {
        let found = pool.block_at(address)?;
        let its = found.live && found.address == address && found.owner == adapter;
        its.then_some(Held { address, bytes: found.bytes })
    }

    /// # Safety
    /// The holder gives the block up if this succeeds.
    #[inline]
    pub(super) unsafe fn free<P: Platform>(self, pool: &Pool<P>, adapter: AdapterId) -> Result<(), Status> {
        // SAFETY: the caller's promise.
        unsafe { pool.free(adapter, self.address) }.ok()
    }

    /// For holders that are dropped: a block that cannot be freed now is told.
    ///
    /// # Safety
    /// The holder gives the block up.
    #[inline]
    pub(super) unsafe fn drop<P: Platform>(self, pool: &Pool<P>, adapter: AdapterId) {
        // SAFETY: the caller's promise.
        if let Err(status) = unsafe { self.free(pool, adapter) } {
            Held::stranded(pool, adapter, self.address, status);
        }
    }

    /// A block whose holder is gone was refused with this status: tells that it stays allocated. Whose adapter is gone has
    /// been told by the removal.
    #[cold]
    #[inline(never)]
    pub(super) fn stranded<P: Platform>(pool: &Pool<P>, caller: AdapterId, address: u64, status: Status) {
        let refused = matches!(status, Status::INVALID_IRQL | Status::NOT_IMPLEMENTED);
        if refused && pool.meta.may_free(caller) {
            pool.meta.report_stranded(Call { caller, irql: pool.platform.irql() }, address);
        }
    }

    pub(super) fn resize<P: Platform>(
        &mut self,
        pool: &Pool<P>,
        adapter: AdapterId,
        bytes: u32,
    ) -> Result<(), Status> {
        pool.resize(adapter, self.address, bytes).ok()?;
        self.bytes = bytes;
        Ok(())
    }

    pub(super) fn memory<P: Platform>(&mut self, pool: &Pool<P>) -> Option<&mut [MaybeUninit<u8>]> {
        let start = pool.memory_at(self.address)?;
        // SAFETY: the range's memory is there (the pool's own, or by the promise of `with_memory`), of which this block
        // is its holder's alone (I1); and the holder is borrowed for as long.
        Some(unsafe { core::slice::from_raw_parts_mut(start, self.bytes as usize) })
    }
}

/// Removes an adapter whose last holder is gone, or tells that it cannot be.
pub(super) fn drop_adapter<P: Platform>(pool: &Pool<P>, adapter: AdapterId) {
    // Any other error means that it was removed through its id already.
    if let Err(Status::INVALID_IRQL) = pool.remove_adapter_with(adapter, |_| {})
        && pool.meta.may_free(adapter)
    {
        pool.meta.report_stranded_adapter(Call { caller: adapter, irql: pool.platform.irql() });
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        pad(f, format_args!("Block({} bytes at {:#x})", self.bytes, self.address))
    }
}

/// A block that could not be freed, and why. The block is in it, so nothing is lost.
///
/// ```
/// use storport_pool::{Irql, Pool, Status, tag};
/// let pool = Pool::new(1 << 20)?;
/// let disk = pool.adapter("disk0")?;
/// let block = disk.allocate(208, tag!("VioS"))?;
/// let in_handler = Irql::raise(Irql::DEVICE);
/// let refused = block.free().unwrap_err();
/// assert_eq!(refused.status, Status::INVALID_IRQL);
/// drop(in_handler);
/// assert!(refused.block.free().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the block is in it, and is freed when it is dropped, if it can be by then"]
pub struct FreeError<B> {
    /// Why: `INVALID_IRQL` above DISPATCH, `NOT_IMPLEMENTED` while the host's switch is down, or `INVALID_PARAMETER`
    /// when the adapter was removed through its id.
    pub status: Status,
    /// The block, which is still allocated.
    pub block: B,
}

impl<B> fmt::Debug for FreeError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FreeError({})", self.status)
    }
}

impl<B> fmt::Display for FreeError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the block was not freed: {}", self.status)
    }
}

impl<B> core::error::Error for FreeError<B> {}
