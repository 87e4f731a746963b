//! How a pool is to be made, and its making.

use core::ffi::c_void;
use core::ptr::NonNull;

use pool::{Commit, Config, Masked, Native, Pool, PoolOptions, Portable};

use crate::host::{
    Callbacks, Masking, sp_cpu_callback, sp_fence_callback, sp_irql_callback, sp_mask_callback,
    sp_unmask_callback,
};
use crate::kind::Kind;

/// How to make a pool. Fill it with 0, set `size`, and then what shall differ.
#[repr(C)]
pub struct sp_options {
    /// Must be `sizeof(sp_options)`: tells versions apart.
    pub size: usize,
    /// Bytes of the range that the pool hands out.
    pub range_bytes: usize,
    /// Where the range begins. 0: the pool gets its memory from the operating system. Else the pool never
    /// touches it, so it may be a guest's; then `metadata` must be given too.
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
    pub strict_tags: bool,
    /// Make memory of the operating system resident at once.
    pub resident: bool,
    /// Without functions of the host: commit by two atomic operations, not by restartable sequences.
    pub portable: bool,
    /// The CPU's number. NULL, with `irql`: the operating system's threads.
    pub cpu: sp_cpu_callback,
    /// The caller's IRQL. NULL: what `sp_raise_irql` made it.
    pub irql: sp_irql_callback,
    /// Masks interrupts. NULL, with the next two: two atomic operations a call instead.
    pub mask: sp_mask_callback,
    /// Restores what `mask` found.
    pub unmask: sp_unmask_callback,
    /// Waits for a CPU's masked sections.
    pub fence: sp_fence_callback,
    /// Handed to each of these functions. They may be called from any thread, at any IRQL.
    pub context: *mut c_void,
}

impl sp_options {
    /// What the pool shall be like; or, in a sentence, why it cannot be.
    pub(crate) fn config(&self) -> Result<Config, String> {
        let or = |value: u32, default: u32| if value == 0 { default } else { value };
        if self.size != size_of::<sp_options>() {
            return Err(format!("the options' size is {}, not {}", self.size, size_of::<sp_options>()));
        }
        let cpus = if self.cpu.is_some() { 1 } else { PoolOptions::possible_cpus() };
        let config = Config::new(self.range, self.range_bytes as u64);
        Ok(config
            .cpus(or(self.cpus, cpus))
            .accounts(or(self.accounts, config.default_accounts()))
            .adapters(or(self.adapters, config.default_adapters()).saturating_add(1))
            .min_block(or(self.min_block, 16))
            .strict_tags(self.strict_tags))
    }

    fn callbacks(&self) -> Result<Option<Callbacks>, String> {
        match (self.cpu, self.irql) {
            (Some(cpu), Some(irql)) => Ok(Some(Callbacks { context: self.context, cpu, irql })),
            (None, None) => Ok(None),
            _ => Err("cpu and irql go together: one of them is NULL".to_owned()),
        }
    }

    fn masking(&self, callbacks: Callbacks) -> Result<Option<Masking>, String> {
        match (self.mask, self.unmask, self.fence) {
            (Some(mask), Some(unmask), Some(fence)) => Ok(Some(Masking { callbacks, mask, unmask, fence })),
            (None, None, None) => Ok(None),
            _ => Err("mask, unmask and fence go together: one of them is NULL".to_owned()),
        }
    }

    /// The pool; or, in a sentence, why there is none.
    ///
    /// # Safety
    /// What the fields promise.
    pub(crate) unsafe fn build(&self) -> Result<Kind, String> {
        let config = self.config()?;
        let callbacks = self.callbacks()?;
        let masking = match callbacks {
            Some(callbacks) => self.masking(callbacks)?,
            None if self.mask.is_some() || self.unmask.is_some() || self.fence.is_some() => {
                return Err("mask, unmask and fence need cpu and irql".to_owned());
            }
            None => None,
        };
        let native = Native::new(if self.portable { Commit::Portable } else { Commit::Auto });
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
    unsafe fn over<P: pool::Platform>(&self, config: &Config, platform: P) -> Result<Pool<P>, String> {
        let made = match NonNull::new(self.metadata.cast::<u8>()) {
            Some(_) if self.range == 0 => {
                return Err("metadata of the host's needs a range of the host's too".to_owned());
            }
            Some(metadata) => {
                let metadata = NonNull::slice_from_raw_parts(metadata, self.metadata_bytes);
                // SAFETY: the caller's promise.
                unsafe { Pool::new_in(config, metadata, platform) }
            }
            None if self.range != 0 => {
                return Err("a range of the host's needs metadata of the host's too".to_owned());
            }
            None => PoolOptions::with_config(*config).resident(self.resident).build_on(platform),
        };
        made.map_err(|error| error.to_string())
    }
}
