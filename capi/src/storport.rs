//! The two routines, by their own names.

use pool::{PoolTag, Status};

use crate::kind::with_pool;
use crate::registry;
use crate::types::{PVOID, ULONG};

/// `StorPortAllocatePool`: declared in the header by hand, so that it can be left out there.
///
/// # Safety
/// `BufferPointer` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn StorPortAllocatePool(
    HwDeviceExtension: PVOID,
    NumberOfBytes: ULONG,
    Tag: ULONG,
    BufferPointer: *mut PVOID,
) -> ULONG {
    if !BufferPointer.is_null()
        && let Some(caller) = registry::caller(HwDeviceExtension)
    {
        // An address has 64 bits here, as the assertion below says.
        // SAFETY: the caller's promise, and a pool whose extension is known lives.
        return unsafe {
            caller.allocate(NumberOfBytes, PoolTag::from_raw(Tag), &mut *BufferPointer.cast::<u64>()).code()
        };
    }
    // SAFETY: the caller's promise.
    unsafe { allocate_slow(HwDeviceExtension, NumberOfBytes, Tag, BufferPointer) }
}

/// Reached with a pool on a host's functions, and with bad arguments.
///
/// # Safety
/// As `StorPortAllocatePool`.
#[cold]
#[inline(never)]
unsafe fn allocate_slow(extension: PVOID, bytes: ULONG, tag: ULONG, out: *mut PVOID) -> ULONG {
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

const _: () = assert!(size_of::<PVOID>() == size_of::<u64>());

/// `StorPortFreePool`: declared in the header by hand.
///
/// # Safety
/// Nobody uses the block any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn StorPortFreePool(HwDeviceExtension: PVOID, BufferPointer: PVOID) -> ULONG {
    let address = BufferPointer.addr() as u64;
    match registry::caller(HwDeviceExtension) {
        // SAFETY: the caller's promise, and a pool whose extension is known lives.
        Some(caller) => unsafe { caller.free(address) }.code(),
        // SAFETY: the caller's promise.
        None => unsafe { free_slow(HwDeviceExtension, address) },
    }
}

/// Reached with a pool on a host's functions, and with what is no extension.
///
/// # Safety
/// As `StorPortFreePool`.
#[cold]
#[inline(never)]
unsafe fn free_slow(extension: PVOID, address: u64) -> ULONG {
    let Some((handle, adapter)) = registry::find(extension) else {
        return Status::INVALID_PARAMETER.code();
    };
    // SAFETY: the caller's promise, and a pool whose extension is known lives.
    unsafe { with_pool!(handle.as_ref(), pool => pool.free(adapter, address)) }.code()
}
