//! Where a pool on std gets its range and metadata: reserved address space, resident when touched.

use super::backing::{Backing, os};

use crate::layout::config::Config;
use crate::layout::create_error::CreateError;
use crate::percpu::native::{self, Commit, Native};
use crate::percpu::platform::Platform;
use crate::pool::handle::{Busy, Pool, Trimmed};

/// How to make a pool over memory of the operating system.
///
/// ```
/// use storport_pool::PoolOptions;
/// let pool = PoolOptions::new(64 << 20).strict_tags(true).build()?;
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
    pub const fn cpus(mut self, cpus: u32) -> PoolOptions {
        self.config = self.config.cpus(cpus);
        self
    }

    /// See [`Config::accounts`].
    pub const fn accounts(mut self, accounts: u32) -> PoolOptions {
        self.config = self.config.accounts(accounts);
        self
    }

    /// See [`Config::adapters`].
    pub const fn adapters(mut self, adapters: u32) -> PoolOptions {
        self.config = self.config.adapters(adapters);
        self
    }

    /// See [`Config::min_block`].
    pub const fn min_block(mut self, bytes: u32) -> PoolOptions {
        self.config = self.config.min_block(bytes);
        self
    }

    /// See [`Config::magazines`].
    pub const fn magazines(mut self, magazines: u32) -> PoolOptions {
        self.config = self.config.magazines(magazines);
        self
    }

    /// See [`Config::strict_tags`].
    pub const fn strict_tags(mut self, strict: bool) -> PoolOptions {
        self.config = self.config.strict_tags(strict);
        self
    }

    /// How CPUs commit; see [`Commit`].
    pub const fn commit(mut self, commit: Commit) -> PoolOptions {
        self.commit = commit;
        self
    }

    /// Makes range and metadata resident at once, as nonpaged pool is: no call faults afterwards (unless the
    /// system swaps, or the process forks; lock the process's memory to rule the former out),
    /// and [`Pool::trim`] gives nothing back. The metadata is resident, too
    /// ([`Config::metadata_bytes`]), so a resident pool wants a larger [`min_block`](Self::min_block).
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
    /// resident where it was touched: at worst all of it ([`Config::metadata_bytes`]), when every part of the range has
    /// served blocks of every size. What is given back comes in spans: of 64 KiB, or of 4 KiB in ranges of
    /// less than 8 MiB.
    ///
    /// # Errors
    /// [`Busy`], when another trim is under way.
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
