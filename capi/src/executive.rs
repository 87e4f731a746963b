//! The tagged pool under its own names, which drivers mix with Storport's. They take no adapter: blocks belong
//! to the *system pool*'s own, and count under its tags.
//!
//! Sources: `wdm/nf-wdm-exallocatepool2.md`, `kernel/pool_flags.md`, `wdm/nf-wdm-exallocatepoolwithtag.md`,
//! `wdm/ne-wdm-_pool_type.md`, `wdm/nf-wdm-exfreepoolwithtag.md`.

use core::ffi::c_void;
use core::ptr;

use pool::{Irql, PoolTag, Status};

use crate::kind::{Kind, sp_pool, with_pool};
use crate::system;
use crate::types::{POOL_FLAGS, POOL_TYPE, PVOID, SIZE_T, ULONG};

const UNINITIALIZED: POOL_FLAGS = 0x2;
const CACHE_ALIGNED: POOL_FLAGS = 0x8;
const NON_PAGED: POOL_FLAGS = 0x40;
const NON_PAGED_EXECUTE: POOL_FLAGS = 0x80;
const PAGED: POOL_FLAGS = 0x100;
const USE_QUOTA: POOL_FLAGS = 0x1;
const RAISE_ON_FAILURE: POOL_FLAGS = 0x20;
/// Those that must be known to be accepted.
const REQUIRED: POOL_FLAGS = 0xFFFF_FFFF;

/// The base types' bit: paged.
const PAGED_POOL: POOL_TYPE = 1;
/// The base types' bits: cache aligned.
const CACHE_ALIGNED_POOL: POOL_TYPE = 4;
const ZERO_ALLOCATION: POOL_TYPE = 0x400;

const CACHE_LINE: usize = 64;
const PAGE: usize = 4096;

/// Chooses the pool that serves `ExAllocatePool2` and its kind; NULL: none. Without a choice it is the first
/// pool over memory of the operating system. PASSIVE.
///
/// # Safety
/// `pool` is NULL or a pool that lives, whose range this process can address.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_set_system_pool(pool: *mut sp_pool) {
    system::choose(pool);
}

fn irql(handle: &sp_pool) -> Irql {
    match &handle.kind {
        Kind::Native(_) => Irql::current(),
        Kind::Portable(pool) => pool::Host::irql(pool.platform().host()),
        Kind::Masked(pool) => pool::Host::irql(pool.platform().host()),
    }
}

/// NULL where there is no pool, or no block.
fn get(bytes: SIZE_T, tag: ULONG, paged: bool, aligned: bool, zeroed: bool) -> PVOID {
    let Some(handle) = system::pool() else { return ptr::null_mut() };
    if paged && irql(handle) > Irql::APC {
        return ptr::null_mut();
    }
    // A block of 2^n bytes below a page begins at a multiple of 2^n.
    let rounded =
        if aligned && bytes < PAGE && bytes > 0 { bytes.next_power_of_two().max(CACHE_LINE) } else { bytes };
    let Ok(rounded) = ULONG::try_from(rounded) else { return ptr::null_mut() };
    let mut address = 0;
    let (tag, out) = (PoolTag::from_raw(tag), Some(&mut address));
    if with_pool!(handle, pool => pool.allocate(handle.system, rounded, tag, out)) != Status::SUCCESS {
        return ptr::null_mut();
    }
    let block: PVOID = ptr::with_exposed_provenance_mut(address as usize);
    if zeroed {
        // SAFETY: the block is ours, and the pool's range is addressable.
        unsafe { block.cast::<u8>().write_bytes(0, bytes) };
    }
    block
}

/// `ExAllocatePool2`: declared in the header by hand.
#[unsafe(no_mangle)]
pub extern "C" fn ExAllocatePool2(Flags: POOL_FLAGS, NumberOfBytes: SIZE_T, Tag: ULONG) -> PVOID {
    let kind = Flags & (NON_PAGED | NON_PAGED_EXECUTE | PAGED);
    let others = Flags & REQUIRED & !kind;
    if !kind.is_power_of_two()
        || others & !(UNINITIALIZED | CACHE_ALIGNED | USE_QUOTA | RAISE_ON_FAILURE) != 0
    {
        return ptr::null_mut();
    }
    if Tag == 0 {
        return ptr::null_mut();
    }
    get(NumberOfBytes, Tag, kind == PAGED, Flags & CACHE_ALIGNED != 0, Flags & UNINITIALIZED == 0)
}

/// `ExAllocatePoolWithTag`: declared in the header by hand.
#[unsafe(no_mangle)]
pub extern "C" fn ExAllocatePoolWithTag(PoolType: POOL_TYPE, NumberOfBytes: SIZE_T, Tag: ULONG) -> PVOID {
    let has = |bits| PoolType & bits == bits;
    get(NumberOfBytes, Tag, has(PAGED_POOL), has(CACHE_ALIGNED_POOL), has(ZERO_ALLOCATION))
}

/// `ExAllocatePoolZero`: declared in the header by hand.
#[unsafe(no_mangle)]
pub extern "C" fn ExAllocatePoolZero(PoolType: POOL_TYPE, NumberOfBytes: SIZE_T, Tag: ULONG) -> PVOID {
    ExAllocatePoolWithTag(PoolType | ZERO_ALLOCATION, NumberOfBytes, Tag)
}

/// `ExFreePool`: declared in the header by hand. What is no block of the system pool changes nothing; the
/// violation callback hears of it.
///
/// # Safety
/// Nobody uses the block any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ExFreePool(P: *mut c_void) {
    if let Some(handle) = system::pool() {
        // SAFETY: the caller's promise. There is no status to return.
        let _ = unsafe { with_pool!(handle, pool => pool.free(handle.system, P.addr() as u64)) };
    }
}

/// `ExFreePoolWithTag`: declared in the header by hand. A tag of 0 is not compared.
///
/// # Safety
/// Nobody uses the block any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ExFreePoolWithTag(P: *mut c_void, Tag: ULONG) {
    if Tag == 0 {
        // SAFETY: the caller's promise.
        return unsafe { ExFreePool(P) };
    }
    if let Some(handle) = system::pool() {
        let (address, tag) = (P.addr() as u64, PoolTag::from_raw(Tag));
        // SAFETY: the caller's promise. There is no status to return.
        let _ = unsafe { with_pool!(handle, pool => pool.free_with_tag(handle.system, address, tag)) };
    }
}
