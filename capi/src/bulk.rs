//! Many blocks in one call.

use core::slice::{from_raw_parts, from_raw_parts_mut};

use pool::{PoolTag, Status};

use crate::kind::with_pool;
use crate::registry;
use core::ffi::c_void;

/// How many addresses are read before their statuses are written.
const AT_ONCE: usize = 32;

/// Frees `count` blocks of one adapter: what StorPortFreePool does to each, in order. docs/BENCHMARKS.md says
/// from how many blocks on that is faster. Returns how many were freed. `statuses[n]` is set to the status of
/// `blocks[n]`; `statuses` may be NULL. A refused block changes nothing for the others. A block that stands
/// there twice is freed once and refused once. NULL for `blocks` stands for `count` NULL pointers. The two
/// arrays may be the same memory.
///
/// IRQL <= DISPATCH_LEVEL. Bounded: `count` times the bound of StorPortFreePool, and a constant each.
///
/// # Safety
/// `blocks` is NULL or has `count` pointers, `statuses` is NULL or has room for as many, both aligned as C
/// aligns them; nobody uses the blocks any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_free_bulk(
    extension: *mut c_void,
    blocks: *const *mut c_void,
    count: usize,
    statuses: *mut u32,
) -> usize {
    let bytes = count.saturating_mul(size_of::<*mut c_void>());
    let apart = statuses.is_null() || statuses.addr().abs_diff(blocks.addr()) >= bytes;
    if blocks.is_null() || !apart {
        // SAFETY: the caller's promise.
        return unsafe { free_by_copies(extension, blocks, count, statuses) };
    }
    // SAFETY: the caller's promise; the arrays do not overlap. A status is a u32.
    unsafe {
        let told = if statuses.is_null() { &mut [] } else { from_raw_parts_mut(statuses.cast(), count) };
        free_some(extension, from_raw_parts(blocks.cast(), count), told)
    }
}

/// Reached with NULL for `blocks`, and with arrays that overlap: addresses are read before statuses are written.
///
/// # Safety
/// As `sp_free_bulk`.
#[cold]
unsafe fn free_by_copies(
    extension: *mut c_void,
    blocks: *const *mut c_void,
    count: usize,
    statuses: *mut u32,
) -> usize {
    let mut freed = 0;
    let mut at = 0;
    while at < count {
        let len = AT_ONCE.min(count - at);
        let mut addresses = [0; AT_ONCE];
        if !blocks.is_null() {
            for (n, address) in addresses[..len].iter_mut().enumerate() {
                // SAFETY: the caller's promise. (What an overlapping array of statuses made of it is some address.)
                *address = unsafe { blocks.add(at + n).read_unaligned() }.addr() as u64;
            }
        }
        let mut told = [Status::INVALID_PARAMETER; AT_ONCE];
        // SAFETY: the caller's promise.
        freed += unsafe { free_some(extension, &addresses[..len], &mut told[..len]) };
        if !statuses.is_null() {
            for (n, status) in told[..len].iter().enumerate() {
                // SAFETY: the caller's promise.
                unsafe { statuses.add(at + n).write_unaligned(status.code()) };
            }
        }
        at += len;
    }
    freed
}

const _: () = assert!(size_of::<Status>() == size_of::<u32>());

/// # Safety
/// Nobody uses the blocks any more.
unsafe fn free_some(extension: *mut c_void, addresses: &[u64], statuses: &mut [Status]) -> usize {
    if let Some(caller) = registry::caller(extension) {
        // SAFETY: the caller's promise, and a pool whose extension is known lives.
        return unsafe { caller.free_bulk(addresses, statuses) };
    }
    let Some((handle, adapter)) = registry::find(extension) else {
        statuses.fill(Status::INVALID_PARAMETER);
        return 0;
    };
    // SAFETY: as above.
    unsafe { with_pool!(handle.as_ref(), pool => pool.free_bulk(adapter, addresses, statuses)) }
}

/// Allocates `count` blocks of `bytes` bytes, all or none, and returns one status for them, as StorPortAllocatePool
/// does for one. After every failure all of `blocks` is NULL. Each block is freed alone or with others. `count` 0 is
/// STOR_STATUS_SUCCESS, and nothing is looked at.
///
/// IRQL <= DISPATCH_LEVEL. Lock-free.
///
/// # Safety
/// `blocks` is NULL, which is STOR_STATUS_INVALID_PARAMETER, or has room for `count` pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_allocate_bulk(
    extension: *mut c_void,
    bytes: u32,
    tag: u32,
    blocks: *mut *mut c_void,
    count: usize,
) -> u32 {
    if count == 0 {
        return Status::SUCCESS.code();
    }
    let tag = PoolTag::from_raw(tag);
    if !blocks.is_null() {
        // SAFETY: the caller's promise.
        unsafe { blocks.cast::<u64>().write_bytes(0, count) };
        if let Some(caller) = registry::caller(extension) {
            // SAFETY: as above, written just now; and a pool whose extension is known lives.
            return unsafe {
                caller.allocate_bulk(bytes, tag, from_raw_parts_mut(blocks.cast(), count)).code()
            };
        }
    }
    let Some((handle, adapter)) = registry::find(extension) else {
        return Status::INVALID_PARAMETER.code();
    };
    // SAFETY: a pool whose extension is known lives.
    let handle = unsafe { handle.as_ref() };
    if blocks.is_null() {
        return with_pool!(handle, pool => pool.allocate(adapter, bytes, tag, None)).code();
    }
    // SAFETY: as above.
    let blocks = unsafe { from_raw_parts_mut(blocks.cast(), count) };
    with_pool!(handle, pool => pool.allocate_bulk(adapter, bytes, tag, blocks)).code()
}

/// Says that this block will be freed soon: what StorPortFreePool will look at is drawn into the cache. It can pay where
/// another CPU allocated the block, some hundred cycles before the free. Any address, any IRQL, no effect on any status.
#[unsafe(no_mangle)]
pub extern "C" fn sp_hint_free(extension: *mut c_void, block: *mut c_void) {
    let address = block.addr() as u64;
    if let Some(caller) = registry::caller(extension) {
        // SAFETY: a pool whose extension is known lives.
        unsafe { caller.hint_free(address) };
    } else if let Some((handle, _)) = registry::find(extension) {
        // SAFETY: as above.
        with_pool!(unsafe { handle.as_ref() }, pool => pool.hint_free(address));
    }
}
