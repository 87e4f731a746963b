//! How a pool is to be made, and its making.

use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr::NonNull;

use pool::{Commit, Config, Masked, Native, Pool, PoolOptions, Portable};

use crate::error::Why;
use crate::host::{
    Callbacks, Masking, sp_cpu_callback, sp_fence_callback, sp_irql_callback, sp_mask_callback,
    sp_unmask_callback,
};
use crate::kind::Kind;
use crate::types::sp_bool;
use crate::versioned::{self, Versioned};

/// What a range begins at a multiple of.
const ALIGNMENT: u64 = 65536;

/// How to make a pool. Fill it with 0, set `size`, and then what shall differ.
#[repr(C)]
pub struct sp_options {
    /// `sizeof(sp_options)`: tells versions apart. What an older version had not is 0.
    pub size: usize,
    /// Bytes of the range that the pool hands out.
    pub range_bytes: usize,
    /// Where the range begins, a multiple of 65536. 0: the pool gets its memory from the operating system. Else the pool
    /// never touches it, so it may be a guest's; then `metadata` must be given too.
    pub range: u64,
    /// Memory for the pool's own use: zeroed, aligned to 4096, `sp_metadata_bytes` long, unused by others while
    /// the pool lives. NULL, with `range` 0: from the operating system.
    pub metadata: *mut c_void,
    /// Bytes of it.
    pub metadata_bytes: usize,
    /// How many CPUs have a cache, 1 to 512. 0: all of this machine, or 1 with functions of the host.
    pub cpus: u32,
    /// How many pairs of adapter and tag are told apart, a power of two from 16 to 32768. 0: one to each 256 KiB of
    /// the range, but at least 64 and at most 1024.
    pub accounts: u32,
    /// How many adapters may live at once, 1 to 1022; one more is the pool's own. 0: a quarter
    /// of the default number of accounts, but at most 64.
    pub adapters: u32,
    /// The smallest block, a power of two from 16 to 4096. 0: 16.
    pub min_block: u32,
    /// Refuse tags that Windows 1903 and later refuse.
    pub strict_tags: sp_bool,
    /// Make memory of the operating system resident at once.
    pub resident: sp_bool,
    /// Without functions of the host: commit by two atomic operations, not by restartable sequences.
    pub portable: sp_bool,
    /// A range of the host's is memory of this process: then `ExAllocatePool2` and its kind may zero blocks of it.
    pub range_is_addressable: sp_bool,
    /// The CPU's number. NULL, with `irql`: the operating system's threads.
    pub cpu: sp_cpu_callback,
    /// The caller's IRQL. The higher of it and of what `sp_raise_irql` made the thread's counts. NULL: the latter.
    pub irql: sp_irql_callback,
    /// Masks interrupts. NULL, with the next two: two atomic operations a call instead.
    pub mask: sp_mask_callback,
    /// Restores what `mask` found.
    pub unmask: sp_unmask_callback,
    /// Waits for a CPU's masked sections.
    pub fence: sp_fence_callback,
    /// Handed to each of these functions. They may be called from any thread, at any IRQL.
    pub context: *mut c_void,
    /// How many magazines of free blocks (1024 bytes each) the metadata holds. 0: enough for a pool that is all free.
    pub magazines: u32,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: `size` is first; the others are numbers, and pointers that may be NULL.
unsafe impl Versioned for sp_options {
    const SIZES: &'static [usize] = &[offset_of!(sp_options, magazines), size_of::<sp_options>()];
}

impl sp_options {
    /// The options as today's, whatever version wrote them.
    ///
    /// # Safety
    /// NULL, or options.
    pub(crate) unsafe fn read(options: *const sp_options) -> Result<sp_options, Why> {
        // SAFETY: the caller's promise.
        let today = unsafe { versioned::read(options) }?;
        if today.reserved != 0 {
            return Err(Why::Reserved(today.reserved));
        }
        Ok(today)
    }

    /// Whether the range is memory of this process.
    pub(crate) fn addressable(&self) -> bool {
        self.metadata.is_null() || self.range_is_addressable != 0
    }

    /// What the pool shall be like; or why it cannot be.
    fn config(&self) -> Result<Config, Why> {
        let or = |value: u32, default: u32| if value == 0 { default } else { value };
        if !self.range.is_multiple_of(ALIGNMENT) {
            return Err(Why::RangeAlignment(self.range));
        }
        // One more is the pool's own.
        if self.adapters > 1022 {
            return Err(Why::Adapters(self.adapters));
        }
        let cpus = if self.cpu.is_some() { 1 } else { PoolOptions::possible_cpus() };
        let config = Config::new(self.range, self.range_bytes as u64);
        Ok(config
            .cpus(or(self.cpus, cpus))
            .accounts(or(self.accounts, config.default_accounts()))
            .adapters(or(self.adapters, config.default_adapters()).saturating_add(1))
            .min_block(or(self.min_block, 16))
            .magazines(self.magazines)
            .strict_tags(self.strict_tags != 0))
    }

    /// Bytes of metadata; or why there can be no such pool.
    pub(crate) fn metadata_needed(&self) -> Result<usize, Why> {
        Ok(self.config()?.metadata_bytes()?)
    }

    fn callbacks(&self) -> Result<Option<Callbacks>, Why> {
        match (self.cpu, self.irql) {
            (Some(cpu), Some(irql)) => Ok(Some(Callbacks { context: self.context, cpu, irql })),
            (None, None) => Ok(None),
            _ => Err(Why::CpuAndIrql),
        }
    }

    fn masking(&self, callbacks: Callbacks) -> Result<Option<Masking>, Why> {
        match (self.mask, self.unmask, self.fence) {
            (Some(mask), Some(unmask), Some(fence)) => Ok(Some(Masking { callbacks, mask, unmask, fence })),
            (None, None, None) => Ok(None),
            _ => Err(Why::MaskUnmaskFence),
        }
    }

    /// The pool; or why there is none.
    ///
    /// # Safety
    /// What the fields promise.
    pub(crate) unsafe fn build(&self) -> Result<Kind, Why> {
        let config = self.config()?;
        let callbacks = self.callbacks()?;
        let masking = match callbacks {
            Some(callbacks) => self.masking(callbacks)?,
            None if self.mask.is_some() || self.unmask.is_some() || self.fence.is_some() => {
                return Err(Why::MaskNeedsCpu);
            }
            None => None,
        };
        let native = Native::new(if self.portable != 0 { Commit::Portable } else { Commit::Auto });
        // SAFETY: the caller's promise.
        unsafe {
            match (masking, callbacks) {
                (Some(masking), _) => self.over(&config, Masked::new(masking)).map(Kind::Masked),
                (None, Some(callbacks)) => self.over(&config, Portable::new(callbacks)).map(Kind::Portable),
                (None, None) => self.over(&config, native).map(Kind::Native),
            }
        }
    }

    /// # Safety
    /// What the fields promise.
    unsafe fn over<P: pool::Platform>(&self, config: &Config, platform: P) -> Result<Pool<P>, Why> {
        let Some(metadata) = NonNull::new(self.metadata.cast::<u8>()) else {
            if self.range != 0 {
                return Err(Why::RangeNeedsMetadata);
            }
            let options = PoolOptions::with_config(*config).resident(self.resident != 0);
            return Ok(options.build_on(platform)?);
        };
        if self.range == 0 {
            return Err(Why::MetadataNeedsRange);
        }
        let (needed, given) = (config.metadata_bytes()?, self.metadata_bytes);
        if !metadata.addr().get().is_multiple_of(4096) {
            return Err(Why::MetadataAlignment(metadata.addr().get()));
        }
        if given < needed {
            return Err(Why::MetadataBytes { given, needed });
        }
        // SAFETY: the caller's promise.
        Ok(unsafe { Pool::new_in(config, NonNull::slice_from_raw_parts(metadata, given), platform)? })
    }
}
