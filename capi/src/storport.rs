//! The two routines. The driver kit's names for them are C's: the header's, and those of `c/kit/storport.c`.

use pool::{PoolTag, Status};

use crate::kind::with_pool;
use crate::registry;
use core::ffi::c_void;

/// `StorPortAllocatePool`: a block of `bytes` bytes, not zeroed, aligned to 16, and to a page from a page up; blocks of
/// up to a page cross no page boundary. `*block` is NULL after every failure. IRQL <= DISPATCH_LEVEL. Lock-free.
/// Statuses: README.md, "What it guarantees".
///
/// # Safety
/// `block` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_allocate(
    extension: *mut c_void,
    bytes: u32,
    tag: u32,
    block: *mut *mut c_void,
) -> u32 {
    if !block.is_null()
        && let Some(caller) = registry::caller(extension)
    {
        // An address has 64 bits here, as the assertion below says.
        // SAFETY: the caller's promise, and a pool whose extension is known lives.
        return unsafe { caller.allocate(bytes, PoolTag::from_raw(tag), &mut *block.cast::<u64>()).code() };
    }
    // SAFETY: the caller's promise.
    unsafe { allocate_slow(extension, bytes, tag, block) }
}

/// Reached with a pool on a host's functions, and with bad arguments.
///
/// # Safety
/// As `sp_allocate`.
#[cold]
#[inline(never)]
unsafe fn allocate_slow(extension: *mut c_void, bytes: u32, tag: u32, out: *mut *mut c_void) -> u32 {
    // SAFETY: the caller's promise.
    let out = unsafe { out.cast::<u64>().as_mut() };
    let Some((handle, adapter)) = registry::find(extension) else {
        if let Some(out) = out {
            *out = 0;
        }
        return Status::INVALID_PARAMETER.code();
    };
    // SAFETY: a pool whose extension is known lives.
    let handle = unsafe { handle.as_ref() };
    with_pool!(handle, pool => pool.allocate(adapter, bytes, PoolTag::from_raw(tag), out)).code()
}

const _: () = assert!(size_of::<*mut c_void>() == size_of::<u64>());

/// `StorPortFreePool`: gives a block back. Any address may be passed; a bad one changes nothing. IRQL <= DISPATCH_LEVEL.
/// Wait-free.
///
/// # Safety
/// Nobody uses the block any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_free(extension: *mut c_void, block: *mut c_void) -> u32 {
    let address = block.addr() as u64;
    match registry::caller(extension) {
        // SAFETY: the caller's promise, and a pool whose extension is known lives.
        Some(caller) => unsafe { caller.free(address) }.code(),
        // SAFETY: the caller's promise.
        None => unsafe { free_slow(extension, address) },
    }
}

/// As `sp_free`, but a live block of another tag is refused with SP_STATUS_INVALID_PARAMETER, and is a violation. Not
/// exact against others that free the block at the same time: the free then decides. Wait-free.
///
/// # Safety
/// As `sp_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_free_with_tag(extension: *mut c_void, block: *mut c_void, tag: u32) -> u32 {
    let Some((handle, adapter)) = registry::find(extension) else {
        return Status::INVALID_PARAMETER.code();
    };
    let (address, tag) = (block.addr() as u64, PoolTag::from_raw(tag));
    // SAFETY: the caller's promise, and a pool whose extension is known lives.
    unsafe { with_pool!(handle.as_ref(), pool => pool.free_with_tag(adapter, address, tag)) }.code()
}

/// Reached with a pool on a host's functions, and with what is no extension.
///
/// # Safety
/// As `sp_free`.
#[cold]
#[inline(never)]
unsafe fn free_slow(extension: *mut c_void, address: u64) -> u32 {
    let Some((handle, adapter)) = registry::find(extension) else {
        return Status::INVALID_PARAMETER.code();
    };
    // SAFETY: the caller's promise, and a pool whose extension is known lives.
    unsafe { with_pool!(handle.as_ref(), pool => pool.free(adapter, address)) }.code()
}
