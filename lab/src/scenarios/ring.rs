//! A bounded queue from one thread to one other, that waits by spinning.

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_utils::CachePadded;
use static_assertions::assert_not_impl_any;

use super::turn::wait_until;

/// A place.
struct Slot<T> {
    full: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `full` says whose the value is: the sender's while it is false, else the receiver's;
// there is one of each, and the flag is handed over by Release and Acquire.
unsafe impl<T: Send> Sync for Slot<T> {}

/// One end of the queue.
struct End<T> {
    slots: Arc<[CachePadded<Slot<T>>]>,
    next: usize,
}

/// The end that puts.
pub(super) struct Sender<T>(End<T>);

/// The end that takes.
pub(super) struct Receiver<T>(End<T>);

// There is one of each, or `Slot` is not `Sync`.
assert_not_impl_any!(Sender<u8>: Clone);
assert_not_impl_any!(Receiver<u8>: Clone);

/// A queue of `slots` places.
pub(super) fn ring<T: Copy + Send + Default>(slots: usize) -> (Sender<T>, Receiver<T>) {
    let empty = || Slot { full: AtomicBool::new(false), value: UnsafeCell::new(T::default()) };
    let slots: Arc<[_]> = (0..slots).map(|_| CachePadded::new(empty())).collect();
    (Sender(End { slots: Arc::clone(&slots), next: 0 }), Receiver(End { slots, next: 0 }))
}

impl<T> End<T> {
    /// Waits until the next place is full, or empty, and goes on.
    fn turn(&mut self, full: bool) -> &Slot<T> {
        let slot = &self.slots[self.next];
        self.next = (self.next + 1) % self.slots.len();
        // ORDERING: Acquire - the value; pairs with the Release of the other end.
        wait_until(|| slot.full.load(Ordering::Acquire) == full);
        slot
    }
}

impl<T: Copy> Sender<T> {
    pub(super) fn put(&mut self, value: &T) {
        let slot = self.0.turn(false);
        // SAFETY: the place is empty, so it is ours.
        unsafe { *slot.value.get() = *value };
        // ORDERING: Release - the value.
        slot.full.store(true, Ordering::Release);
    }
}

impl<T: Copy> Receiver<T> {
    /// Whether [`take`](Receiver::take) need not wait.
    pub(super) fn has(&self) -> bool {
        // ORDERING: Relaxed - `take` synchronises.
        self.0.slots[self.0.next].full.load(Ordering::Relaxed)
    }

    pub(super) fn take(&mut self) -> T {
        let slot = self.0.turn(true);
        // SAFETY: the place is full, so it is ours.
        let value = unsafe { *slot.value.get() };
        // ORDERING: Release - we are done with the value.
        slot.full.store(false, Ordering::Release);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_arrive_in_order() {
        let (mut sender, mut receiver) = ring(3);
        std::thread::scope(|scope| {
            scope.spawn(move || (0..1000u32).for_each(|value| sender.put(&value)));
            assert!((0..1000).all(|value| receiver.take() == value));
        });
    }
}
