//! malloc and its kin, but for those that take an alignment. Each says where it is as glibc's where C leaves a choice.
//!
//! `reallocarray` is not here: glibc's own calls whatever `realloc` the program has, which may be its executable's.

use core::ffi::{c_int, c_void};
use core::ptr::null_mut;

use crate::{errno, heap, range};

/// A block of 0 bytes has an address of its own.
#[unsafe(no_mangle)]
pub extern "C" fn malloc(bytes: usize) -> *mut c_void {
    heap::allocate(bytes).cast()
}

/// NULL is allowed, and the error number stays.
///
/// # Safety
/// The memory is not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(start: *mut c_void) {
    // SAFETY: the caller's promise.
    unsafe { heap::release(start.cast()) };
}

/// NULL with ENOMEM: there are not so many bytes.
#[unsafe(no_mangle)]
pub extern "C" fn calloc(count: usize, bytes: usize) -> *mut c_void {
    match count.checked_mul(bytes) {
        Some(all) => heap::allocate_zeroed(all).cast(),
        None => {
            errno::set(libc::ENOMEM);
            null_mut()
        }
    }
}

/// As glibc: to 0 bytes is a free, and answers NULL; of NULL it is malloc.
///
/// # Safety
/// The old address is not used afterwards, unless NULL was answered for more than 0 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(start: *mut c_void, bytes: usize) -> *mut c_void {
    if start.is_null() {
        return malloc(bytes);
    }
    if bytes == 0 {
        // SAFETY: the caller's promise.
        unsafe { heap::release(start.cast()) };
        return null_mut();
    }
    // SAFETY: the caller's promise.
    unsafe { heap::resize(start.cast(), bytes) }.cast()
}

/// All of the bytes that it answers may be used, and `realloc` keeps them. Of NULL 0.
///
/// # Safety
/// The caller has the memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(start: *mut c_void) -> usize {
    if start.is_null() { 0 } else { heap::usable_bytes(start.cast()) }
}

/// Trims the pool. Answers 1 if memory was given back. How much to keep is not asked: all that is free goes.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_trim(_keep: usize) -> c_int {
    let Some(range) = range::get() else { return 0 };
    errno::kept(|| range.pool.trim()).is_ok_and(|trimmed| trimmed.bytes > 0).into()
}
