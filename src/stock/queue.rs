//! A queue with a wait-free push and one consumer at a time.
//!
//! Push is one swap of the tail and one store (of the link, or of the head when the queue was
//! empty), whatever other threads do. Between the two the queue has a *gap*: the consumer stops
//! there and finds what follows only after the pusher went on. The nodes are linked through a
//! word of their own, so pushing needs no memory.

use crate::sync::{AtomicU32, Ordering};

/// Where a node's link lies. Nodes are not 0; a link of 0 means none.
pub(crate) trait Links {
    fn link(&self, node: u32) -> u32;
    fn set_link(&self, node: u32, link: u32);
}

/// A view of one queue.
pub(crate) struct Queue<'a, L> {
    pub(crate) tail: &'a AtomicU32,
    pub(crate) head: &'a AtomicU32,
    pub(crate) links: L,
}

/// What the consumer found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Popped {
    Node(u32),
    Empty,
    /// A pusher stands between its two steps; what it and later ones pushed is not to be had yet.
    Gap,
}

impl<L: Links> Queue<'_, L> {
    /// Publishes a node that the caller holds. One RMW and two stores.
    pub(crate) fn push(&self, node: u32) {
        self.links.set_link(node, 0);
        // ORDERING: AcqRel
        // - Release: the node's content is seen by the consumer that finds it.
        // - Acquire: pairs with the Release of the previous pusher, whose node we link to, and
        //   of the consumer's CAS to 0, so that our head follows its head = 0.
        let previous = self.tail.swap(node, Ordering::AcqRel);
        if previous == 0 {
            // ORDERING: Release - pairs with the Acquire of the head in `pop`.
            self.head.store(node, Ordering::Release);
        } else {
            self.links.set_link(previous, node);
        }
    }

    /// Takes the first node. The caller holds the consumer's claim.
    pub(crate) fn pop(&self) -> Popped {
        // ORDERING: Acquire - the node's content; pairs with the Release in `push`.
        let first = self.head.load(Ordering::Acquire);
        if first == 0 {
            // ORDERING: Relaxed - tells empty from gap, nothing is read through it.
            return if self.tail.load(Ordering::Relaxed) == 0 { Popped::Empty } else { Popped::Gap };
        }
        let next = self.links.link(first);
        if next != 0 {
            // ORDERING: Relaxed - only consumers read it, and the claim orders them.
            self.head.store(next, Ordering::Relaxed);
            return Popped::Node(first);
        }
        // The first may be the last. The head goes first: once the tail is 0, it is a pusher's.
        // ORDERING: Relaxed - published by the CAS below.
        self.head.store(0, Ordering::Relaxed);
        // ORDERING: AcqRel - Release: head = 0 comes before the next pusher's head; Acquire: as `push`.
        if self.tail.compare_exchange(first, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            return Popped::Node(first);
        }
        // Somebody pushed behind it. The tail is not 0, so the head is still ours.
        let next = self.links.link(first);
        // ORDERING: Relaxed - as above.
        self.head.store(if next == 0 { first } else { next }, Ordering::Relaxed);
        if next == 0 { Popped::Gap } else { Popped::Node(first) }
    }

    /// Gives up what a gap hides, when the pusher that left it cannot come back (after fork); the node
    /// before the gap, if there is one, is the caller's.
    pub(crate) fn abandon_gap(&self) -> Option<u32> {
        // ORDERING: Relaxed, twice - the head is the consumer's; both are republished by the next push.
        let first = self.head.load(Ordering::Relaxed);
        self.head.store(0, Ordering::Relaxed);
        // ORDERING: AcqRel - as the CAS in `pop`.
        self.tail.swap(0, Ordering::AcqRel);
        (first != 0).then_some(first)
    }
}
