//! Pools in statics: metadata that the linker lays out, and a pool that is made there once.

use core::cell::UnsafeCell;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::layout::classes::MOST_SPAN;
use crate::layout::config::Config;
use crate::layout::create_error::CreateError;
use crate::percpu::platform::Platform;
use crate::pool::handle::Pool;
use crate::sync::{AtomicU32, Ordering};

/// Zeroed memory for one [`StaticPool`]. [`static_pool!`](crate::static_pool) makes it with the right size.
/// [`StaticPool`] has an example without the macro.
#[repr(C, align(4096))]
pub struct StaticMetadata<const BYTES: usize> {
    bytes: UnsafeCell<[u8; BYTES]>,
    /// 1: a pool has it, or is being made over it. Written by `make`. (All is zero at first, and so takes no room in an
    /// executable.)
    taken: AtomicU32,
}

// SAFETY: the bytes belong to whoever takes them.
unsafe impl<const BYTES: usize> Sync for StaticMetadata<BYTES> {}

impl<const BYTES: usize> StaticMetadata<BYTES> {
    /// Zeroed memory, for a `static`. `const`: it runs at compile time.
    #[allow(clippy::new_without_default, reason = "it is for statics")]
    #[must_use]
    pub const fn new() -> StaticMetadata<BYTES> {
        StaticMetadata { bytes: UnsafeCell::new([0; BYTES]), taken: AtomicU32::new(0) }
    }
}

/// Bytes of metadata for a pool as configured, wherever its range begins.
///
/// # Panics
/// When the configuration is out of bounds; at compile time, where [`static_pool!`](crate::static_pool) calls it.
#[doc(hidden)]
#[must_use]
pub const fn static_metadata_bytes(config: &Config) -> usize {
    let config = anywhere(config);
    let Ok(bytes) = config.metadata_bytes() else {
        panic!("the configuration of a static pool is out of bounds")
    };
    // A range that begins between two boundaries is shorter, and may so be one whose spans are pages, of which it has
    // more.
    let mut shorter = config;
    shorter.bytes = config.bytes.saturating_sub(MOST_SPAN as u64);
    match shorter.metadata_bytes() {
        Ok(more) if more > bytes => more,
        _ => bytes,
    }
}

/// As configured, over a range that begins at a span's boundary: then it has the most spans.
const fn anywhere(config: &Config) -> Config {
    let mut config = *config;
    config.base = MOST_SPAN as u64;
    config
}

/// A pool in a static, for kernels. Its metadata is laid out at compile time. The pool is made once, by
/// [`init`](StaticPool::init), [`init_at`](StaticPool::init_at) or [`init_over`](StaticPool::init_over).
/// [`static_pool!`](crate::static_pool) declares one. By hand it is:
///
/// ```
/// use storport_pool::{Config, Portable, SingleCpu, StaticMetadata, StaticPool};
///
/// const CONFIG: Config = Config::new(0x8000_0000, 1 << 20).min_block(64);
/// static METADATA: StaticMetadata<{ 1 << 20 }> = StaticMetadata::new(); // enough for this configuration
/// static GUEST: StaticPool<Portable<SingleCpu>> = StaticPool::new(CONFIG, &METADATA);
///
/// // The boot found that the range lies elsewhere.
/// let pool = GUEST.init_at(0x9000_0000, Portable::new(SingleCpu))?;
/// assert_eq!(pool.range(), (0x9000_0000, 1 << 20));
/// assert!(GUEST.get().is_some());
/// # Ok::<(), storport_pool::StaticError>(())
/// ```
pub struct StaticPool<P: Platform> {
    config: Config,
    metadata: NonNull<[u8]>,
    taken: &'static AtomicU32,
    /// 1: the pool is there, for ever. Written by `make`.
    ready: AtomicU32,
    pool: UnsafeCell<MaybeUninit<Pool<P>>>,
}

// SAFETY: the pool is written by whoever took the metadata, and shared once it is ready; a pool is Sync. The
// platform may have been made on another thread, so it must be Send.
unsafe impl<P: Platform + Send> Sync for StaticPool<P> {}

/// Why a static pool was not made. [`static_pool!`](crate::static_pool) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum StaticError {
    /// It is made already, or another CPU is making it. Or another pool has its metadata.
    Twice,
    /// The memory has fewer bytes than the configured range.
    TooShort {
        /// Bytes that it has.
        given: u64,
        /// Bytes of the range.
        needed: u64,
    },
    /// No pool can be made of the configuration with this base.
    Create(CreateError),
}

impl fmt::Display for StaticError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StaticError::Twice => f.write_str("the static pool is made already"),
            StaticError::TooShort { given, needed } => {
                write!(f, "the memory has {given} bytes; the static pool's range has {needed}")
            }
            StaticError::Create(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for StaticError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            StaticError::Create(error) => Some(error),
            _ => None,
        }
    }
}

impl From<CreateError> for StaticError {
    fn from(error: CreateError) -> StaticError {
        StaticError::Create(error)
    }
}

impl<P: Platform> StaticPool<P> {
    /// A pool that is not made yet, with memory for its metadata. If the memory is too small,
    /// [`init`](StaticPool::init) tells. `const`: it runs at compile time. [`StaticPool`] has an example.
    #[must_use]
    pub const fn new<const BYTES: usize>(
        config: Config,
        metadata: &'static StaticMetadata<BYTES>,
    ) -> StaticPool<P> {
        let start = metadata.bytes.get().cast::<u8>();
        // SAFETY: the address of a static.
        let start = unsafe { NonNull::new_unchecked(start) };
        StaticPool {
            config,
            metadata: NonNull::slice_from_raw_parts(start, BYTES),
            taken: &metadata.taken,
            ready: AtomicU32::new(0),
            pool: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// Makes the pool over the configured range. Any CPU may try; the first one does it. PASSIVE; O(metadata) at most.
    /// It takes up to 24 KiB of stack in a release build, and some 72 KiB in a debug build: the pool's control block is made
    /// there. [`static_pool!`](crate::static_pool) has an example.
    ///
    /// # Errors
    /// [`StaticError`]: it is made already, or cannot be made. After the latter another try is allowed.
    pub fn init(&'static self, platform: P) -> Result<&'static Pool<P>, StaticError> {
        self.make(&self.config, platform)
    }

    /// Makes the pool over a range with this base and the configured size. It is for a range whose address the linker
    /// or the boot decides. Otherwise as [`init`](StaticPool::init): PASSIVE; O(metadata) at most. [`StaticPool`] has
    /// an example.
    ///
    /// # Errors
    /// As [`init`](StaticPool::init).
    pub fn init_at(&'static self, base: u64, platform: P) -> Result<&'static Pool<P>, StaticError> {
        let mut config = self.config;
        config.base = base;
        self.make(&config, platform)
    }

    /// Makes the pool over this memory. The pool then knows how to reach it: [`Block::memory`](crate::Block::memory)
    /// works. The range begins at the memory's first multiple of 64 KiB, and has the configured number of bytes. If the
    /// memory has fewer from there on, the range ends where the memory ends. So align the memory to 64 KiB, or supply
    /// 64 KiB more. Otherwise as [`init`](StaticPool::init): PASSIVE; O(metadata) at most, and its stack.
    ///
    /// After an error the memory is not given back.
    ///
    /// ```
    /// use core::mem::MaybeUninit;
    /// use storport_pool::{Config, Portable, SingleCpu, static_pool, tag};
    ///
    /// static_pool! {
    ///     static KERNEL: Portable<SingleCpu> = Config::new(0, 1 << 20).min_block(64);
    /// }
    ///
    /// let memory: &'static mut [MaybeUninit<u8>] = Box::leak(Box::new_uninit_slice(1 << 20));
    /// let pool = KERNEL.init_over(memory, Portable::new(SingleCpu))?;
    /// let disk = pool.adapter("disk0")?;
    /// assert!(disk.allocate(208, tag!("VioS"))?.fill(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`StaticError::TooShort`]; else as [`init`](StaticPool::init).
    pub fn init_over(
        &'static self,
        memory: &'static mut [MaybeUninit<u8>],
        platform: P,
    ) -> Result<&'static Pool<P>, StaticError> {
        let (given, needed) = (memory.len() as u64, self.config.bytes);
        if given < needed {
            return Err(StaticError::TooShort { given, needed });
        }
        let mut config = self.config;
        let start = memory.as_mut_ptr().expose_provenance() as u64;
        // From the first boundary on, if it is all there.
        let aligned = start.next_multiple_of(MOST_SPAN.into());
        config.base = if aligned - start <= given - needed { aligned } else { start };
        self.make_of(&config, platform, |mut pool| {
            // Where its addresses say: the memory is the caller's no more.
            pool.mapped = pool.base.0 as usize;
            pool
        })
    }

    fn make(&'static self, config: &Config, platform: P) -> Result<&'static Pool<P>, StaticError> {
        self.make_of(config, platform, |pool| pool)
    }

    fn make_of(
        &'static self,
        config: &Config,
        platform: P,
        finish: impl FnOnce(Pool<P>) -> Pool<P>,
    ) -> Result<&'static Pool<P>, StaticError> {
        // ORDERING: Acquire - pairs with the Release of a try that failed.
        if self.taken.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return Err(StaticError::Twice);
        }
        // SAFETY: the metadata is a static's, zeroed, and ours, since we took it; a try that fails writes
        // nothing to it. Nobody gets memory that is not his by it: whoever uses an address must own the range.
        match unsafe { Pool::new_in(config, self.metadata, platform) } {
            Ok(pool) => {
                // SAFETY: whoever takes the metadata keeps it, so nobody else writes; nobody reads before it is ready.
                let pool = unsafe { (*self.pool.get()).write(finish(pool)) };
                // ORDERING: Release - the pool; pairs with the Acquire in `get`.
                self.ready.store(1, Ordering::Release);
                Ok(pool)
            }
            Err(error) => {
                // ORDERING: Release - pairs with the Acquire above.
                self.taken.store(0, Ordering::Release);
                Err(StaticError::Create(error))
            }
        }
    }

    /// The pool, once it is made. `None`: not yet. A load and a compare; any IRQL. [`static_pool!`](crate::static_pool)
    /// has an example.
    #[inline]
    pub fn get(&'static self) -> Option<&'static Pool<P>> {
        // ORDERING: Acquire - pairs with the Release in `make`.
        let ready = self.ready.load(Ordering::Acquire) != 0;
        // SAFETY: it was written before it was ready, and never changes.
        ready.then(|| unsafe { (*self.pool.get()).assume_init_ref() })
    }
}

impl<P: Platform> fmt::Debug for StaticPool<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StaticPool({} bytes)", self.config.bytes)
    }
}

/// Declares a [`StaticPool`] and the static memory of its metadata, from one [`Config`]. The configuration is checked
/// at compile time.
///
/// ```
/// use storport_pool::{Config, Portable, SingleCpu, StaticError, Status, static_pool, tag};
///
/// static_pool! {
///     /// A guest's nonpaged pool.
///     static GUEST: Portable<SingleCpu> = Config::new(0x8000_0000, 16 << 20).min_block(256);
/// }
///
/// assert!(GUEST.get().is_none(), "not made yet");
/// let pool = GUEST.init(Portable::new(SingleCpu))?;
/// let disk = pool.add_adapter("disk0")?;
/// let mut address = 0;
/// assert_eq!(GUEST.get().unwrap().allocate(disk, 208, tag!("VioS"), Some(&mut address)), Status::SUCCESS);
/// assert!(address >= 0x8000_0000);
/// assert_eq!(GUEST.init(Portable::new(SingleCpu)).unwrap_err(), StaticError::Twice);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A configuration that is out of bounds does not compile:
///
/// ```compile_fail
/// # use storport_pool::{Config, Portable, SingleCpu, static_pool};
/// static_pool! {
///     static SMALL: Portable<SingleCpu> = Config::new(0x8000_0000, 1000);
/// }
/// ```
#[macro_export]
macro_rules! static_pool {
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $platform:ty = $config:expr;) => {
        $(#[$attribute])*
        $visibility static $name: $crate::StaticPool<$platform> = {
            // Names that the configuration's expression does not use.
            const STATIC_POOL_CONFIG: $crate::Config = $config;
            static STATIC_POOL_METADATA: $crate::StaticMetadata<
                { $crate::static_metadata_bytes(&STATIC_POOL_CONFIG) },
            > = $crate::StaticMetadata::new();
            $crate::StaticPool::new(STATIC_POOL_CONFIG, &STATIC_POOL_METADATA)
        };
    };
}
