//! The tagged pool, which drivers mix with Storport's routines. Its calls take no adapter: blocks belong to the *system
//! pool*'s own, and count under its tags. The driver kit's names for them are C's: the header's, and those of
//! `c/kit/executive.c`.
//!
//! Sources: `wdm/nf-wdm-exallocatepool2.md`, `kernel/pool_flags.md`, `wdm/nf-wdm-exallocatepoolwithtag.md`,
//! `wdm/ne-wdm-_pool_type.md`, `wdm/nf-wdm-exfreepoolwithtag.md`.

use core::ffi::c_void;
use core::ptr;

use pool::{Irql, PoolTag, Status};

use crate::kind::{sp_pool, with_pool};
use crate::{system, violation};

const UNINITIALIZED: u64 = 0x2;
const CACHE_ALIGNED: u64 = 0x8;
const NON_PAGED: u64 = 0x40;
const NON_PAGED_EXECUTE: u64 = 0x80;
const PAGED: u64 = 0x100;
const USE_QUOTA: u64 = 0x1;
const RAISE_ON_FAILURE: u64 = 0x20;
/// Those that must be known to be accepted.
const REQUIRED: u64 = 0xFFFF_FFFF;

/// The base types' bit: paged.
const PAGED_POOL: u32 = 1;
/// The base types' bits: cache aligned.
const CACHE_ALIGNED_POOL: u32 = 4;
const ZERO_ALLOCATION: u32 = 0x400;

const CACHE_LINE: u32 = 64;
const PAGE: usize = 4096;

/// Chooses the pool that serves `ExAllocatePool2` and its kind; NULL: none, until the next pool is made. Without a choice
/// it is the oldest pool that lives and whose range this process can address; so it is when the one that served ends.
/// A pool over a range that this process cannot address serves all but requests for zeroed memory, which get NULL.
/// PASSIVE.
///
/// # Safety
/// `pool` is NULL or a pool that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_set_system_pool(pool: *mut sp_pool) {
    system::choose(pool);
}

/// NULL where there is no pool, or no block.
fn get(bytes: usize, tag: u32, paged: bool, aligned: bool, zeroed: bool) -> *mut c_void {
    let Some(handle) = system::pool() else { return ptr::null_mut() };
    if paged && handle.irql() > Irql::APC || zeroed && !handle.addressable {
        return ptr::null_mut();
    }
    let Ok(asked) = u32::try_from(bytes) else { return ptr::null_mut() };
    // From a page up, blocks are aligned to pages.
    let alignment = if aligned && bytes < PAGE { CACHE_LINE } else { 1 };
    let mut address = 0;
    let (tag, out) = (PoolTag::from_raw(tag), Some(&mut address));
    let status = with_pool!(handle, pool => pool.allocate_aligned(handle.system, asked, alignment, tag, out));
    if status != Status::SUCCESS {
        return ptr::null_mut();
    }
    let block: *mut c_void = ptr::with_exposed_provenance_mut(address as usize);
    if zeroed {
        // SAFETY: the block is ours, and the pool's range is addressable, as just checked.
        unsafe { block.cast::<u8>().write_bytes(0, bytes) };
    }
    block
}

/// `ExAllocatePool2`: zeroed unless POOL_FLAG_UNINITIALIZED (0x2) is set. NULL: no memory, 0 bytes, tag 0, not exactly
/// one kind of memory, an unknown flag of the low 32 bits, above DISPATCH_LEVEL, or paged above APC_LEVEL.
/// POOL_FLAG_RAISE_ON_FAILURE is accepted, but there is no exception to raise.
#[unsafe(no_mangle)]
pub extern "C" fn sp_ex_allocate_pool2(flags: u64, bytes: usize, tag: u32) -> *mut c_void {
    let kind = flags & (NON_PAGED | NON_PAGED_EXECUTE | PAGED);
    let others = flags & REQUIRED & !kind;
    if !kind.is_power_of_two()
        || others & !(UNINITIALIZED | CACHE_ALIGNED | USE_QUOTA | RAISE_ON_FAILURE) != 0
        || tag == 0
    {
        return ptr::null_mut();
    }
    get(bytes, tag, kind == PAGED, flags & CACHE_ALIGNED != 0, flags & UNINITIALIZED == 0)
}

/// `ExAllocatePoolWithTag`: not zeroed, unless the type has POOL_ZERO_ALLOCATION (1024). NULL: no memory, 0 bytes, or a
/// bad IRQL as above.
#[unsafe(no_mangle)]
pub extern "C" fn sp_ex_allocate_pool_with_tag(pool_type: u32, bytes: usize, tag: u32) -> *mut c_void {
    let has = |bits| pool_type & bits == bits;
    get(bytes, tag, has(PAGED_POOL), has(CACHE_ALIGNED_POOL), has(ZERO_ALLOCATION))
}

/// `ExAllocatePoolZero`: zeroed.
#[unsafe(no_mangle)]
pub extern "C" fn sp_ex_allocate_pool_zero(pool_type: u32, bytes: usize, tag: u32) -> *mut c_void {
    sp_ex_allocate_pool_with_tag(pool_type | ZERO_ALLOCATION, bytes, tag)
}

/// `ExFreePoolWithTag`: gives a block back; a tag of 0 is not compared. What changes nothing is a violation: what is no
/// block of the system pool (NULL is none), another tag than the block's, a call above DISPATCH_LEVEL, or one while
/// `sp_set_not_implemented` is set.
///
/// # Safety
/// Nobody uses the block any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_ex_free_pool_with_tag(block: *mut c_void, tag: u32) {
    let Some(handle) = system::pool().filter(|_| !block.is_null()) else { return };
    let address = block.addr() as u64;
    // SAFETY: the caller's promise.
    let status = unsafe {
        with_pool!(handle, pool => match tag {
            0 => pool.free(handle.system, address),
            tag => pool.free_with_tag(handle.system, address, PoolTag::from_raw(tag)),
        })
    };
    // There is no status to return.
    match status {
        Status::INVALID_IRQL => violation::tell_unfreed(handle, violation::SP_FREE_AT_IRQL, block, tag),
        Status::NOT_IMPLEMENTED => {
            violation::tell_unfreed(handle, violation::SP_FREE_NOT_IMPLEMENTED, block, tag);
        }
        _ => {}
    }
}

/// `ExFreePool`: as `sp_ex_free_pool_with_tag` with tag 0.
///
/// # Safety
/// As there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_ex_free_pool(block: *mut c_void) {
    // SAFETY: the caller's promise.
    unsafe { sp_ex_free_pool_with_tag(block, 0) }
}
