//! The two routines and their kin, as a host calls them: allocate, free, in bulk, with a tag, in place.

use crate::contract::adapter::AdapterId;
use crate::contract::block::BlockInfo;
use crate::contract::status::Status;
use crate::contract::tag::PoolTag;
use crate::owners::accounts::Key;
use crate::percpu::platform::Platform;
use crate::pool::handle::Pool;
use crate::routines::aligned::allocate_aligned;
use crate::routines::allocate::{allocate, null_out_slow};
use crate::routines::bulk::{allocate_bulk, free_bulk, hint};
use crate::routines::free::{expected, free};
use crate::routines::refuse::refuse_tag;
use crate::routines::resize::resize;

impl<P: Platform> Pool<P> {
    /// `StorPortAllocatePool`: a block of `bytes` bytes, not zeroed.
    ///
    /// The address is a multiple of 16, and of 4096 from 4096 bytes up. A block of up to 4096 bytes crosses no page
    /// boundary. `out` is set to 0 on every failure. `None` stands for a NULL out pointer. IRQL <= DISPATCH; lock-free.
    ///
    /// | status | when |
    /// |---|---|
    /// | `NOT_IMPLEMENTED` | the host's switch is down ([`set_not_implemented`](Pool::set_not_implemented)) |
    /// | `INVALID_PARAMETER` | `out` is `None`, `bytes` is 0, the adapter is unknown or removed, or the tag is refused |
    /// | `INVALID_IRQL` | the caller runs above DISPATCH |
    /// | `INSUFFICIENT_RESOURCES` | no block is free anywhere and nothing fits |
    ///
    /// The first row that applies is the answer. Source: `storport/nf-storport-storportallocatepool.md`.
    ///
    /// ```
    /// use storport_pool::{Pool, Status, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// let mut srb = 0;
    /// assert_eq!(pool.allocate(disk, 208, tag!("VioS"), Some(&mut srb)), Status::SUCCESS);
    /// assert_eq!(srb % 16, 0);
    /// let mut large = 1;
    /// assert_eq!(pool.allocate(disk, 2 << 20, tag!("VioS"), Some(&mut large)), Status::INSUFFICIENT_RESOURCES);
    /// assert_eq!(large, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn allocate(&self, adapter: AdapterId, bytes: u32, tag: PoolTag, out: Option<&mut u64>) -> Status {
        let Some(out) = out else { return null_out_slow(self.meta) };
        let answer = allocate(self.meta, &self.platform, Key::new(adapter, tag), bytes);
        #[cfg(storport_pool_asan)]
        self.meta.unpoison_block(answer.address, bytes);
        *out = answer.address;
        answer.status
    }

    /// As [`allocate`](Pool::allocate), but the answer is the block's address or the status. IRQL <= DISPATCH;
    /// lock-free.
    ///
    /// ```
    /// use storport_pool::{Pool, Status, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// let srb = pool.try_allocate(disk, 208, tag!("VioS"))?;
    /// assert_eq!(unsafe { pool.free(disk, srb) }, Status::SUCCESS);
    /// assert_eq!(pool.try_allocate(disk, 0, tag!("VioS")), Err(Status::INVALID_PARAMETER));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The status that `allocate` returns.
    #[inline]
    pub fn try_allocate(&self, adapter: AdapterId, bytes: u32, tag: PoolTag) -> Result<u64, Status> {
        let mut address = 0;
        self.allocate(adapter, bytes, tag, Some(&mut address)).ok()?;
        Ok(address)
    }

    /// As [`allocate`](Pool::allocate), for an address that is a multiple of `alignment`, any power of two. The block
    /// is freed like any other. IRQL <= DISPATCH; lock-free. Statuses are those of `allocate`. `INVALID_PARAMETER` also
    /// means that `alignment` is no power of two.
    ///
    /// It takes more of the range than its bytes:
    ///
    /// * **Alignments up to 32768** (4096 in pools of less than 8 MiB): the block has a size that is a multiple of the alignment, and
    ///   counts under that size.
    /// * **Larger ones**: it takes whole spans, of 64 KiB (4 KiB in pools of less than 8 MiB).
    ///
    /// So it may be refused while memory is free: no block of such a size is left, though one of another size may
    /// happen to be aligned. And for an alignment above a span's size, enough spans may be free in a row, but none of
    /// them begins there.
    ///
    /// ```
    /// use storport_pool::{Pool, Status, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// let mut sense = 0;
    /// assert_eq!(pool.allocate_aligned(disk, 96, 64, tag!("Sens"), Some(&mut sense)), Status::SUCCESS);
    /// assert_eq!(sense % 64, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn allocate_aligned(
        &self,
        adapter: AdapterId,
        bytes: u32,
        alignment: u32,
        tag: PoolTag,
        out: Option<&mut u64>,
    ) -> Status {
        let Some(out) = out else { return null_out_slow(self.meta) };
        let answer = allocate_aligned(self.meta, &self.platform, Key::new(adapter, tag), bytes, alignment);
        #[cfg(storport_pool_asan)]
        self.meta.unpoison_block(answer.address, bytes);
        *out = answer.address;
        answer.status
    }

    /// Gives a block `bytes` bytes from now on, in place: fewer or more, as far as it has room. Its contents stay.
    /// Snapshots, violations and leak reports name the new number. The histogram keeps the size that was allocated.
    ///
    /// A block of a slab has room for the bytes of its size class. A large run keeps the number of its spans. IRQL <=
    /// DISPATCH; wait-free: no loop.
    ///
    /// | status | when |
    /// |---|---|
    /// | `INSUFFICIENT_RESOURCES` | the block has no room for so many bytes, or is a large run that would have fewer spans; nothing has changed |
    /// | `INVALID_PARAMETER` | `bytes` is 0, or what [`free`](Pool::free) says; the violation hook hears the same |
    /// | others | as [`free`](Pool::free) |
    ///
    /// ```
    /// use storport_pool::{Pool, Status, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// let mut block = 0;
    /// assert_eq!(pool.allocate(disk, 100, tag!("Srb0"), Some(&mut block)), Status::SUCCESS);
    /// // A block of 100 bytes has 112.
    /// assert_eq!(pool.resize(disk, block, 112), Status::SUCCESS);
    /// assert_eq!(pool.resize(disk, block, 113), Status::INSUFFICIENT_RESOURCES);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resize(&self, adapter: AdapterId, address: u64, bytes: u32) -> Status {
        let status = resize(self.meta, &self.platform, adapter, address, bytes);
        #[cfg(storport_pool_asan)]
        if let Some(found) = self.meta.block_at(address).filter(|_| status.is_success()) {
            self.meta.unpoison_part(address, bytes, found.capacity);
        }
        status
    }

    /// The block that an address lies in, live or free. `None`: there is none, and there was none since the memory was
    /// last given to blocks of another size.
    ///
    /// It tells what was so when it looked. Whoever holds the block may rely on it. Any address, any IRQL; loads only,
    /// no loop.
    ///
    /// ```
    /// use storport_pool::{Pool, Status, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// let mut block = 0;
    /// assert_eq!(pool.allocate(disk, 100, tag!("Srb0"), Some(&mut block)), Status::SUCCESS);
    /// let found = pool.block_at(block + 99).unwrap();
    /// assert_eq!((found.address, found.bytes, found.capacity, found.live), (block, 100, 112, true));
    /// assert_eq!((found.owner, found.tag), (disk, Some(tag!("Srb0"))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn block_at(&self, address: u64) -> Option<BlockInfo> {
        self.meta.block_at(address)
    }

    /// `StorPortFreePool`: gives a block back. Any address may be passed. A bad one changes nothing, and the violation
    /// hook hears of it.
    ///
    /// IRQL <= DISPATCH; wait-free, with the bound of docs/CONCURRENCY.md, section 4.
    ///
    /// | status | when |
    /// |---|---|
    /// | `NOT_IMPLEMENTED` | the host's switch is down |
    /// | `INVALID_PARAMETER` | `address` is 0, the adapter is unknown or removed, or `address` is no live block of this adapter (then the violation hook hears of it) |
    /// | `INVALID_IRQL` | the caller runs above DISPATCH |
    ///
    /// Source: `storport/nf-storport-storportfreepool.md`.
    ///
    /// ```
    /// use storport_pool::{Irql, Pool, Status, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// let srb = pool.try_allocate(disk, 208, tag!("VioS"))?;
    /// {
    ///     let _interrupt = Irql::raise(Irql::DEVICE);
    ///     assert_eq!(unsafe { pool.free(disk, srb) }, Status::INVALID_IRQL);
    /// }
    /// assert_eq!(unsafe { pool.free(disk, srb + 16) }, Status::INVALID_PARAMETER); // inside the block
    /// assert_eq!(unsafe { pool.free(disk, srb) }, Status::SUCCESS);
    /// assert_eq!(unsafe { pool.free(disk, srb) }, Status::INVALID_PARAMETER); // a double free
    /// assert_eq!(pool.violations(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Safety
    /// The block is not used afterwards. A stale address may have been handed out *again* in the meantime. Then it is
    /// the new block's address: freeing it succeeds, and the new owner's free is then the double one. Nobody can tell
    /// the two apart.
    #[inline]
    pub unsafe fn free(&self, adapter: AdapterId, address: u64) -> Status {
        let place = self.base.place_of(address);
        free(self.meta, &self.platform, place, expected(adapter, place))
    }

    /// Frees many blocks of one adapter, in the order of `addresses`. Each is freed as [`free`](Pool::free) does it.
    /// The answer is how many were freed. docs/BENCHMARKS.md says from how many blocks on that is faster.
    ///
    /// `statuses[n]` is set to the status of `addresses[n]`. `statuses` may be shorter, or empty. A refused address
    /// changes nothing for the others. The violation hook hears of it while the pool holds none of them. An address
    /// that occurs twice is freed once, and refused once.
    ///
    /// IRQL <= DISPATCH. Wait-free: for each address at most the bound of `free`, and a constant.
    ///
    /// ```
    /// use storport_pool::{Pool, Status, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// let mut blocks = [0; 8];
    /// assert_eq!(pool.allocate_bulk(disk, 208, tag!("VioS"), &mut blocks), Status::SUCCESS);
    /// let mut statuses = [Status::UNSUCCESSFUL; 8];
    /// assert_eq!(unsafe { pool.free_bulk(disk, &blocks, &mut statuses) }, 8);
    /// assert_eq!(statuses, [Status::SUCCESS; 8]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Safety
    /// As [`free`](Pool::free), for each block.
    pub unsafe fn free_bulk(&self, adapter: AdapterId, addresses: &[u64], statuses: &mut [Status]) -> usize {
        free_bulk(self.meta, &self.platform, adapter, addresses, statuses)
    }

    /// Allocates many blocks of `bytes` bytes: as many as `out` has room for, or none. After a failure `out` is all 0.
    /// Each block is like one of [`allocate`](Pool::allocate), and is freed alone or with others.
    /// [`free_bulk`](Pool::free_bulk) has an example.
    ///
    /// Statuses and IRQL are those of `allocate`. When memory runs out on the way, the blocks that it had got count as
    /// allocated and freed. Lock-free. With an empty `out` it returns `SUCCESS` and checks nothing.
    pub fn allocate_bulk(&self, adapter: AdapterId, bytes: u32, tag: PoolTag, out: &mut [u64]) -> Status {
        allocate_bulk(self.meta, &self.platform, Key::new(adapter, tag), bytes, out)
    }

    /// Says that the block at this address will be freed soon. It draws what [`free`](Pool::free) will look at into the
    /// cache. It can pay where another CPU allocated the block, some hundred cycles before the free.
    ///
    /// It is a hint: any address, any IRQL, no effect on any status. Two loads and a prefetch.
    ///
    /// ```
    /// use storport_pool::{Pool, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// let done = [pool.try_allocate(disk, 208, tag!("VioS"))?, pool.try_allocate(disk, 208, tag!("VioS"))?];
    /// for (n, &srb) in done.iter().enumerate() {
    ///     if let Some(&next) = done.get(n + 1) {
    ///         pool.hint_free(next);
    ///     }
    ///     unsafe { pool.free(disk, srb) };
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn hint_free(&self, address: u64) {
        hint(self.meta, address);
    }

    /// `ExFreePoolWithTag`: as [`free`](Pool::free), but it refuses a live block of another tag with
    /// `INVALID_PARAMETER`. The violation hook hears of it. It is not exact when others free the block at the same
    /// time: then `free` decides. IRQL and bound are those of `free`.
    ///
    /// Source: `wdm/nf-wdm-exfreepoolwithtag.md`; `debugger/bug-check-0xc2--bad-pool-caller.md`, 0x0A.
    ///
    /// ```
    /// use storport_pool::{Pool, Status, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// let srb = pool.try_allocate(disk, 208, tag!("VioS"))?;
    /// assert_eq!(unsafe { pool.free_with_tag(disk, srb, tag!("Ahci")) }, Status::INVALID_PARAMETER);
    /// assert_eq!(unsafe { pool.free_with_tag(disk, srb, tag!("VioS")) }, Status::SUCCESS);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Safety
    /// As [`free`](Pool::free).
    pub unsafe fn free_with_tag(&self, adapter: AdapterId, address: u64, tag: PoolTag) -> Status {
        if refuse_tag(self.meta, &self.platform, adapter, address, tag) {
            return Status::INVALID_PARAMETER;
        }
        // SAFETY: the caller's promise.
        unsafe { self.free(adapter, address) }
    }
}
