//! One block: which one an address lies in, one with an alignment, one with another number of bytes.

use core::ffi::c_void;
use core::ptr;

use pool::{PoolTag, Status};

use crate::kind::{sp_pool, with_pool};
use crate::registry;
use crate::types::sp_bool;

/// A block, as `sp_block_at` found it.
#[repr(C)]
pub struct sp_block {
    /// Where it begins.
    pub address: *mut c_void,
    /// The extension of the adapter that allocated it; NULL if that has none, as for blocks of `ExAllocatePool2` and its
    /// kind, and for those that a removed adapter left.
    pub owner: *mut c_void,
    /// Bytes that were asked for, when it was allocated or by `sp_resize`.
    pub bytes: u64,
    /// Bytes that it has: `sp_resize` takes up to so many.
    pub capacity: u64,
    /// Its tag; 0: not known.
    pub tag: u32,
    /// Whether it is allocated. Else the rest tells of its last owner.
    pub live: sp_bool,
}

/// The block that an address lies in, live or free; `block` may be NULL. False: there is none, and none was there since
/// the memory was last given to blocks of another size; or the pool is NULL. Then `block` is left as it is. That is no
/// failure: `sp_last_error` stays what it was.
///
/// It says what was so when it looked; who has the block may rely on it. Bytes between `bytes` and `capacity` are the
/// block's, but nobody asked for them. Any address, any IRQL. Loads only; it walks the extensions that the pool ever had,
/// to find the owner's.
///
/// # Safety
/// `pool` is NULL or a pool that lives; `block` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_block_at(
    pool: *const sp_pool,
    address: *const c_void,
    block: *mut sp_block,
) -> sp_bool {
    // SAFETY: the caller's promise.
    let Some(handle) = (unsafe { pool.as_ref() }) else { return 0 };
    let found = with_pool!(handle, pool => pool.block_at(address.addr() as u64));
    let Some(found) = found else { return 0 };
    if !block.is_null() {
        let told = sp_block {
            address: ptr::with_exposed_provenance_mut(found.address as usize),
            owner: registry::extension_of(handle, found.owner),
            bytes: found.bytes.into(),
            capacity: found.capacity,
            tag: found.tag.map_or(0, PoolTag::raw),
            live: found.live.into(),
        };
        // SAFETY: the caller's promise.
        unsafe { block.write(told) };
    }
    1
}

/// As `sp_allocate`, for an address that is a multiple of `alignment`: any power of two. Freed like any other block. It
/// takes more of the range than its bytes: up to 32768 (4096 in pools below 8 MiB) a size that is a multiple of the
/// alignment, above that whole spans. An alignment above a span, of 64 KiB (4 KiB in pools below 8 MiB), may be refused
/// while as many bytes are free in a row, but not aligned.
///
/// Statuses as there, and SP_STATUS_INVALID_PARAMETER for an alignment that is no power of two. `*block` is NULL after
/// every failure. IRQL <= DISPATCH_LEVEL. Lock-free.
///
/// # Safety
/// `block` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_allocate_aligned(
    extension: *mut c_void,
    bytes: u32,
    alignment: u32,
    tag: u32,
    block: *mut *mut c_void,
) -> u32 {
    // An address has 64 bits here, as `storport` asserts.
    // SAFETY: the caller's promise.
    let out = unsafe { block.cast::<u64>().as_mut() };
    let Some((handle, adapter)) = registry::find(extension) else {
        if let Some(out) = out {
            *out = 0;
        }
        return Status::INVALID_PARAMETER.code();
    };
    let tag = PoolTag::from_raw(tag);
    // SAFETY: a pool whose extension is known lives.
    let handle = unsafe { handle.as_ref() };
    with_pool!(handle, pool => pool.allocate_aligned(adapter, bytes, alignment, tag, out)).code()
}

/// Lets a block have `bytes` bytes from now on, where it is: fewer or more, as far as it has room (`sp_block.capacity`).
/// What it held stays. Snapshots, violations and leaks name the new number.
///
/// SP_STATUS_INSUFFICIENT_RESOURCES: no room for so many, or a block of whole spans (`capacity` above 32768, or 4096 in
/// pools below 8 MiB) would have fewer or more of them. SP_STATUS_INVALID_PARAMETER: `bytes` is 0, or what `sp_free`
/// refuses, which is a violation as there. Nothing has changed then. Other statuses as there. IRQL <= DISPATCH_LEVEL.
/// Wait-free.
#[unsafe(no_mangle)]
pub extern "C" fn sp_resize(extension: *mut c_void, block: *mut c_void, bytes: u32) -> u32 {
    let Some((handle, adapter)) = registry::find(extension) else {
        return Status::INVALID_PARAMETER.code();
    };
    // SAFETY: a pool whose extension is known lives.
    let handle = unsafe { handle.as_ref() };
    with_pool!(handle, pool => pool.resize(adapter, block.addr() as u64, bytes)).code()
}
