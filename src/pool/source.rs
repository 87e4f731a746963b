//! Where a pool on std gets its range and metadata: reserved address space, resident when touched.

use super::backing::{Backing, os};

use crate::layout::config::Config;
use crate::layout::create_error::CreateError;
use crate::percpu::native::{self, Commit, Native};
use crate::percpu::platform::Platform;
use crate::pool::handle::{Pool, TrimError, Trimmed};

/// How to make a pool over memory of the operating system. What is out of bounds, [`build`](PoolOptions::build) tells.
/// The functions are for PASSIVE.
///
/// ```
/// use storport_pool::{Commit, PoolOptions};
/// let pool = PoolOptions::new(64 << 20).strict_tags(true).build()?;
/// // All options, with their defaults for this size.
/// let same = PoolOptions::new(64 << 20)
///     .cpus(PoolOptions::possible_cpus())
///     .accounts(256)
///     .adapters(64)
///     .min_block(16)
///     .magazines(0)
///     .strict_tags(false)
///     .commit(Commit::Auto)
///     .resident(false)
///     .build()?;
/// assert_eq!(pool.range().1, same.range().1);
/// # Ok::<(), storport_pool::CreateError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "options make a pool by `build`"]
pub struct PoolOptions {
    config: Config,
    commit: Commit,
    resident: bool,
}

impl PoolOptions {
    /// A pool of up to `bytes` bytes, 64 KiB to 64 GiB. They are reserved at once, and resident when touched.
    pub fn new(bytes: u64) -> PoolOptions {
        PoolOptions::with_config(Config::new(0, bytes).cpus(PoolOptions::possible_cpus()))
    }

    /// A pool as configured. The base of the configuration does not count: the operating system chooses where the range
    /// lies.
    ///
    /// ```
    /// use storport_pool::{Config, PoolOptions};
    /// let pool = PoolOptions::with_config(Config::new(0, 1 << 20).cpus(4).min_block(64)).build()?;
    /// assert_eq!(pool.range().1, 1 << 20);
    /// # Ok::<(), storport_pool::CreateError>(())
    /// ```
    pub const fn with_config(config: Config) -> PoolOptions {
        PoolOptions { config, commit: Commit::Auto, resident: false }
    }

    /// CPUs that this machine may ever have online, at most 512. It asks the operating system.
    #[must_use]
    pub fn possible_cpus() -> u32 {
        os::possible_cpus()
    }

    /// How many CPUs have a cache, as [`Config::cpus`]. The default is the [possible CPUs](PoolOptions::possible_cpus).
    pub const fn cpus(mut self, cpus: u32) -> PoolOptions {
        self.config = self.config.cpus(cpus);
        self
    }

    /// How many pairs of adapter and tag are told apart, as [`Config::accounts`].
    pub const fn accounts(mut self, accounts: u32) -> PoolOptions {
        self.config = self.config.accounts(accounts);
        self
    }

    /// How many adapters may live at once, as [`Config::adapters`].
    pub const fn adapters(mut self, adapters: u32) -> PoolOptions {
        self.config = self.config.adapters(adapters);
        self
    }

    /// Bytes of the smallest block, as [`Config::min_block`].
    pub const fn min_block(mut self, bytes: u32) -> PoolOptions {
        self.config = self.config.min_block(bytes);
        self
    }

    /// How many magazines the metadata holds, as [`Config::magazines`].
    pub const fn magazines(mut self, magazines: u32) -> PoolOptions {
        self.config = self.config.magazines(magazines);
        self
    }

    /// Whether to refuse the tags that Windows refuses, as [`Config::strict_tags`].
    pub const fn strict_tags(mut self, strict: bool) -> PoolOptions {
        self.config = self.config.strict_tags(strict);
        self
    }

    /// How calls change a CPU's cache; see [`Commit`].
    pub const fn commit(mut self, commit: Commit) -> PoolOptions {
        self.commit = commit;
        self
    }

    /// Makes range and metadata resident at once, as nonpaged pool is. Then no call faults, and [`Pool::trim`] gives
    /// nothing back.
    ///
    /// Calls may still fault if the system swaps, or if the process forks. Lock the process's memory to rule out the
    /// former. The metadata is resident, too ([`Config::metadata_bytes`]). So a resident pool wants a larger
    /// [`min_block`](Self::min_block).
    pub const fn resident(mut self, resident: bool) -> PoolOptions {
        self.resident = resident;
        self
    }

    /// The number of CPUs that it would be made for.
    #[cfg(not(storport_pool_loom))]
    pub(crate) const fn counted_cpus(&self) -> u32 {
        self.config.cpus
    }

    /// Bytes of the range, before rounding.
    #[cfg(not(storport_pool_loom))]
    pub(crate) const fn bytes(&self) -> u64 {
        self.config.bytes
    }

    /// Makes the pool. PASSIVE.
    ///
    /// # Errors
    /// [`CreateError`]: an option is out of bounds, or the operating system refused the memory.
    pub fn build(self) -> Result<Pool<Native>, CreateError> {
        self.build_on(Native::new(self.commit))
    }

    /// Makes the pool with the host's own CPU numbers, IRQL and interrupt masking. PASSIVE. [`Host`](crate::Host) has
    /// an example.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_on<P: Platform>(self, platform: P) -> Result<Pool<P>, CreateError> {
        let mut config = self.config;
        // Checked before memory is asked for; the base does not matter, it will be aligned.
        config.base = crate::layout::classes::MOST_SPAN.into();
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
        pool.mapped = pool.base.0 as usize;
        pool.backing = Some(Backing { range, _metadata: metadata, resident: self.resident });
        Ok(pool)
    }
}

impl Pool<Native> {
    /// A pool of up to `bytes` bytes, 64 KiB to 64 GiB, with default [options](PoolOptions). PASSIVE.
    ///
    /// ```
    /// use storport_pool::{CreateError, Pool};
    /// let pool = Pool::new(64 << 20)?; // 64 MiB of address space, resident when touched
    /// assert_eq!(pool.range().1, 64 << 20);
    /// assert!(matches!(Pool::new(1000), Err(CreateError::RangeTooSmall { .. })));
    /// # Ok::<(), CreateError>(())
    /// ```
    ///
    /// # Errors
    /// As [`PoolOptions::build`].
    pub fn new(bytes: u64) -> Result<Pool<Native>, CreateError> {
        PoolOptions::new(bytes).build()
    }

    /// Whether this pool commits by restartable sequences. Any IRQL; a load. [`Native`] has an example.
    pub fn uses_rseq(&self) -> bool {
        native::uses_rseq(&self.meta)
    }
}

impl<P: Platform> Pool<P> {
    /// Returns empty slabs to the common stock, and the memory of free spans to the operating system. PASSIVE; O(pool).
    ///
    /// What is given back comes in spans: of 64 KiB, or of 4 KiB in ranges of less than 8 MiB. A resident pool gives
    /// nothing back, and neither does one over the caller's range.
    ///
    /// The metadata stays resident where it was touched. At worst that is all of it ([`Config::metadata_bytes`]), when
    /// every part of the range has served blocks of every size.
    ///
    /// ```
    /// use storport_pool::{Pool, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.adapter("disk0")?;
    /// disk.allocate(100_000, tag!("Big "))?.fill(1); // touched, and freed at once
    /// assert!(pool.trim()?.bytes >= 100_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`TrimError`]: another trim is under way, or the caller runs above DISPATCH.
    pub fn trim(&self) -> Result<Trimmed, TrimError> {
        match &self.backing {
            Some(backing) if !backing.resident => self.trim_with(|address, bytes| {
                let offset = address - backing.range.start().addr().get() as u64;
                backing.range.decommit(offset as usize, bytes as usize)
            }),
            _ => self.trim_with(|_, _| false),
        }
    }
}
