//! Pools whose faults are told: where their ranges lie, and whom to ask.
//!
//! A fault's handler reads a place while others write it, and never waits. It asks a pool only when the address lies in that
//! pool's range; then the access was made while the pool was on the list, and whoever ends a pool promises that nobody
//! touches its range meanwhile.
//!
//! | word | writers | order |
//! |---|---|---|
//! | a place's `version`, 0 to 3 modulo 4: free, being written, in use | whoever enters, from free; whoever leaves | Acquire / Release |
//! | its other words | whoever enters, while it is being written | Relaxed, and a fence |

use crate::sync::{AtomicPtr, AtomicU64, Ordering, fence};

/// Tells a pool's hook of a fault, if the pool can explain it: whether it could. The pool, the address, and the instruction
/// that it came from, if that is known.
pub(crate) type Tell = fn(*const (), u64, Option<u64>) -> bool;

/// A pool whose faults are told, and where its range lies.
#[derive(Clone, Copy)]
pub(crate) struct Watched {
    pub(crate) pool: *const (),
    pub(crate) tell: Tell,
    pub(crate) range: (u64, u64),
}

struct Place {
    version: AtomicU64,
    pool: AtomicPtr<()>,
    tell: AtomicPtr<()>,
    base: AtomicU64,
    bytes: AtomicU64,
}

const FREE: u64 = 0;
const USED: u64 = 2;

static PLACES: [Place; 8] = [const {
    Place {
        version: AtomicU64::new(FREE),
        pool: AtomicPtr::new(core::ptr::null_mut()),
        tell: AtomicPtr::new(core::ptr::null_mut()),
        base: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
    }
}; 8];

impl Place {
    /// Who is there; `None`: nobody, or it is being written. Bounded; fit for a signal handler.
    fn read(&self) -> Option<Watched> {
        // ORDERING: Acquire - the words; pairs with the Release in `enter`.
        let version = self.version.load(Ordering::Acquire);
        if version % 4 != USED {
            return None;
        }
        // ORDERING: Relaxed, all - the second look decides.
        let (pool, tell) = (self.pool.load(Ordering::Relaxed), self.tell.load(Ordering::Relaxed));
        let range = (self.base.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        // ORDERING: Acquire - the loads above come before the second look; pairs with the fence in `enter`.
        fence(Ordering::Acquire);
        // ORDERING: Relaxed - behind the fence.
        if self.version.load(Ordering::Relaxed) != version {
            return None;
        }
        // SAFETY: of one version, the word is a `Tell` that `enter` was given.
        let tell = unsafe { core::mem::transmute::<*mut (), Tell>(tell) };
        Some(Watched { pool, tell, range })
    }

    /// Takes the place, if it is free.
    fn enter(&self, watched: Watched) -> bool {
        // ORDERING: Relaxed - the exchange decides.
        let version = self.version.load(Ordering::Relaxed);
        if version % 4 != FREE {
            return false;
        }
        // ORDERING: Acquire - who left; pairs with the Release in `leave`.
        let won =
            self.version.compare_exchange(version, version + 1, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if won {
            // ORDERING: Release - the words come behind the new version; pairs with the fence in `read`.
            fence(Ordering::Release);
            // ORDERING: Relaxed, all - published below.
            self.pool.store(watched.pool.cast_mut(), Ordering::Relaxed);
            self.tell.store(watched.tell as *mut (), Ordering::Relaxed);
            self.base.store(watched.range.0, Ordering::Relaxed);
            self.bytes.store(watched.range.1, Ordering::Relaxed);
            // ORDERING: Release - the words; pairs with the Acquire in `read`.
            self.version.store(version + USED, Ordering::Release);
        }
        won
    }

    /// Frees the place, if it is this pool's. Its own end alone calls this, or nobody.
    fn leave(&self, pool: *const ()) {
        // ORDERING: Relaxed - the pool's own entry is behind us.
        let version = self.version.load(Ordering::Relaxed);
        if self.read().is_some_and(|watched| watched.pool == pool) {
            // ORDERING: Release - pairs with the Acquire in `enter`.
            self.version.store(version + 2, Ordering::Release);
        }
    }
}

/// From now on the pool's faults are told. `false`: there are eight pools already. Once is enough.
pub(crate) fn enter(watched: Watched) -> bool {
    let is_there = |place: &Place| place.read().is_some_and(|there| there.pool == watched.pool);
    PLACES.iter().any(is_there) || PLACES.iter().any(|place| place.enter(watched))
}

/// The pool ends, and has its memory to itself.
pub(crate) fn leave(pool: *const ()) {
    PLACES.iter().for_each(|place| place.leave(pool));
}

/// Asks the pool whose range has the address: whether it could explain the fault. Fit for a signal handler.
pub(crate) fn tell(address: u64, instruction: Option<u64>) -> bool {
    PLACES.iter().filter_map(Place::read).any(|watched| {
        address.wrapping_sub(watched.range.0) < watched.range.1
            && (watched.tell)(watched.pool, address, instruction)
    })
}

#[cfg(all(test, not(storport_pool_steps)))]
mod tests {
    use super::*;

    #[test]
    fn places_are_free_again() {
        // Far from any pool of another test's.
        let watched = |n: usize| Watched {
            pool: core::ptr::without_provenance(n * 8),
            tell: |pool, address, _| pool.addr() as u64 * 100 == address,
            range: (n as u64 * 800, 800),
        };
        for round in 0..3 {
            let entered: std::vec::Vec<usize> = (1..=20).filter(|&n| enter(watched(n))).collect();
            assert!((1..=8).contains(&entered.len()), "{round}");
            for n in 1..=20 {
                assert_eq!(tell(n as u64 * 800, None), entered.contains(&n), "{round} {n}");
                assert!(!tell(n as u64 * 800 + 1, None), "{round} {n}");
                assert_eq!(enter(watched(n)), entered.contains(&n), "once is enough");
            }
            entered.iter().for_each(|&n| leave(watched(n).pool));
            assert!((1..=20).all(|n| !tell(n * 800, None)));
        }
    }
}
