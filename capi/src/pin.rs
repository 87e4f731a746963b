//! The module that contains the library stays loaded: the kernel may look at the section that a thread ran last, long
//! after the last call. A module is the shared library, or a plugin with the static one in it.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Why;

unsafe extern "C" {
    /// `c/pin.c`: 0, or why not.
    fn sp_pin_module() -> core::ffi::c_int;
}

static PINNED: AtomicBool = AtomicBool::new(false);

/// Sees to it that the module is never unloaded.
pub(crate) fn stay_loaded() -> Result<(), Why> {
    // ORDERING: Relaxed - pinning twice is the same as once.
    if PINNED.load(Ordering::Relaxed) {
        return Ok(());
    }
    // SAFETY: takes nothing.
    if unsafe { sp_pin_module() } != 0 {
        return Err(Why::Unpinned);
    }
    // ORDERING: Relaxed - as above.
    PINNED.store(true, Ordering::Relaxed);
    Ok(())
}
