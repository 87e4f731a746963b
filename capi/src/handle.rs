//! Pools as C handles.

use core::ffi::c_void;
use core::ops::Range;
use core::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use pool::{AdapterId, Commit, Config, Masked, Native, Pool, PoolOptions, Portable};

use crate::host::{
    Callbacks, Masking, sp_cpu_callback, sp_fence_callback, sp_irql_callback, sp_mask_callback,
    sp_unmask_callback,
};
use crate::{error, executive, registry};

/// A pool.
pub struct sp_pool {
    pub(crate) kind: Kind,
    /// The adapter in whose name `ExAllocatePool2` and its kind allocate.
    pub(crate) system: AdapterId,
    /// Places of the registry that are this pool's until it goes.
    pub(crate) places: Mutex<Vec<Range<usize>>>,
}

/// By what it runs on. The tag stands by itself, so that a call tells it by one compare.
#[repr(u32)]
pub(crate) enum Kind {
    Native(Pool<Native>),
    Portable(Pool<Portable<Callbacks>>),
    Masked(Pool<Masked<Masking>>),
}

/// Does the same with a handle's pool, whatever it runs on.
macro_rules! with_pool {
    ($handle:expr, $pool:ident => $work:expr) => {
        match &$handle.kind {
            crate::handle::Kind::Native($pool) => $work,
            crate::handle::Kind::Portable($pool) => $work,
            crate::handle::Kind::Masked($pool) => $work,
        }
    };
}
pub(crate) use with_pool;

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
    /// How many pairs of adapter and tag are told apart, a power of two from 16 to 32768. 0: 1024.
    pub accounts: u32,
    /// How many adapters may live at once, 1 to 1022; one more is the pool's own. 0: 64.
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

/// What a bad handle or argument is called.
pub(crate) const NULL_OPTIONS: &str = "the options are NULL";

impl sp_options {
    fn config(&self) -> Result<Config, String> {
        let or = |value: u32, default: u32| if value == 0 { default } else { value };
        if self.size != size_of::<sp_options>() {
            return Err(format!("the options' size is {}, not {}", self.size, size_of::<sp_options>()));
        }
        let cpus = if self.cpu.is_some() { 1 } else { PoolOptions::possible_cpus() };
        Ok(Config::new(self.range, self.range_bytes as u64)
            .cpus(or(self.cpus, cpus))
            .accounts(or(self.accounts, 1024))
            .adapters(or(self.adapters, 64).saturating_add(1))
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

    /// # Safety
    /// What the fields promise.
    unsafe fn build(&self) -> Result<Kind, String> {
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

/// `addressable`: whether the range is memory of this process.
fn finish(kind: Kind, addressable: bool) -> Result<*mut sp_pool, String> {
    let unfinished = sp_pool { kind, system: AdapterId::from_raw(0), places: Mutex::new(Vec::new()) };
    let system =
        with_pool!(unfinished, pool => pool.add_adapter("system")).map_err(|error| error.to_string())?;
    let handle = Box::into_raw(Box::new(sp_pool { system, ..unfinished }));
    executive::adopt(handle, addressable);
    Ok(handle)
}

/// NULL, and the error kept, where there is none.
fn handed_out(made: Result<*mut sp_pool, String>) -> *mut sp_pool {
    made.unwrap_or_else(|why| {
        error::set(why);
        core::ptr::null_mut()
    })
}

/// Makes a pool of up to so many bytes, 64 KiB to 64 GiB: reserved now, resident when touched. NULL on failure.
/// PASSIVE.
#[unsafe(no_mangle)]
pub extern "C" fn sp_pool_create(reserve_bytes: usize) -> *mut sp_pool {
    let made = PoolOptions::new(reserve_bytes as u64).adapters(65).build();
    handed_out(made.map_err(|error| error.to_string()).and_then(|pool| finish(Kind::Native(pool), true)))
}

/// Makes a pool as the options say. NULL on failure. PASSIVE.
///
/// # Safety
/// `options` is NULL or points to options whose fields hold what their comments promise.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_pool_create_with(options: *const sp_options) -> *mut sp_pool {
    // SAFETY: the caller's promise.
    let Some(options) = (unsafe { options.as_ref() }) else {
        return handed_out(Err(NULL_OPTIONS.to_owned()));
    };
    // SAFETY: the caller's promise.
    handed_out(unsafe { options.build() }.and_then(|kind| finish(kind, options.metadata.is_null())))
}

/// Bytes of metadata that a pool with these options needs, when the host supplies them; 0 on failure.
///
/// # Safety
/// `options` is NULL or points to options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_metadata_bytes(options: *const sp_options) -> usize {
    // SAFETY: the caller's promise.
    let Some(options) = (unsafe { options.as_ref() }) else {
        error::set(NULL_OPTIONS);
        return 0;
    };
    let bytes =
        options.config().and_then(|config| config.metadata_bytes().map_err(|error| error.to_string()));
    bytes.unwrap_or_else(|why| {
        error::set(why);
        0
    })
}

/// Ends a pool: tells the violation callback of the blocks left, gives the memory back, and the pool's
/// extensions. NULL does nothing. PASSIVE.
///
/// # Safety
/// `pool` is NULL or a pool that is not ended yet; no call with it or its extensions is under way or follows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_pool_destroy(pool: *mut sp_pool) {
    if pool.is_null() {
        return;
    }
    executive::abandon(pool);
    // SAFETY: made by `finish`, and the caller's promise.
    let mut pool = unsafe { Box::from_raw(pool) };
    let places = core::mem::take(pool.places.get_mut().unwrap_or_else(PoisonError::into_inner));
    // Its blocks' owners are told by their extensions, so those go last.
    drop(pool);
    registry::give_back(places);
}

/// The host's switch: while it is set, `StorPortAllocatePool` and `StorPortFreePool` answer
/// STOR_STATUS_NOT_IMPLEMENTED, as on an old system or in dump mode. PASSIVE; one call at a time.
///
/// # Safety
/// `pool` is NULL or a pool that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_set_not_implemented(pool: *mut sp_pool, set: bool) {
    // SAFETY: the caller's promise.
    if let Some(handle) = unsafe { pool.as_ref() } {
        with_pool!(handle, pool => pool.set_not_implemented(set));
    }
}
