//! Who hears of a pool's violations: a callback and its context, which may be changed while others report.
//!
//! Both words must be read as they were set together. A change takes the next number, and the place of that number, for
//! itself alone: a place that another change still writes is passed over, for the next number. Then it writes the place's
//! words and its number, and makes the number the newest one, unless a newer one is. A reader looks at the newest number's
//! place, and takes its words if the place had this number before and behind. Numbers are never used twice.
//!
//! | word | writers | order |
//! |---|---|---|
//! | `begun` | each change, first | Relaxed: the numbers alone |
//! | a place's number | a change: to "is written" by compare-and-exchange, then to its own | Acquire; Release / Acquire |
//! | a place's two words | the change that has the place | Relaxed, between the place's two numbers |
//! | `newest` | each change, last; it only grows | Release / Acquire |
//!
//! Nobody waits. A change that a fork cuts off is none, and keeps its place in the child.

use core::ffi::c_void;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering, fence};

const PLACES: usize = 8;
/// How often a reader looks. Each time but the last, the newest change's place was taken again while it read two words:
/// eight changes began.
const LOOKS: usize = 4;
/// How many numbers a change tries before it is given up. Some of the eight places is free, if fewer than eight changes
/// are under way.
const TRIES: usize = 8 * PLACES;
/// A place's number while a change writes it.
const WRITTEN: usize = usize::MAX;

/// The two words of one change.
struct Place {
    number: AtomicUsize,
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
            places: [const {
                Place {
                    number: AtomicUsize::new(0),
                    callback: AtomicPtr::new(NOBODY),
                    context: AtomicPtr::new(NOBODY),
                }
            }; PLACES],
        }
    }

    /// From now on it is this callback; NULL: nobody. Fewer than eight changes at a time.
    pub(crate) fn change(&self, callback: *mut c_void, context: *mut c_void) {
        if let Some(number) = self.begin() {
            self.finish(number, callback, context);
        }
    }

    /// A number whose place is this change's alone.
    fn begin(&self) -> Option<usize> {
        for _ in 0..TRIES {
            // ORDERING: Relaxed - a number of one's own.
            let number = self.begun.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            let place = &self.places[number % PLACES];
            // ORDERING: Relaxed - the exchange below decides.
            let before = place.number.load(Ordering::Relaxed);
            // A change that stood still may find one of a newer number there.
            if before == WRITTEN || before > number {
                continue;
            }
            // ORDERING: Acquire - the words' stores come after it, with the fence; pairs with the Release in `finish`.
            let exchange =
                place.number.compare_exchange(before, WRITTEN, Ordering::Acquire, Ordering::Relaxed);
            if exchange.is_ok() {
                return Some(number);
            }
        }
        None
    }

    /// Writes the place, and publishes it.
    fn finish(&self, number: usize, callback: *mut c_void, context: *mut c_void) {
        let place = &self.places[number % PLACES];
        // ORDERING: Release - "is written" comes before the words; pairs with the fence in `get`.
        fence(Ordering::Release);
        // ORDERING: Relaxed, both - between the place's two numbers.
        place.callback.store(callback, Ordering::Relaxed);
        place.context.store(context, Ordering::Relaxed);
        // ORDERING: Release - the words; pairs with the Acquire in `get`.
        place.number.store(number, Ordering::Release);
        // ORDERING: Release - the place; pairs with the Acquire in `get`.
        self.newest.fetch_max(number, Ordering::Release);
    }

    /// The callback and its context; `None`: nobody hears. Bounded; any IRQL.
    pub(crate) fn get(&self) -> Option<(*mut c_void, *mut c_void)> {
        for _ in 0..LOOKS {
            // ORDERING: Acquire - the place; pairs with the Release in `finish`.
            let newest = self.newest.load(Ordering::Acquire);
            let place = &self.places[newest % PLACES];
            // ORDERING: Acquire - the words; pairs with the Release in `finish`.
            if place.number.load(Ordering::Acquire) != newest {
                continue;
            }
            // ORDERING: Relaxed, both - the second look decides.
            let callback = place.callback.load(Ordering::Relaxed);
            let context = place.context.load(Ordering::Relaxed);
            // ORDERING: Acquire - the two loads come before the second look; pairs with the fence in `finish`.
            fence(Ordering::Acquire);
            // ORDERING: Relaxed - ordered by the fence.
            if place.number.load(Ordering::Relaxed) == newest {
                return (!callback.is_null()).then_some((callback, context));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(value: usize) -> *mut c_void {
        core::ptr::without_provenance_mut(value)
    }

    /// A change stands still between its steps while others come by, as often as the places go round.
    #[test]
    fn a_change_that_stands_still_mixes_nothing() {
        for others in 0..4 * PLACES {
            let hearers = Hearers::new();
            hearers.change(word(1), word(1));
            let still = hearers.begin().unwrap();
            for other in 0..others {
                let value = word(100 + other);
                hearers.change(value, value);
                assert_eq!(hearers.get(), Some((value, value)));
            }
            hearers.finish(still, word(2), word(2));
            let last = if others == 0 { word(2) } else { word(100 + others - 1) };
            assert_eq!(hearers.get(), Some((last, last)), "{others} others");
            hearers.change(core::ptr::null_mut(), word(3));
            assert_eq!(hearers.get(), None);
        }
    }

    /// Whoever reads while others change finds two words of one change.
    #[test]
    fn threads_mix_nothing() {
        let hearers = Hearers::new();
        hearers.change(word(1), word(1));
        std::thread::scope(|scope| {
            for thread in 1..5 {
                let hearers = &hearers;
                scope.spawn(move || {
                    for round in 1..20_000 {
                        let value = word(thread * 100_000 + round);
                        hearers.change(value, value);
                        // `None`: others took the newest place again, at each look.
                        if let Some((callback, context)) = hearers.get() {
                            assert_eq!(callback, context);
                        }
                    }
                });
            }
        });
        let (callback, context) = hearers.get().unwrap();
        assert_eq!((callback, callback.addr() % 100_000), (context, 19_999));
    }

    /// As many as may be under way at a time.
    #[test]
    fn seven_stand_still() {
        let hearers = Hearers::new();
        let still: Vec<_> = (0..PLACES - 1).map(|_| hearers.begin().unwrap()).collect();
        for value in (1..100).map(word) {
            hearers.change(value, value);
            assert_eq!(hearers.get(), Some((value, value)));
        }
        for number in still {
            hearers.finish(number, word(7), word(7));
            assert_eq!(hearers.get(), Some((word(99), word(99))));
        }
    }
}
