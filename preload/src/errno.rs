//! The thread's error number.

use core::ffi::c_int;

/// Sets it.
pub(crate) fn set(code: c_int) {
    // SAFETY: the thread's own word.
    unsafe { *libc::__errno_location() = code };
}

/// Leaves it as it was before `work`.
pub(crate) fn kept<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: the thread's own word.
    let before = unsafe { *libc::__errno_location() };
    let result = work();
    set(before);
    result
}
