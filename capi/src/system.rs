//! Which pool is the system's.

use core::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::kind::sp_pool;

/// The pool that serves `ExAllocatePool2` and its kind: the first over memory of the operating system, or the
/// host's choice.
static SYSTEM: AtomicPtr<sp_pool> = AtomicPtr::new(ptr::null_mut());

/// Makes the pool the system's, if there is none and it has memory that can be zeroed.
pub(crate) fn adopt(handle: *mut sp_pool, addressable: bool) {
    if addressable {
        // ORDERING: Release - the pool; pairs with the Acquire in `pool`.
        let _ = SYSTEM.compare_exchange(ptr::null_mut(), handle, Ordering::Release, Ordering::Relaxed);
    }
}

/// The system's pool is no more, if it was this one.
pub(crate) fn abandon(handle: *mut sp_pool) {
    // ORDERING: Relaxed - the caller promises that no call follows.
    let _ = SYSTEM.compare_exchange(handle, ptr::null_mut(), Ordering::Relaxed, Ordering::Relaxed);
}

/// From now on it is this pool; NULL: none.
pub(crate) fn choose(handle: *mut sp_pool) {
    // ORDERING: Release - as in `adopt`.
    SYSTEM.store(handle, Ordering::Release);
}

/// The system's pool, if there is one.
pub(crate) fn pool<'a>() -> Option<&'a sp_pool> {
    // ORDERING: Acquire - the pool; pairs with the Release of whoever chose it.
    // SAFETY: a pool that serves lives; whoever ends it promises that no call follows.
    unsafe { SYSTEM.load(Ordering::Acquire).as_ref() }
}
