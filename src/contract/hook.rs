//! The hook that violations are delivered to.

use core::ptr;

use crate::contract::violation::Violation;

/// Who hears of violations: a function, and what it is called with. `Pool::on_violation`
/// makes one of a closure.
///
/// The function runs on the thread that made the bad call, at that call's IRQL. The pool's state is settled by then.
/// The function may allocate and free. It may also stop the program, as Windows would.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use storport_pool::{HookRecord, Pool, Violation};
///
/// static HEARD: AtomicU32 = AtomicU32::new(0);
/// fn hear(_violation: &Violation, _context: *mut ()) {
///     HEARD.fetch_add(1, Ordering::Relaxed);
/// }
/// // SAFETY: `hear` may run anywhere, and needs no context.
/// static HOOK: HookRecord = unsafe { HookRecord::new(hear, std::ptr::null_mut()) };
///
/// let pool = Pool::new(1 << 20)?;
/// let disk = pool.add_adapter("disk0")?;
/// pool.set_violation_hook(Some(&HOOK));
/// unsafe { pool.free(disk, 4711) }; // an address outside of the pool
/// assert_eq!(HEARD.load(Ordering::Relaxed), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// A record for a `static`. The pool calls `call` with each violation and `context`.
    ///
    /// # Safety
    /// `call` may be called with `context` from any thread, at any IRQL up to [`Irql::HIGH`](crate::Irql::HIGH), as
    /// long as the pool lives.
    #[must_use]
    pub const unsafe fn new(call: fn(&Violation, *mut ()), context: *mut ()) -> HookRecord {
        HookRecord { call, context, next: ptr::null_mut(), drop: None }
    }
}
