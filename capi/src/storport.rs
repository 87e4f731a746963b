//! The two routines, by their own names.

use pool::{AdapterId, PoolTag, Status};

use crate::handle::{Kind, sp_pool};
use crate::registry;
use crate::types::{PVOID, ULONG};

/// Allocates in an adapter's name. `out` is set on success alone.
///
/// # Safety
/// The handle is a pool that lives.
#[inline(always)]
pub(crate) unsafe fn allocate(
    handle: *const sp_pool,
    adapter: AdapterId,
    bytes: ULONG,
    tag: ULONG,
    out: &mut u64,
) -> Status {
    let tag = PoolTag::from_raw(tag);
    // SAFETY: the caller's promise.
    match unsafe { &(*handle).kind } {
        Kind::Native(pool) => pool.allocate(adapter, bytes, tag, Some(out)),
        Kind::Portable(pool) => pool.allocate(adapter, bytes, tag, Some(out)),
        Kind::Masked(pool) => pool.allocate(adapter, bytes, tag, Some(out)),
    }
}

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
    let Some((handle, adapter)) = registry::find(HwDeviceExtension) else {
        if !BufferPointer.is_null() {
            // SAFETY: the caller's promise.
            unsafe { BufferPointer.write(core::ptr::null_mut()) };
        }
        return Status::INVALID_PARAMETER.code();
    };
    // An address has 64 bits here, as the assertion below says.
    // SAFETY: the caller's promise, and a pool whose extension is known lives.
    unsafe {
        let out = BufferPointer.cast::<u64>().as_mut();
        let (handle, tag) = (handle.as_ref(), PoolTag::from_raw(Tag));
        match &handle.kind {
            Kind::Native(pool) => pool.allocate(adapter, NumberOfBytes, tag, out),
            Kind::Portable(pool) => pool.allocate(adapter, NumberOfBytes, tag, out),
            Kind::Masked(pool) => pool.allocate(adapter, NumberOfBytes, tag, out),
        }
        .code()
    }
}

const _: () = assert!(size_of::<PVOID>() == size_of::<u64>());

/// `StorPortFreePool`: declared in the header by hand.
///
/// # Safety
/// Nobody uses the block any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn StorPortFreePool(HwDeviceExtension: PVOID, BufferPointer: PVOID) -> ULONG {
    let Some((handle, adapter)) = registry::find(HwDeviceExtension) else {
        return Status::INVALID_PARAMETER.code();
    };
    let address = BufferPointer.addr() as u64;
    // SAFETY: the caller's promise, and a pool whose extension is known lives.
    unsafe {
        match &handle.as_ref().kind {
            Kind::Native(pool) => pool.free(adapter, address),
            Kind::Portable(pool) => pool.free(adapter, address),
            Kind::Masked(pool) => pool.free(adapter, address),
        }
        .code()
    }
}

unsafe extern "C" {
    fn sp_extended_function(FunctionCode: ULONG, HwDeviceExtension: PVOID, ...) -> ULONG;
}

/// `StorPortExtendedFunction`: declared in the header by hand. Its arguments stay where they are: what they are
/// depends on the code, which C looks at.
///
/// # Safety
/// The arguments are what the function code asks for.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn StorPortExtendedFunction() {
    #[cfg(target_arch = "x86_64")]
    core::arch::naked_asm!("jmp {}", sym sp_extended_function);
    #[cfg(target_arch = "aarch64")]
    core::arch::naked_asm!("b {}", sym sp_extended_function);
}
