//! Who hears of a pool's violations: a callback and its context, which may be changed while others report.
//!
//! Both words must be read as they were set together. A change takes the next number, writes the place of that number,
//! and then makes the number the newest one. So a reader that finds a place of the newest number has what was set
//! together, unless so many changes began meanwhile that the place was taken again: then it looks again.
//!
//! | word | writers | order |
//! |---|---|---|
//! | `begun` | each change, first | SeqCst |
//! | a place's two words | the change whose number has this place | Relaxed, between `begun` and `newest` |
//! | `newest` | each change, last | Release / Acquire |
//!
//! Nothing is kept of a change, nobody waits, and a change that a fork cuts off is none.

use core::ffi::c_void;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering, fence};

const PLACES: usize = 8;
/// How often a reader looks. Each time but the last, seven changes began while it read two words.
const LOOKS: usize = 4;

/// The two words of one change.
struct Place {
    callback: AtomicPtr<c_void>,
    context: AtomicPtr<c_void>,
}

pub(crate) struct Hearers {
    begun: AtomicUsize,
    newest: AtomicUsize,
    places: [Place; PLACES],
}

impl Hearers {
    /// Nobody hears.
    pub(crate) const fn new() -> Hearers {
        const NOBODY: *mut c_void = core::ptr::null_mut();
        Hearers {
            begun: AtomicUsize::new(0),
            newest: AtomicUsize::new(0),
            places: [const { Place { callback: AtomicPtr::new(NOBODY), context: AtomicPtr::new(NOBODY) } };
                PLACES],
        }
    }

    /// From now on it is this callback; NULL: nobody. Fewer than eight changes at a time.
    pub(crate) fn change(&self, callback: *mut c_void, context: *mut c_void) {
        // ORDERING: SeqCst - before the place's words; pairs with the fence in `get`.
        let number = self.begun.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        fence(Ordering::SeqCst);
        let place = &self.places[number % PLACES];
        // ORDERING: Relaxed, both - published below.
        place.callback.store(callback, Ordering::Relaxed);
        place.context.store(context, Ordering::Relaxed);
        // ORDERING: Release - the place; pairs with the Acquire in `get`.
        self.newest.fetch_max(number, Ordering::Release);
    }

    /// The callback and its context; `None`: nobody hears. Bounded; any IRQL.
    pub(crate) fn get(&self) -> Option<(*mut c_void, *mut c_void)> {
        for _ in 0..LOOKS {
            // ORDERING: Acquire - the place; pairs with the Release in `change`.
            let number = self.newest.load(Ordering::Acquire);
            let place = &self.places[number % PLACES];
            // ORDERING: Relaxed, both - the second look decides.
            let callback = place.callback.load(Ordering::Relaxed);
            let context = place.context.load(Ordering::Relaxed);
            // ORDERING: SeqCst - the two loads come before the second look; pairs with the fence in `change`.
            fence(Ordering::SeqCst);
            // ORDERING: SeqCst - as above.
            if self.begun.load(Ordering::SeqCst).wrapping_sub(number) < PLACES {
                return (!callback.is_null()).then_some((callback, context));
            }
        }
        None
    }
}
