//! Pools as C handles: their making, and their end.

use core::ptr;
use std::sync::atomic::{AtomicU16, AtomicU64};

use pool::{AdapterId, Config, HookRecord, PoolOptions};

use crate::error::Why;
use crate::hearer::Hearers;
use crate::kind::{Kind, sp_pool, with_pool};
use crate::memory::boxed;
use crate::options::sp_options;
use crate::types::sp_bool;
use crate::{error, pin, registry, system, violation};

/// `addressable`: whether the range is memory of this process.
fn finish(kind: Kind, addressable: bool) -> Result<*mut sp_pool, Why> {
    pin::stay_loaded()?;
    let unfinished = sp_pool {
        kind,
        system: AdapterId::from_raw(0),
        addressable,
        extensions: AtomicU16::new(0),
        hearers: Hearers::new(),
        violations: AtomicU64::new(0),
        // SAFETY: replaced below, before it is published.
        hook: unsafe { HookRecord::new(violation::hear, ptr::null_mut()) },
    };
    let mut handle = boxed(unfinished).ok_or(Why::Memory)?;
    handle.system = with_pool!(handle, pool => pool.add_adapter("system"))?;
    let handle = Box::into_raw(handle);
    // SAFETY: the handle is not handed out yet. The record lives as long as the pool, which lies beside it, and hearing
    // is for any thread and any IRQL.
    unsafe {
        (*handle).hook = HookRecord::new(violation::hear, handle.cast());
        let hook = &(*handle).hook;
        with_pool!(&*handle, pool => pool.set_violation_hook(Some(hook)));
    }
    if addressable && !system::adopt(handle) {
        // SAFETY: the handle was not handed out.
        drop(unsafe { Box::from_raw(handle) });
        return Err(Why::Memory);
    }
    Ok(handle)
}

/// Makes a pool of up to so many bytes, 64 KiB to 64 GiB: reserved now, resident when touched. NULL on failure.
/// PASSIVE.
#[unsafe(no_mangle)]
pub extern "C" fn sp_pool_create(reserve_bytes: usize) -> *mut sp_pool {
    let adapters = Config::new(0, reserve_bytes as u64).default_adapters() + 1;
    let made = PoolOptions::new(reserve_bytes as u64).adapters(adapters).build();
    error::told(made.map_err(Why::Create).and_then(|pool| finish(Kind::Native(pool), true)), ptr::null_mut())
}

/// Makes a pool as the options say. NULL on failure. PASSIVE.
///
/// # Safety
/// `options` is NULL or points to options whose fields hold what their comments promise.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_pool_create_with(options: *const sp_options) -> *mut sp_pool {
    // SAFETY: the caller's promise.
    let made = unsafe { sp_options::read(options).and_then(|options| Ok((options.build()?, options))) };
    let made = made.and_then(|(kind, options)| finish(kind, options.addressable()));
    error::told(made, ptr::null_mut())
}

/// Bytes of metadata that a pool with these options needs, when the host supplies them; 0 on failure.
///
/// # Safety
/// `options` is NULL or points to options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_metadata_bytes(options: *const sp_options) -> usize {
    // SAFETY: the caller's promise.
    let options = unsafe { sp_options::read(options) };
    error::told(options.and_then(|options| options.metadata_needed()), 0)
}

/// Ends a pool: tells the violation callback of the blocks left, gives the memory back, and the pool's
/// extensions. Its faults are told no more. NULL does nothing. PASSIVE.
///
/// # Safety
/// `pool` is NULL or a pool that is not ended yet; no call with it or its extensions is under way or follows, and nobody
/// touches its range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_pool_destroy(pool: *mut sp_pool) {
    if pool.is_null() {
        return;
    }
    system::abandon(pool);
    // SAFETY: made by `finish`, and the caller's promise. What the pool tells of while it is dropped still finds
    // callback and extensions in the handle, so these go last.
    unsafe {
        ptr::drop_in_place(&raw mut (*pool).kind);
        registry::give_back(&*pool);
        // All that is left has nothing to drop.
        drop(Box::from_raw(pool.cast::<core::mem::ManuallyDrop<sp_pool>>()));
    }
}

/// The host's switch: while it is set, `StorPortAllocatePool` and `StorPortFreePool` answer
/// STOR_STATUS_NOT_IMPLEMENTED, as on an old system or in dump mode. PASSIVE; one call at a time.
///
/// # Safety
/// `pool` is NULL or a pool that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_set_not_implemented(pool: *mut sp_pool, set: sp_bool) {
    // SAFETY: the caller's promise.
    if let Some(handle) = unsafe { pool.as_ref() } {
        with_pool!(handle, pool => pool.set_not_implemented(set != 0));
    }
}
