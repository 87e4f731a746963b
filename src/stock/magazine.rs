//! Magazines in a hand, and the stock of empty ones.

use crate::layout::block::BlockId;
use crate::layout::classes::Class;
use crate::layout::cursor::{Cursor, MAGAZINE_WORDS};
use crate::layout::meta::Meta;
use crate::sync::Ordering;

/// How often free tries the stock of empties before it takes a fresh magazine.
const EMPTY_TRIES: u32 = 3;

impl Meta {
    /// Adds an id to a magazine in hand that has room.
    pub(crate) fn put_id(&self, magazine: Cursor, block: BlockId) -> Cursor {
        // ORDERING: Relaxed - the magazine is in hand; its transfer publishes.
        let room = magazine.room() - 1;
        self.magazine_entry(magazine.magazine(), room).store(block.0, Ordering::Relaxed);
        magazine.with_room(room)
    }

    /// Takes the last id of a magazine in hand that is not empty.
    pub(crate) fn take_id(&self, magazine: Cursor) -> (BlockId, Cursor) {
        (self.get_id(magazine, magazine.room()), magazine.with_room(magazine.room() + 1))
    }

    /// Reads entry `n` of a magazine in hand.
    pub(crate) fn get_id(&self, magazine: Cursor, n: u32) -> BlockId {
        // ORDERING: Relaxed - the magazine is in hand.
        BlockId(self.magazine_entry(magazine.magazine(), n).load(Ordering::Relaxed))
    }

    /// Entries of a full magazine of this class.
    #[inline(always)]
    pub(crate) fn capacity(&self, class: Class) -> u32 {
        u32::from(self.control().capacity[class.index()])
    }

    /// How many entries a magazine of this class has; 0 for what names none.
    pub(crate) fn entries(&self, class: Class, magazine: Cursor) -> u32 {
        if magazine.is_magazine() { self.capacity(class) - magazine.room() } else { 0 }
    }

    /// An empty magazine for a class: from the stock, else a fresh one. At most four RMWs.
    pub(crate) fn take_empty(&self, class: Class) -> Option<Cursor> {
        let empties = &self.control().empties;
        for _ in 0..EMPTY_TRIES {
            // ORDERING: Acquire - the magazine's link; pairs with the Release in `give_empty`.
            let seen = empties.load(Ordering::Acquire);
            let magazine = seen as u32;
            if magazine == 0 {
                break;
            }
            // ORDERING: Relaxed - may be stale; then the counter has changed and the CAS fails.
            let next = self.magazine_link(magazine).load(Ordering::Relaxed);
            if empties
                // ORDERING: Acquire - as above; Relaxed suffices for the release half, since the
                // link of `next` was published by its own push, in the same release sequence.
                .compare_exchange(seen, counted(seen, next), Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
            {
                return Some(Cursor(magazine).with_room(self.capacity(class)));
            }
        }
        let end = u64::from(self.control().geometry.arena_end);
        let next = &self.control().arena_next;
        // ORDERING: Relaxed - hands out numbers.
        if next.load(Ordering::Relaxed) >= end {
            return None;
        }
        // ORDERING: Relaxed - hands out numbers; 64 bits do not wrap.
        let fresh = next.fetch_add(u64::from(MAGAZINE_WORDS), Ordering::Relaxed);
        (fresh < end).then(|| Cursor(fresh as u32).with_room(self.capacity(class)))
    }

    /// Gives an empty magazine to the stock. Lock-free, not bounded: allocate's side only.
    pub(crate) fn give_empty(&self, magazine: Cursor) {
        debug_assert!(magazine.is_magazine());
        let empties = &self.control().empties;
        // ORDERING: Relaxed - the CAS decides.
        let mut seen = empties.load(Ordering::Relaxed);
        loop {
            // ORDERING: Relaxed - published by the CAS.
            self.magazine_link(magazine.magazine()).store(seen as u32, Ordering::Relaxed);
            // ORDERING: Release - the link; pairs with the Acquire in `take_empty`.
            match empties.compare_exchange_weak(
                seen,
                counted(seen, magazine.magazine()),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }
}

/// The stock's next value: the counter moves with every change, so a stale CAS fails.
const fn counted(seen: u64, magazine: u32) -> u64 {
    (seen >> 32).wrapping_add(1) << 32 | magazine as u64
}
