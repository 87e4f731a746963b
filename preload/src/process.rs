//! What happens to a process: the library's start and end, and `vfork`.

use core::ffi::c_int;

use crate::{range, report};

/// The pool is there before `main`: so no handler and no small stack is the first to use it.
#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

#[used]
#[unsafe(link_section = ".fini_array")]
static END: extern "C" fn() = end;

extern "C" fn start() {
    let _ = range::get_or_make();
}

extern "C" fn end() {
    if let Some(range) = range::get() {
        // What was written to where it should not, and has not been found yet.
        range.pool.attached().map(|verifier| verifier.sweep());
        report::write(range);
    }
}

/// A child of the C library's `vfork` runs in its parent's memory, without restartable sequences of its own, and would
/// corrupt the pool. So it gets memory of its own.
#[unsafe(no_mangle)]
pub extern "C" fn vfork() -> c_int {
    // SAFETY: no more is asked of a caller of fork than of one of vfork.
    unsafe { libc::fork() }
}

/// The C library's other name for it.
#[unsafe(no_mangle)]
pub extern "C" fn __vfork() -> c_int {
    vfork()
}
