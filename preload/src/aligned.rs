//! The functions that take an alignment.

use core::ffi::{CStr, c_int, c_void};
use core::ptr::null_mut;

use crate::mapped::PAGE;
use crate::{errno, heap};

/// As glibc: an alignment that is no power of two is rounded up to one.
#[unsafe(no_mangle)]
pub extern "C" fn memalign(alignment: usize, bytes: usize) -> *mut c_void {
    match alignment.max(1).checked_next_power_of_two() {
        Some(alignment) => heap::allocate_aligned(bytes, alignment).cast(),
        None => invalid(),
    }
}

/// As [`memalign`]; from glibc 2.38 on an alignment that is no power of two is refused there, and so here.
#[unsafe(no_mangle)]
pub extern "C" fn aligned_alloc(alignment: usize, bytes: usize) -> *mut c_void {
    if !alignment.is_power_of_two() && glibc_refuses() { invalid() } else { memalign(alignment, bytes) }
}

/// # Safety
/// `out` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(out: *mut *mut c_void, alignment: usize, bytes: usize) -> c_int {
    if !alignment.is_power_of_two() || !alignment.is_multiple_of(size_of::<*mut c_void>()) {
        return libc::EINVAL;
    }
    let start = heap::allocate_aligned(bytes, alignment);
    if start.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller's promise.
    unsafe { *out = start.cast() };
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn valloc(bytes: usize) -> *mut c_void {
    heap::allocate_aligned(bytes, PAGE).cast()
}

/// Whole pages.
#[unsafe(no_mangle)]
pub extern "C" fn pvalloc(bytes: usize) -> *mut c_void {
    match bytes.checked_next_multiple_of(PAGE) {
        Some(all) => heap::allocate_aligned(all, PAGE).cast(),
        None => {
            errno::set(libc::ENOMEM);
            null_mut()
        }
    }
}

fn invalid() -> *mut c_void {
    errno::set(libc::EINVAL);
    null_mut()
}

/// Whether this C library is 2.38 or later.
fn glibc_refuses() -> bool {
    // SAFETY: a terminated string of the C library's.
    let version = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) }.to_bytes();
    let minor = version.strip_prefix(b"2.").and_then(|rest| rest.get(..2));
    minor.is_some_and(|minor| minor >= b"38".as_slice())
}
