//! Which pool is the system's: the host's choice, or the oldest that lives and has memory of this process.
//!
//! | word | writers | order |
//! |---|---|---|
//! | `SYSTEM` | whoever makes, chooses or ends a pool | SeqCst where a pool's end must see it, else Release; Acquire |
//! | `SEATS` | whoever adds a seat; a seat is never taken away | Release / Acquire |
//! | a seat's `pool` | the maker of a pool that takes the seat, from NULL; NULL again when the pool ends | SeqCst |
//! | a seat's `age` | the same, before `SYSTEM` may become its pool | Relaxed |
//!
//! There are as many seats as pools lived at once. Nobody waits: a fork leaves whole words.

use core::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::kind::sp_pool;
use crate::memory::boxed;

/// The pool that serves `ExAllocatePool2` and its kind.
static SYSTEM: AtomicPtr<sp_pool> = AtomicPtr::new(ptr::null_mut());
static SEATS: AtomicPtr<Seat> = AtomicPtr::new(ptr::null_mut());
/// Pools that took a seat so far.
static SEATED: AtomicU64 = AtomicU64::new(0);

/// A pool that may become the system's.
struct Seat {
    pool: AtomicPtr<sp_pool>,
    /// A later pool's is higher.
    age: AtomicU64,
    next: *const Seat,
}

fn seats() -> impl Iterator<Item = &'static Seat> {
    // ORDERING: Acquire - the seat; pairs with the Release in `sit`.
    // SAFETY: seats stay for ever.
    let first = unsafe { SEATS.load(Ordering::Acquire).as_ref() };
    // SAFETY: as above.
    core::iter::successors(first, |seat| unsafe { seat.next.as_ref() })
}

/// Gives the pool a seat; false: there is no memory for one.
#[must_use]
fn sit(handle: *mut sp_pool) -> bool {
    // ORDERING: Relaxed - ages only differ.
    let age = SEATED.fetch_add(1, Ordering::Relaxed);
    for seat in seats() {
        // ORDERING: SeqCst - as in `abandon`.
        if seat.pool.compare_exchange(ptr::null_mut(), handle, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
            seat.age.store(age, Ordering::Relaxed);
            return true;
        }
    }
    let made = Seat { pool: AtomicPtr::new(handle), age: AtomicU64::new(age), next: ptr::null() };
    let Some(seat) = boxed(made).map(Box::into_raw) else { return false };
    // ORDERING: Relaxed - the exchange decides.
    let mut first = SEATS.load(Ordering::Relaxed);
    loop {
        // SAFETY: nobody else has seen the seat.
        unsafe { (*seat).next = first };
        // ORDERING: Release - the seat; pairs with the Acquire in `seats`.
        match SEATS.compare_exchange_weak(first, seat, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(now) => first = now,
        }
    }
}

/// Makes the pool one that may serve, and the one that serves if there is none; false: there is no memory.
#[must_use]
pub(crate) fn adopt(handle: *mut sp_pool) -> bool {
    if !sit(handle) {
        return false;
    }
    // ORDERING: SeqCst - the pool; pairs with the Acquire in `pool`, and as in `abandon`.
    let _ = SYSTEM.compare_exchange(ptr::null_mut(), handle, Ordering::SeqCst, Ordering::Relaxed);
    true
}

/// The pool ends. If it served, the oldest of the others does from now on.
pub(crate) fn abandon(handle: *mut sp_pool) {
    for seat in seats() {
        // ORDERING: SeqCst - this pool is no longer to be found before `SYSTEM` is looked at; whoever makes it the
        // system's looks at its seat afterwards.
        let _ = seat.pool.compare_exchange(handle, ptr::null_mut(), Ordering::SeqCst, Ordering::Relaxed);
    }
    let mut gone = handle;
    loop {
        // ORDERING: SeqCst - as above.
        let oldest = seats().filter(|seat| !seat.pool.load(Ordering::SeqCst).is_null());
        // ORDERING: Relaxed - which of two comes first may be found wrong while one of them is made.
        let oldest = oldest.min_by_key(|seat| seat.age.load(Ordering::Relaxed));
        let next = oldest.map_or(ptr::null_mut(), |seat| seat.pool.load(Ordering::SeqCst));
        if SYSTEM.compare_exchange(gone, next, Ordering::SeqCst, Ordering::Relaxed).is_err() {
            // It served not, or another one was chosen meanwhile.
            return;
        }
        // ORDERING: SeqCst - as above: either we see that the next one has gone, or it sees that it serves.
        if next.is_null() || seats().any(|seat| seat.pool.load(Ordering::SeqCst) == next) {
            return;
        }
        gone = next;
    }
}

/// From now on it is this pool; NULL: none, until the next one is made.
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
