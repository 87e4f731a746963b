//! Where a pool on std gets its range and metadata: reserved address space, resident when touched.

use core::ptr::NonNull;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use crate::layout::geometry::{Config, CreateError};
use crate::percpu::Platform;
use crate::percpu::native::{self, Commit, Native};
use crate::pool::{Busy, Pool, Trimmed};

/// What a pool owns of the operating system's.
pub(crate) struct Backing {
    range: os::Memory,
    // Dropped with the pool; the pool's words lie in it.
    _metadata: os::Memory,
    /// Never faults: trim gives nothing back.
    resident: bool,
}

/// How to make a pool over memory of the operating system.
///
/// ```
/// use storport_pool::PoolOptions;
/// let pool = PoolOptions::new(64 << 20).strict_tags(true).build()?;
/// # Ok::<(), storport_pool::CreateError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "options make a pool by `build`"]
pub struct PoolOptions {
    config: Config,
    commit: Commit,
    resident: bool,
}

impl PoolOptions {
    /// A pool of up to `bytes` bytes: reserved now, resident when touched. 64 KiB to 64 GiB.
    pub fn new(bytes: u64) -> PoolOptions {
        PoolOptions::with_config(Config::new(0, bytes).cpus(PoolOptions::possible_cpus()))
    }

    /// A pool as configured, but for the range's base, which the operating system chooses.
    pub const fn with_config(config: Config) -> PoolOptions {
        PoolOptions { config, commit: Commit::Auto, resident: false }
    }

    /// CPUs that this machine may ever have online, at most 512.
    #[must_use]
    pub fn possible_cpus() -> u32 {
        os::possible_cpus()
    }

    /// See [`Config::cpus`]; default: the possible CPUs.
    pub fn cpus(mut self, cpus: u32) -> PoolOptions {
        self.config = self.config.cpus(cpus);
        self
    }

    /// See [`Config::accounts`].
    pub fn accounts(mut self, accounts: u32) -> PoolOptions {
        self.config = self.config.accounts(accounts);
        self
    }

    /// See [`Config::adapters`].
    pub fn adapters(mut self, adapters: u32) -> PoolOptions {
        self.config = self.config.adapters(adapters);
        self
    }

    /// See [`Config::min_block`].
    pub fn min_block(mut self, bytes: u32) -> PoolOptions {
        self.config = self.config.min_block(bytes);
        self
    }

    /// See [`Config::magazines`].
    pub fn magazines(mut self, magazines: u32) -> PoolOptions {
        self.config = self.config.magazines(magazines);
        self
    }

    /// See [`Config::strict_tags`].
    pub fn strict_tags(mut self, strict: bool) -> PoolOptions {
        self.config = self.config.strict_tags(strict);
        self
    }

    /// How CPUs commit; see [`Commit`].
    pub fn commit(mut self, commit: Commit) -> PoolOptions {
        self.commit = commit;
        self
    }

    /// Makes range and metadata resident at once, as nonpaged pool is: no call faults afterwards (unless the
    /// system swaps, or the process forks; lock the process's memory to rule the former out),
    /// and [`Pool::trim`] gives nothing back. The header tables take nearly `16 / min_block` of the
    /// range, so a resident pool wants a larger [`min_block`](Self::min_block).
    pub fn resident(mut self, resident: bool) -> PoolOptions {
        self.resident = resident;
        self
    }

    /// Makes the pool.
    ///
    /// # Errors
    /// [`CreateError`]: an option is out of bounds, or the operating system refused the memory.
    pub fn build(self) -> Result<Pool<Native>, CreateError> {
        self.build_on(Native::new(self.commit))
    }

    /// Makes the pool with the host's own CPU numbers, IRQL and interrupt masking.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_on<P: Platform>(self, platform: P) -> Result<Pool<P>, CreateError> {
        let mut config = self.config;
        // Checked before memory is asked for; the base does not matter, it will be aligned.
        config.base = crate::layout::classes::SPAN.into();
        let metadata_bytes = config.metadata_bytes()?;
        let range = os::Memory::reserve(config.bytes as usize, self.resident)?;
        let mut metadata = os::Memory::reserve(metadata_bytes, self.resident)?;
        // Exposed: `Block::memory` makes pointers of addresses.
        config.base = range.start().as_ptr().expose_provenance() as u64;
        let fork_word = metadata.fork_word();
        // SAFETY: the metadata is zeroed, ours, and dropped after the pool's last use of it.
        let mut pool = unsafe {
            Pool::build(&config, metadata.bytes(), platform, |control| {
                if let Some(word) = fork_word {
                    control.fork_word = word;
                }
                #[cfg(storport_pool_asan)]
                {
                    control.poisons = true;
                }
            })?
        };
        pool.backing = Some(Backing { range, _metadata: metadata, resident: self.resident });
        Ok(pool)
    }
}

#[cfg(storport_pool_asan)]
impl Drop for Backing {
    /// Whoever is mapped here next may use it.
    fn drop(&mut self) {
        crate::poison::unpoison_range(self.range.start().addr().get() as u64, self.range.bytes as u64);
    }
}

impl Pool<Native> {
    /// A pool of up to `bytes` bytes with default [options](PoolOptions).
    ///
    /// # Errors
    /// As [`PoolOptions::build`].
    pub fn new(bytes: u64) -> Result<Pool<Native>, CreateError> {
        PoolOptions::new(bytes).build()
    }

    /// Whether this pool commits by restartable sequences.
    pub fn uses_rseq(&self) -> bool {
        native::uses_rseq(&self.meta)
    }
}

impl<P: Platform> Pool<P> {
    /// Returns empty slabs to the common stock, and the memory of free spans to the operating
    /// system. A resident pool, and one over the caller's range, gives nothing back. The metadata stays
    /// resident where it was touched: at worst, when every part of the range has served blocks of every
    /// size, nearly `16 / min_block` of the range.
    ///
    /// # Errors
    /// [`Busy`], when another trim or drain is under way.
    pub fn trim(&self) -> Result<Trimmed, Busy> {
        match &self.backing {
            Some(backing) if !backing.resident => self.trim_with(|address, bytes| {
                let offset = address - backing.range.start().addr().get() as u64;
                backing.range.decommit(offset as usize, bytes as usize)
            }),
            _ => self.trim_with(|_, _| false),
        }
    }
}

#[cfg(target_os = "linux")]
mod os {
    use super::*;
    use crate::layout::classes::SPAN;
    use crate::sync::AtomicU32;
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

    const PAGE: usize = 4096;

    /// An anonymous mapping, aligned to a span, with one page more at its end for the fork word.
    pub(super) struct Memory {
        mapping: NonNull<u8>,
        mapped: usize,
        start: NonNull<u8>,
        pub(super) bytes: usize,
    }

    // SAFETY: the mapping belongs to the value; nothing about it is tied to a thread.
    unsafe impl Send for Memory {}
    // SAFETY: as above.
    unsafe impl Sync for Memory {}

    impl Memory {
        pub(super) fn reserve(bytes: usize, resident: bool) -> Result<Memory, CreateError> {
            let mapped = bytes + SPAN as usize + PAGE;
            let mut flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
            if resident {
                flags |= MapFlags::POPULATE;
            }
            // SAFETY: a new mapping at an address of the kernel's choice.
            let mapping = unsafe {
                mmap_anonymous(core::ptr::null_mut(), mapped, ProtFlags::READ | ProtFlags::WRITE, flags)
            }
            .map_err(|error| CreateError::Os(error.raw_os_error()))?;
            let mapping = NonNull::new(mapping.cast::<u8>()).ok_or(CreateError::Os(0))?;
            let skip = mapping.align_offset(SPAN as usize);
            // SAFETY: the mapping is a span longer than asked for.
            let start = unsafe { mapping.byte_add(skip) };
            Ok(Memory { mapping, mapped, start, bytes })
        }

        pub(super) fn start(&self) -> NonNull<u8> {
            self.start
        }

        pub(super) fn bytes(&mut self) -> NonNull<[u8]> {
            NonNull::slice_from_raw_parts(self.start, self.bytes)
        }

        /// A word that reads 0 in a forked child, and 1 here; `None` where the kernel has no such page.
        pub(super) fn fork_word(&mut self) -> Option<*const AtomicU32> {
            // The mapping's last page: behind what was asked for.
            // SAFETY: inside the mapping.
            let page = unsafe { self.mapping.byte_add(self.mapped - PAGE) };
            // SAFETY: the page is ours, and nothing lies on it but the word.
            unsafe {
                madvise(page.as_ptr().cast(), PAGE, Advice::LinuxWipeOnFork).ok()?;
                page.cast::<AtomicU32>().write(AtomicU32::new(1));
            }
            Some(page.as_ptr().cast())
        }

        pub(super) fn decommit(&self, offset: usize, bytes: usize) -> bool {
            debug_assert!(offset + bytes <= self.bytes);
            // SAFETY: a part of the mapping in which no block is allocated; it reads as zero afterwards.
            unsafe {
                let start = self.start.byte_add(offset);
                madvise(start.as_ptr().cast(), bytes, Advice::LinuxDontNeed).is_ok()
            }
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            // SAFETY: the mapping is ours and unused from here on. An error leaves it mapped.
            let _ = unsafe { munmap(self.mapping.as_ptr().cast(), self.mapped) };
        }
    }

    /// CPUs that may ever come online, from sysfs; else those that this process may use.
    pub(super) fn possible_cpus() -> u32 {
        let listed = std::fs::read_to_string("/sys/devices/system/cpu/possible")
            .ok()
            .and_then(|list| list.trim().rsplit([',', '-']).next()?.parse::<u32>().ok())
            .map(|last| last + 1);
        listed.unwrap_or_else(usable_cpus).clamp(1, crate::layout::geometry::MAX_CPUS as u32)
    }
}

#[cfg(not(target_os = "linux"))]
mod os {
    use super::*;
    use crate::layout::classes::SPAN;
    use crate::sync::AtomicU32;
    use std::alloc::{Layout, alloc_zeroed, dealloc};

    /// Memory of the system allocator. Not tried on any such system yet.
    pub(super) struct Memory {
        start: NonNull<u8>,
        layout: Layout,
    }

    // SAFETY: the memory belongs to the value; nothing about it is tied to a thread.
    unsafe impl Send for Memory {}
    // SAFETY: as above.
    unsafe impl Sync for Memory {}

    impl Memory {
        pub(super) fn reserve(bytes: usize, _resident: bool) -> Result<Memory, CreateError> {
            let layout =
                Layout::from_size_align(bytes, SPAN as usize).map_err(|_| CreateError::RangeTooLarge)?;
            // SAFETY: the layout has a size, since the configuration was checked.
            let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(CreateError::Os(0))?;
            Ok(Memory { start, layout })
        }

        pub(super) fn start(&self) -> NonNull<u8> {
            self.start
        }

        pub(super) fn bytes(&mut self) -> NonNull<[u8]> {
            NonNull::slice_from_raw_parts(self.start, self.layout.size())
        }

        pub(super) fn fork_word(&mut self) -> Option<*const AtomicU32> {
            None
        }

        pub(super) fn decommit(&self, _offset: usize, _bytes: usize) -> bool {
            false
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            // SAFETY: allocated with this layout.
            unsafe { dealloc(self.start.as_ptr(), self.layout) };
        }
    }

    pub(super) fn possible_cpus() -> u32 {
        usable_cpus().clamp(1, crate::layout::geometry::MAX_CPUS as u32)
    }
}

fn usable_cpus() -> u32 {
    available_parallelism().map_or(1, NonZeroUsize::get) as u32
}
