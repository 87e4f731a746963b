//! The pool: creation, the two routines, adapters, and the host's switches.

use core::fmt;
use core::ptr::NonNull;

use static_assertions::assert_impl_all;

use crate::contract::adapter::AdapterId;
use crate::contract::block::BlockInfo;
use crate::contract::hook::HookRecord;
use crate::contract::status::Status;
use crate::contract::tag::PoolTag;
#[cfg(feature = "alloc")]
use crate::contract::violation::Violation;
use crate::layout::classes::{CLASS_SLOTS, Class};
use crate::layout::config::Config;
use crate::layout::control::Control;
use crate::layout::create_error::CreateError;
use crate::layout::cursor::Cursor;
use crate::layout::geometry::Geometry;
use crate::layout::memory::Memory;
#[cfg(storport_pool_loom)]
use crate::layout::memory::Words;
use crate::layout::meta::Meta;
use crate::layout::range::Base;
use crate::owners::accounts::Key;
use crate::percpu::platform::Platform;
use crate::routines::aligned::allocate_aligned;
use crate::routines::allocate::{allocate, null_out_slow};
use crate::routines::bulk::{allocate_bulk, free_bulk, hint};
use crate::routines::free::{expected, free};
use crate::routines::refuse::refuse_tag;
use crate::routines::resize::resize;
use crate::sync::Ordering;
use crate::trace::emit::emit;

/// The platform of a [`Pool`] that names none.
#[cfg(feature = "std")]
pub type DefaultPlatform = crate::percpu::native::Native;
/// The platform of a [`Pool`] that names none.
#[cfg(not(feature = "std"))]
pub type DefaultPlatform = crate::percpu::portable::Portable<SingleCpu>;

/// A host of one CPU, whose callers all run at [`Irql::PASSIVE`](crate::Irql::PASSIVE). It is for tests, emulators and
/// tools.
///
/// ```
/// use storport_pool::{Host, Irql, SingleCpu};
/// assert_eq!((SingleCpu.cpu(), SingleCpu.irql()), (0, Irql::PASSIVE));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SingleCpu;

impl crate::percpu::platform::Host for SingleCpu {
    fn cpu(&self) -> u32 {
        0
    }

    fn irql(&self) -> crate::contract::irql::Irql {
        crate::contract::irql::Irql::PASSIVE
    }
}

/// A tagged, per-CPU slab pool over an address range.
///
/// Dropping it reports blocks that are still allocated to the violation hook, then gives the memory
/// back.
///
/// | routine | IRQL | progress | bound |
/// |---|---|---|---|
/// | [`free`](Pool::free) | <= DISPATCH | wait-free | docs/CONCURRENCY.md, section 4 |
/// | [`allocate`](Pool::allocate) | <= DISPATCH | lock-free | none on its slow paths |
/// | [`snapshot`](Pool::snapshot), [`trim`](Pool::trim), adapters | PASSIVE | as documented there | O(pool) |
///
/// Both routines may interrupt themselves and each other anywhere, in a signal or interrupt
/// handler too.
pub struct Pool<P: Platform = DefaultPlatform> {
    pub(crate) meta: Meta,
    pub(crate) base: Base,
    pub(crate) platform: P,
    #[cfg(feature = "std")]
    pub(crate) backing: Option<super::backing::Backing>,
    /// Where the range's memory begins in this program: an exposed address. 0: nobody said so.
    pub(crate) mapped: usize,
}

assert_impl_all!(Pool: Send, Sync);

/// What [`Pool::trim`] and [`Pool::trim_with`] did. Both have examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Trimmed {
    /// Empty slabs that returned to the common stock.
    pub slabs: u64,
    /// Bytes given back to the operating system.
    pub bytes: u64,
}

/// Another trim is under way, so nothing was done. [`Pool::trim`] returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Busy;

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another trim is under way")
    }
}

impl core::error::Error for Busy {}

impl<P: Platform> Pool<P> {
    /// A pool whose metadata lies in memory that the caller supplies. It asks for no other memory.
    ///
    /// The range itself is never read or written, so it may be memory that the host cannot address. PASSIVE;
    /// O(metadata) at most. [`StaticPool`](crate::StaticPool) does the same without `unsafe`, in a static.
    ///
    /// ```
    /// use std::ptr::NonNull;
    /// use storport_pool::{Config, Pool, Portable, SingleCpu, tag};
    ///
    /// #[repr(align(4096))]
    /// struct Page([u8; 4096]);
    ///
    /// let config = Config::new(0x8000_0000, 1 << 20).min_block(64); // a guest's addresses
    /// let bytes = config.metadata_bytes()?;
    /// let pages = Vec::leak((0..bytes.div_ceil(4096)).map(|_| Page([0; 4096])).collect());
    /// let metadata = NonNull::slice_from_raw_parts(NonNull::from(pages).cast(), bytes);
    /// // SAFETY: the memory is zeroed, lives for ever, and is used by nothing else.
    /// let pool = unsafe { Pool::new_in(&config, metadata, Portable::new(SingleCpu))? };
    /// let disk = pool.add_adapter("disk0")?;
    /// assert!(pool.try_allocate(disk, 208, tag!("VioS"))? >= 0x8000_0000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CreateError`]: the configuration is out of bounds, or the metadata too small or not aligned to 4096.
    ///
    /// # Safety
    /// `metadata` is zeroed, valid for reads and writes, and used by nothing else. It stays so as long as the pool and
    /// all that its calls handed out are in use. Whoever uses addresses that the pool hands out must own the range.
    #[cfg(not(storport_pool_loom))]
    pub unsafe fn new_in(
        config: &Config,
        metadata: NonNull<[u8]>,
        platform: P,
    ) -> Result<Pool<P>, CreateError> {
        // SAFETY: the caller's promise.
        unsafe { Pool::build(config, metadata, platform, |_| {}) }
    }

    /// # Safety
    /// As [`new_in`](Pool::new_in); `adjust` only sets the fork word.
    #[cfg(not(storport_pool_loom))]
    pub(crate) unsafe fn build(
        config: &Config,
        metadata: NonNull<[u8]>,
        platform: P,
        adjust: impl FnOnce(&mut Control),
    ) -> Result<Pool<P>, CreateError> {
        let geometry = Geometry::new(config)?;
        let start = metadata.cast::<u8>();
        let (given, needed, address) = (metadata.len(), geometry.below + geometry.above, start.addr().get());
        if given < needed {
            return Err(CreateError::MetadataTooSmall { given, needed });
        }
        if !address.is_multiple_of(4096) {
            return Err(CreateError::MetadataUnaligned { address });
        }
        // SAFETY: the sum lies inside the caller's memory, as just checked.
        let base = unsafe { start.byte_add(geometry.below) };
        let mut control = Control::new(config, geometry);
        let place = base.cast::<Control>();
        // SAFETY: the place is aligned (base is a multiple of 4096), inside the memory, and ours.
        unsafe {
            control.fork_word = &raw const (*place.as_ptr()).own_generation;
            adjust(&mut control);
            platform.prepare(&mut control, base)?;
            place.write(control);
        }
        // SAFETY: the control block is written, the other words are zeroed by the caller's promise.
        let memory = unsafe { Memory::new(base) };
        Ok(Pool::over(memory, platform))
    }

    /// A pool whose words are loom's.
    ///
    /// # Errors
    /// As for any pool.
    #[cfg(storport_pool_loom)]
    pub fn modelled(config: &Config, platform: P) -> Result<Pool<P>, CreateError> {
        let mut words = Words::new(Control::new(config, Geometry::new(config)?));
        let control = words.control_mut();
        control.fork_word = &raw const control.own_generation;
        Ok(Pool::over(Memory::new(words), platform))
    }

    /// The control block is written; the other words are 0.
    fn over(memory: Memory, platform: P) -> Pool<P> {
        let meta = Meta::new(memory);
        for cpu in 0..=meta.control().cpus {
            for class in 0..CLASS_SLOTS as u8 {
                // ORDERING: Relaxed - not shared yet.
                meta.cursor(cpu, Class(class)).store(Cursor::NONE.0, Ordering::Relaxed);
            }
        }
        meta.init_accounts();
        meta.init_spans();
        Pool {
            meta,
            base: meta.range().base,
            platform,
            #[cfg(feature = "std")]
            backing: None,
            mapped: 0,
        }
    }

    /// Says where the range's memory lies in this program, so that [`Block::memory`](crate::Block::memory) reaches it.
    /// The range may have other addresses, such as a guest's: `memory` is where the range's first byte is. Pools of
    /// `Pool::new` know their memory. Any IRQL.
    ///
    /// ```
    /// use std::ptr::NonNull;
    /// use storport_pool::{Config, Pool, Portable, SingleCpu, tag};
    /// # let config = Config::new(0x8000_0000, 1 << 20).min_block(64);
    /// # let bytes = config.metadata_bytes()?;
    /// # let mut words = vec![0u64; (bytes + 4096) / 8];
    /// # let start = (words.as_mut_ptr() as usize).next_multiple_of(4096) as *mut u8;
    /// # let metadata = NonNull::slice_from_raw_parts(NonNull::new(start).unwrap(), bytes);
    /// # // SAFETY: zeroed, aligned, and used by nothing else.
    /// # let pool = unsafe { Pool::new_in(&config, metadata, Portable::new(SingleCpu))? };
    /// let mut guest = vec![0u8; 1 << 20]; // Guest memory; the guest sees it at 0x8000_0000.
    /// // SAFETY: as many bytes as the range, and nobody else uses them while the pool is there.
    /// let pool = unsafe { pool.with_memory(NonNull::new(guest.as_mut_ptr()).unwrap()) };
    /// let disk = pool.adapter("disk0")?;
    /// let mut srb = disk.allocate(208, tag!("VioS"))?;
    /// assert!(srb.address() >= 0x8000_0000 && srb.fill(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Safety
    /// From `memory` on, as many bytes as [`range`](Pool::range) says are valid for reads and writes. They stay so as
    /// long as the pool and its blocks are in use. While a block is allocated, nobody but its holder uses the block's
    /// bytes.
    #[must_use = "the pool is in the answer"]
    pub unsafe fn with_memory(mut self, memory: NonNull<u8>) -> Pool<P> {
        self.mapped = memory.as_ptr().expose_provenance();
        self
    }

    /// Where the byte with this address of the range lies in this program, if that is known.
    pub(crate) fn memory_at<T>(&self, address: u64) -> Option<*mut T> {
        let offset = address.checked_sub(self.base.0)? as usize;
        (self.mapped != 0).then(|| core::ptr::with_exposed_provenance_mut(self.mapped + offset))
    }

    /// The platform. Any IRQL. [`Portable`](crate::Portable) has an example.
    pub const fn platform(&self) -> &P {
        &self.platform
    }

    /// The first address of the range, and its bytes, after rounding. Any IRQL; loads only.
    ///
    /// ```
    /// use storport_pool::Pool;
    /// let (base, bytes) = Pool::new(1 << 20)?.range();
    /// assert_eq!((base % 65536, bytes), (0, 1 << 20));
    /// # Ok::<(), storport_pool::CreateError>(())
    /// ```
    pub fn range(&self) -> (u64, u64) {
        let geometry = &self.meta.control().geometry;
        (self.base.0, u64::from(geometry.spans) * u64::from(geometry.span.bytes()))
    }

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

    /// The host's switch. While it is down (`true`), both routines return `NOT_IMPLEMENTED`, as they do on an old
    /// system or in dump mode. So a dropped [`Block`](crate::Block) is not freed either. A call that began before may
    /// still succeed. PASSIVE; one call at a time.
    ///
    /// ```
    /// use storport_pool::{Pool, Status, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// pool.set_not_implemented(true); // a dump begins
    /// assert_eq!(pool.try_allocate(disk, 208, tag!("VioS")), Err(Status::NOT_IMPLEMENTED));
    /// pool.set_not_implemented(false);
    /// assert!(pool.try_allocate(disk, 208, tag!("VioS")).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_not_implemented(&self, set: bool) {
        // ORDERING: SeqCst - before the sections are fenced; the slow paths look at it first.
        self.meta.control().not_implemented.store(u32::from(set), Ordering::SeqCst);
        self.platform.switched(&self.meta, set);
        self.meta.tell_refused_fence(&self.platform, AdapterId::NOBODY);
    }

    /// Whether the system ever refused the pool a fence.
    /// [`ViolationKind::FenceRefused`](crate::ViolationKind::FenceRefused) says what follows. A load; any IRQL.
    ///
    /// ```
    /// assert!(!storport_pool::Pool::new(1 << 20)?.fence_refused());
    /// # Ok::<(), storport_pool::CreateError>(())
    /// ```
    pub fn fence_refused(&self) -> bool {
        self.meta.fence_refused()
    }

    /// Sets who hears of violations from now on. `None`: nobody. A store; any IRQL. [`HookRecord`] has an example.
    pub fn set_violation_hook(&self, hook: Option<&'static HookRecord>) {
        let record = hook.map_or(core::ptr::null_mut(), |record| core::ptr::from_ref(record).cast_mut());
        self.meta.publish_hook(record);
    }

    /// Calls `hook` with each violation from now on. It replaces the hook before. The record lives as long as the pool.
    /// PASSIVE: it allocates.
    ///
    /// The hook runs on the thread that made the bad call, at its IRQL. It may allocate and free. It must not unwind: a
    /// removal would leave its adapter half removed. A hook that wants the pool itself holds a `Weak`. An `Arc` would
    /// keep the pool from being dropped.
    ///
    /// ```
    /// use storport_pool::{Pool, ViolationKind};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// pool.on_violation(|violation| {
    ///     assert_eq!(violation.kind, ViolationKind::Foreign);
    ///     eprintln!("{violation}");
    /// });
    /// unsafe { pool.free(disk, 4711) }; // an address outside of the pool
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "alloc")]
    pub fn on_violation<F: Fn(&Violation) + Send + Sync + 'static>(&self, hook: F) {
        self.meta.keep_hook(super::hooks::record(hook));
    }

    /// How many violations were found since the pool was made. A load; any IRQL. [`free`](Pool::free) has an example.
    pub fn violations(&self) -> u64 {
        // ORDERING: Relaxed - a statistic.
        self.meta.control().violations.load(Ordering::Relaxed)
    }

    /// Returns empty slabs of all classes to the common stock. Then it hands runs of free spans that may be resident to
    /// `decommit`, as address and bytes. `decommit` returns whether it gave them back. A span is 64 KiB, or 4 KiB in
    /// ranges of less than 8 MiB.
    ///
    /// While `decommit` has a run, nobody allocates from it. Blocks that are being swept cannot be had either. An
    /// allocation that misses them counts as `contended`. `decommit` must not unwind: its run would be lost. PASSIVE;
    /// O(pool).
    ///
    /// ```
    /// use storport_pool::{PoolOptions, Portable, SingleCpu};
    /// let pool = PoolOptions::new(1 << 20).build_on(Portable::new(SingleCpu))?;
    /// let trimmed = pool.trim_with(|address, bytes| {
    ///     println!("the host may discard {bytes} bytes at {address:#x}");
    ///     true
    /// })?;
    /// println!("{} slabs, {} bytes", trimmed.slabs, trimmed.bytes);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Busy`]: another trim is under way.
    pub fn trim_with(&self, mut decommit: impl FnMut(u64, u64) -> bool) -> Result<Trimmed, Busy> {
        let meta = &self.meta;
        let claim = meta.try_claim(&meta.control().trim_claim).ok_or(Busy)?;
        let slabs = meta.reclaim_all(&self.platform);
        meta.collect_large(true);
        let span = u64::from(meta.span_size().bytes());
        let base = self.base.0;
        let given = meta
            .for_free_resident(|start, len| decommit(base + u64::from(start) * span, u64::from(len) * span));
        drop(claim);
        meta.tell_refused_fence(&self.platform, AdapterId::NOBODY);
        emit!(self.platform.irql(), INFO, "trim", slabs, bytes = given * span);
        Ok(Trimmed { slabs, bytes: given * span })
    }
}

impl<P: Platform> fmt::Debug for Pool<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base, bytes) = self.range();
        write!(f, "Pool({bytes} bytes at {base:#x})")
    }
}

impl<P: Platform> Drop for Pool<P> {
    fn drop(&mut self) {
        self.meta.report_leaks();
        #[cfg(all(feature = "verifier", target_os = "linux", not(storport_pool_loom)))]
        crate::pool::watched::leave(core::ptr::from_ref(self).cast());
        #[cfg(not(storport_pool_loom))]
        if let Some(verifier) = self.meta.verifier()
            && let Some(release) = verifier.release
        {
            let verifier = NonNull::from(verifier);
            // ORDERING: Relaxed - the pool is ours alone.
            self.meta.control().verifier.store(core::ptr::null_mut(), Ordering::Relaxed);
            // SAFETY: nobody uses it any more.
            unsafe { release(verifier) };
        }
        // SAFETY: the pool is being dropped.
        #[cfg(feature = "alloc")]
        unsafe {
            self.meta.drop_hooks();
        }
        // SAFETY: the pool is ours alone, and the last to use its words.
        #[cfg(storport_pool_loom)]
        unsafe {
            self.meta.memory().free();
        }
    }
}
