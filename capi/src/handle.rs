//! Pools as C handles: their making, and their end.

use std::sync::{Mutex, PoisonError};

use pool::{AdapterId, Config, PoolOptions};

use crate::kind::{Kind, sp_pool, with_pool};
use crate::options::sp_options;
use crate::{error, registry, system};

/// What a bad handle or argument is called.
const NULL_OPTIONS: &str = "the options are NULL";

/// `addressable`: whether the range is memory of this process.
fn finish(kind: Kind, addressable: bool) -> Result<*mut sp_pool, String> {
    let unfinished = sp_pool { kind, system: AdapterId::from_raw(0), places: Mutex::new(Vec::new()) };
    let system =
        with_pool!(unfinished, pool => pool.add_adapter("system")).map_err(|error| error.to_string())?;
    let handle = Box::into_raw(Box::new(sp_pool { system, ..unfinished }));
    system::adopt(handle, addressable);
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
    let adapters = Config::new(0, reserve_bytes as u64).default_adapters() + 1;
    let made = PoolOptions::new(reserve_bytes as u64).adapters(adapters).build();
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
    system::abandon(pool);
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
