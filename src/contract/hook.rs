//! The hook that violations are delivered to.

use core::ptr;

use crate::contract::violation::Violation;

/// Who hears of violations: a function and what it is called with.
///
/// It runs on the thread that made the call, at its IRQL, after the pool's state is settled. It
/// may allocate and free, and it may stop the program, as Windows would.
#[derive(Debug)]
#[repr(C)]
pub struct HookRecord {
    /// Called with each violation and the context.
    pub(crate) call: fn(&Violation, *mut ()),
    /// Handed to `call`.
    pub(crate) context: *mut (),
    /// Records made by the pool itself form a chain, to be dropped with it.
    pub(crate) next: *mut HookRecord,
    pub(crate) drop: Option<unsafe fn(*mut HookRecord)>,
}

// SAFETY: a record is immutable once published; whoever makes one with a context answers for the
// context being usable from any thread.
unsafe impl Sync for HookRecord {}
// SAFETY: as above.
unsafe impl Send for HookRecord {}

impl HookRecord {
    /// A record for a `static`.
    ///
    /// # Safety
    /// `call` may be called with `context` from any thread, at any IRQL up to
    /// [`Irql::HIGH`](crate::Irql::HIGH), while the pool lives.
    #[must_use]
    pub const unsafe fn new(call: fn(&Violation, *mut ()), context: *mut ()) -> HookRecord {
        HookRecord { call, context, next: ptr::null_mut(), drop: None }
    }
}
