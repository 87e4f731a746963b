//! The pool: its creation, the host's switches, and its end.

use core::fmt;
use core::ptr::NonNull;

use static_assertions::assert_impl_all;

use crate::contract::adapter::AdapterId;
use crate::contract::hook::HookRecord;
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
use crate::percpu::platform::{DISPATCH, Platform};
use crate::sync::Ordering;
use crate::trace::emit::emit;

/// The platform of a [`Pool`] that names none: `Native` with the feature `std`, else `Portable<SingleCpu>`. It needs no
/// example: `Pool` without a parameter uses it.
#[cfg(feature = "std")]
pub type DefaultPlatform = crate::percpu::native::Native;
/// The platform of a [`Pool`] that names none: `Native` with the feature `std`, else `Portable<SingleCpu>`. It needs no
/// example: `Pool` without a parameter uses it.
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

/// A tagged, per-CPU slab pool over an address range. The front page has an example for each way to make one.
///
/// Dropping it tells the violation hook of blocks that are still allocated. Then it gives the memory back.
///
/// | routine | IRQL | progress | bound |
/// |---|---|---|---|
/// | [`free`](Pool::free) | <= DISPATCH | wait-free | docs/CONCURRENCY.md, section 4 |
/// | [`allocate`](Pool::allocate) | <= DISPATCH | lock-free | none on its slow paths |
/// | `snapshot`, `trim`, adapters | PASSIVE | as documented there | O(pool) |
///
/// Both routines may interrupt themselves and each other anywhere, in a signal or interrupt handler too.
///
/// ```
/// use storport_pool::{Pool, Status, tag};
/// let pool = Pool::new(1 << 20)?;
/// let disk = pool.add_adapter("disk0")?;
/// let srb = pool.try_allocate(disk, 208, tag!("VioS"))?;
/// assert_eq!(unsafe { pool.free(disk, srb) }, Status::SUCCESS);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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

/// What `Pool::trim` and [`Pool::trim_with`] did. Both have examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Trimmed {
    /// Empty slabs that returned to the common stock.
    pub slabs: u64,
    /// Bytes given back to the operating system.
    pub bytes: u64,
}

/// Why nothing was trimmed.
///
/// ```
/// use storport_pool::{Irql, Pool, TrimError};
/// let pool = Pool::new(1 << 20)?;
/// let _interrupt = Irql::raise(Irql::DEVICE);
/// assert_eq!(pool.trim(), Err(TrimError::Irql));
/// # Ok::<(), storport_pool::CreateError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum TrimError {
    /// Another trim is under way.
    Busy,
    /// The caller runs above DISPATCH.
    Irql,
}

impl fmt::Display for TrimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrimError::Busy => "another trim is under way",
            TrimError::Irql => "a trim is for DISPATCH_LEVEL or below",
        })
    }
}

impl core::error::Error for TrimError {}

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

    /// The host's switch. While it is down (`true`), both routines return `NOT_IMPLEMENTED`, as they do on an old
    /// system or in dump mode. So a dropped [`Block`](crate::Block) is not freed either. A call that began before may
    /// still succeed. PASSIVE; one call at a time. Where a dump begins it may be called above DISPATCH, too: then calls of
    /// other CPUs that come right after may still succeed, if those CPUs run.
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
    /// The hook runs on the thread that made the bad call, at its IRQL. That may be above DISPATCH: then it must not lock, and
    /// the pool refuses it. Else it may allocate and free. It must not unwind: a removal would leave its adapter half removed. A hook that wants the pool itself holds a `Weak`. An `Arc` would
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
    /// [`TrimError`]: another trim is under way, or the caller runs above DISPATCH.
    pub fn trim_with(&self, mut decommit: impl FnMut(u64, u64) -> bool) -> Result<Trimmed, TrimError> {
        let meta = &self.meta;
        if self.platform.irql() > DISPATCH {
            return Err(TrimError::Irql);
        }
        let claim = meta.try_claim(&meta.control().trim_claim).ok_or(TrimError::Busy)?;
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
