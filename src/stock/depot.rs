//! The stock of one class: a queue of magazines, and a queue of single blocks for frees that
//! could use neither a cursor nor a magazine.

use super::queue::{Links, Popped, Queue};
use crate::layout::classes::Class;
use crate::layout::cursor::Cursor;
use crate::layout::header::{BlockId, Header};
use crate::layout::meta::{Claim, Meta};
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

/// Blocks are linked through the size field of their headers; a node is an id + 1.
struct BlockLinks<'a>(&'a Meta, Class);

impl Links for BlockLinks<'_> {
    fn link(&self, node: u32) -> u32 {
        self.0.read_header(self.1, BlockId(node - 1)).bytes()
    }

    fn set_link(&self, node: u32, link: u32) {
        let word = self.0.header_of(self.1, BlockId(node - 1));
        // ORDERING: Relaxed - a queued block's header is written by nobody else: its own pusher
        // wrote it before the swap that made us its successor.
        let header = Header(word.load(Ordering::Relaxed));
        // ORDERING: Release - the linked block's header; pairs with the Acquire in `read_header`.
        word.store(header.with_link(link).0, Ordering::Release);
    }
}

/// The right to take from a class's two queues.
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

    fn block_queue(&self, class: Class) -> Queue<'_, BlockLinks<'_>> {
        let depot = self.depot(class);
        Queue { tail: &depot.block_tail, head: &depot.consumer.block_head, links: BlockLinks(self, class) }
    }

    /// Publishes a magazine in hand. Wait-free: one RMW.
    pub(crate) fn publish_magazine(&self, class: Class, magazine: Cursor) {
        debug_assert!(magazine.is_magazine());
        self.magazine_queue(class).push(magazine.0);
    }

    /// Publishes a freed block in hand. Wait-free, needs no memory: one RMW.
    pub(crate) fn publish_block(&self, class: Class, block: BlockId) {
        self.block_queue(class).push(block.0 + 1);
    }

    /// Whether a class's queues show anything to take, or anything in flight.
    pub(crate) fn depot_is_empty(&self, class: Class) -> bool {
        let depot = self.depot(class);
        // ORDERING: Relaxed - a hint; a take looks again under the claim.
        depot.magazine_tail.load(Ordering::Relaxed) == 0 && depot.block_tail.load(Ordering::Relaxed) == 0
    }

    /// Becomes the consumer of a class, unless somebody is.
    pub(crate) fn try_consume(&self, class: Class) -> Option<Consumer<'_>> {
        let depot = self.depot(class);
        let claim = self.try_claim(&depot.consumer.claim)?;
        let consumer = Consumer { meta: self, class, _claim: claim };
        let generation = self.generation();
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

    /// The next single block.
    pub(crate) fn block(&self) -> Result<BlockId, Popped> {
        match self.meta.block_queue(self.class).pop() {
            Popped::Node(node) => Ok(BlockId(node - 1)),
            other => Err(other),
        }
    }

    /// Reached at the first take after a fork: a thread that did not survive it may have left a gap,
    /// and what lies behind it stays allocated.
    #[cold]
    fn repair_slow(&self) {
        let magazines = self.meta.magazine_queue(self.class);
        repair(&magazines);
        let blocks = self.meta.block_queue(self.class);
        repair(&blocks);
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
