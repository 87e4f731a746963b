//! Allocate, release and resize, whoever serves: the pool, or the system.
//!
//! An address inside the pool's range is the pool's; any other is looked up in the table of mappings.

use core::ptr::{copy_nonoverlapping, null_mut, with_exposed_provenance_mut, write_bytes};

use crate::errno;
use crate::mapped::{self, PAGE};
use crate::misuse;
use crate::range::{self, Range};

/// The largest alignment that is asked of the pool: a span's. It may have room for more, and not find it.
const MOST_ALIGNED: usize = 64 << 10;
/// The alignment of every block.
const GRAIN: usize = 16;

/// The pool, if it serves so many bytes.
#[inline]
fn serving(bytes: usize) -> Option<&'static Range> {
    range::get_or_make().filter(|range| bytes <= range.options.largest)
}

/// Whether no request may be so large: a difference of two pointers could not tell it.
#[inline]
fn is_too_large(bytes: usize) -> bool {
    bytes > isize::MAX as usize
}

fn no_memory() -> *mut u8 {
    errno::set(libc::ENOMEM);
    null_mut()
}

/// What glibc would abort for.
fn no_block() -> *mut u8 {
    errno::set(libc::EINVAL);
    null_mut()
}

/// At least so many bytes. NULL with ENOMEM: there are none.
#[inline]
pub(crate) fn allocate(bytes: usize) -> *mut u8 {
    match serving(bytes) {
        Some(range) => match range.allocate(bytes as u32) {
            0 => no_memory(),
            address => with_exposed_provenance_mut(address),
        },
        None if is_too_large(bytes) => no_memory(),
        None => mapped::allocate(bytes, PAGE),
    }
}

/// The same, all zero.
pub(crate) fn allocate_zeroed(bytes: usize) -> *mut u8 {
    let start = allocate(bytes);
    // A mapping is zero already; a block of the pool was somebody's.
    if !start.is_null() && is_of_pool(start) {
        // SAFETY: the block has so many bytes, and is ours.
        unsafe { write_bytes(start, 0, bytes) };
    }
    start
}

/// The same, at a multiple of `alignment`: a power of two.
pub(crate) fn allocate_aligned(bytes: usize, alignment: usize) -> *mut u8 {
    if alignment <= GRAIN {
        return allocate(bytes);
    }
    if bytes.checked_add(alignment).is_none_or(is_too_large) {
        return no_memory();
    }
    match serving(bytes).filter(|_| alignment <= MOST_ALIGNED) {
        Some(range) => match range.allocate_aligned(bytes as u32, alignment as u32) {
            0 => no_memory(),
            address => with_exposed_provenance_mut(address),
        },
        None => mapped::allocate(bytes, alignment),
    }
}

fn is_of_pool(start: *mut u8) -> bool {
    range::get().is_some_and(|range| range.contains(start.addr()))
}

/// Gives memory back. Leaves the error number alone.
///
/// # Safety
/// It is not used afterwards.
#[inline]
pub(crate) unsafe fn release(start: *mut u8) {
    let address = start.addr();
    match range::get() {
        Some(range) if range.contains(address) => {
            // SAFETY: the caller's promise.
            unsafe { range.free(address) }
        }
        _ if address == 0 || mapped::release(address) => {}
        // SAFETY: no memory of ours: the pool refuses it.
        Some(range) => unsafe { range.free(address) },
        None => misuse::tell_foreign(address),
    }
}

/// How many bytes may be used there. Who asks has them from then on: `resize` keeps them all.
pub(crate) fn usable_bytes(start: *mut u8) -> usize {
    let address = start.addr();
    match range::get().filter(|range| range.contains(address)) {
        Some(range) => {
            let Some((bytes, capacity)) = range.sizes(address) else { return 0 };
            match u32::try_from(capacity) {
                Ok(all) if range.resize(address, all) => capacity,
                _ => bytes,
            }
        }
        None => mapped::bytes_at(address).unwrap_or(0),
    }
}

/// Another number of bytes, there or elsewhere; what was there, as far as it fits. NULL: nothing has changed.
///
/// # Safety
/// The old address is not used afterwards, unless NULL was answered.
pub(crate) unsafe fn resize(start: *mut u8, bytes: usize) -> *mut u8 {
    if is_too_large(bytes) {
        return no_memory();
    }
    let address = start.addr();
    let held = match range::get().filter(|range| range.contains(address)) {
        Some(range) => match range.sizes(address) {
            Some((_, capacity)) if stays(range, bytes, capacity) && range.resize(address, bytes as u32) => {
                return start;
            }
            Some((held, _)) => held,
            None => {
                // The hook hears of it.
                let _ = range.resize(address, 1);
                return no_block();
            }
        },
        None => match mapped::bytes_at(address) {
            Some(_) if serving(bytes).is_none() => {
                return match mapped::resize(address, bytes) {
                    moved if !moved.is_null() => moved,
                    _ if mapped::bytes_at(address).is_some_and(|held| bytes <= held) => start,
                    _ => no_memory(),
                };
            }
            Some(held) => held,
            None => {
                // SAFETY: no memory of ours: it is refused, and told.
                unsafe { release(start) };
                return no_block();
            }
        },
    };
    let new = errno::kept(|| allocate(bytes));
    if new.is_null() {
        // What shrinks never fails: it stays as it is.
        return if bytes <= held { start } else { no_memory() };
    }
    // SAFETY: both are the caller's, with so many bytes, and do not overlap. Then the old one is nobody's.
    unsafe {
        copy_nonoverlapping(start, new, held.min(bytes));
        release(start);
    }
    new
}

/// Whether a block of the pool is worth keeping: it has room, and not twice as much as is needed.
fn stays(range: &Range, bytes: usize, capacity: usize) -> bool {
    bytes <= capacity && bytes <= range.options.largest && bytes >= capacity / 2
}
