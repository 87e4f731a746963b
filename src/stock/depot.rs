//! The depot of one class: a queue of magazines.

use super::queue::{Links, Popped, Queue};
use crate::layout::classes::Class;
use crate::layout::cursor::Cursor;
use crate::layout::meta::Meta;
use crate::percpu::generation::{Claim, Inside};
use crate::sync::Ordering;

/// Magazines are linked through their last word; a node is a cursor.
struct MagazineLinks<'a>(&'a Meta);

impl Links for MagazineLinks<'_> {
    fn link(&self, node: u32) -> u32 {
        // ORDERING: Acquire - the linked magazine's entries; pairs with `set_link`.
        self.0.magazine_link(Cursor(node).magazine()).load(Ordering::Acquire)
    }

    fn set_link(&self, node: u32, link: u32) {
        // ORDERING: Release - pairs with `link`.
        self.0.magazine_link(Cursor(node).magazine()).store(link, Ordering::Release);
    }
}

/// The right to take from a class's queue.
pub(crate) struct Consumer<'a> {
    meta: &'a Meta,
    class: Class,
    _claim: Claim<'a>,
}

impl Meta {
    fn magazine_queue(&self, class: Class) -> Queue<'_, MagazineLinks<'_>> {
        let depot = self.depot(class);
        Queue { tail: &depot.magazine_tail, head: &depot.consumer.magazine_head, links: MagazineLinks(self) }
    }

    /// Publishes a magazine in hand. Wait-free: one RMW.
    pub(crate) fn publish_magazine(&self, class: Class, magazine: Cursor) {
        debug_assert!(magazine.is_magazine());
        // What a handler's child repairs meanwhile is not this gap.
        let _inside = Inside::enter();
        self.magazine_queue(class).push(magazine.0);
    }

    /// Whether a class's queue shows nothing to take, and nothing in flight.
    pub(crate) fn depot_is_empty(&self, class: Class) -> bool {
        // ORDERING: Relaxed - a hint; a take looks again under the claim.
        self.depot(class).magazine_tail.load(Ordering::Relaxed) == 0
    }

    /// Becomes the consumer of a class, unless somebody is.
    pub(crate) fn try_consume(&self, class: Class) -> Option<Consumer<'_>> {
        let depot = self.depot(class);
        let claim = self.try_claim(&depot.consumer.claim)?;
        let generation = self.generation(&claim.inside);
        let consumer = Consumer { meta: self, class, _claim: claim };
        // ORDERING: Relaxed - written under the claim.
        if depot.consumer.generation.load(Ordering::Relaxed) != generation {
            consumer.repair_slow();
            // ORDERING: Relaxed - as above.
            depot.consumer.generation.store(generation, Ordering::Relaxed);
        }
        Some(consumer)
    }
}

impl Consumer<'_> {
    /// The next magazine.
    pub(crate) fn magazine(&self) -> Result<Cursor, Popped> {
        match self.meta.magazine_queue(self.class).pop() {
            Popped::Node(node) => Ok(Cursor(node)),
            other => Err(other),
        }
    }

    /// Reached at the first take after a fork: a thread that did not survive it may have left a gap,
    /// and what lies behind it stays allocated.
    #[cold]
    fn repair_slow(&self) {
        repair(&self.meta.magazine_queue(self.class));
    }
}

/// Takes all that can be reached, drops a gap, and pushes it back.
fn repair<L: Links>(queue: &Queue<'_, L>) {
    let mut chain = 0;
    loop {
        let node = match queue.pop() {
            Popped::Node(node) => Some(node),
            Popped::Empty => None,
            Popped::Gap => queue.abandon_gap(),
        };
        let Some(node) = node else { break };
        queue.links.set_link(node, chain);
        chain = node;
    }
    while chain != 0 {
        let next = queue.links.link(chain);
        queue.push(chain);
        chain = next;
    }
}
