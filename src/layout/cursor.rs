//! Cursors: which magazine, and how much room it has.

/// A magazine's place (a multiple of 256, in words from the base) and its *room*: how many entries it
/// may still take. Also the name of a magazine that lies in a spare, a queue or a hand.
///
/// A magazine fills downwards: entries lie from `room` to the class's capacity. So the word that a
/// cursor's value counts to is the entry that a pop takes, full is 0 for every class, and the compare
/// of a push needs no table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor(pub(crate) u32);

/// Words of a magazine: the entries and, in the last one, a link. (Loom: few, since it keeps the history of
/// each.)
pub(crate) const MAGAZINE_WORDS: u32 = 1 << MAGAZINE_SHIFT;
const MAGAZINE_SHIFT: u32 = if cfg!(storport_pool_loom) { 3 } else { 8 };
/// Which word of a magazine is its link.
pub(crate) const LINK_WORD: u32 = MAGAZINE_WORDS - 1;
/// The most room that a cursor can tell; above are the marks.
pub(crate) const MAX_ROOM: u32 = MAGAZINE_WORDS - 4;
const ROOM: u32 = MAGAZINE_WORDS - 1;
const TAG_NONE: u32 = MAX_ROOM + 1;
const TAG_STOPPED: u32 = MAX_ROOM + 2;
const TAG_CLAIMED: u32 = MAX_ROOM + 3;

impl Cursor {
    /// No magazine. Fails both compares of the fast paths, as do the other two marks.
    pub(crate) const NONE: Cursor = Cursor(TAG_NONE);

    /// A stealer waits to see whether the owner's section committed.
    pub(crate) const fn stopped(generation: u32) -> Cursor {
        Cursor(generation << MAGAZINE_SHIFT | TAG_STOPPED)
    }

    /// The portable twin works on the magazine, which its hand holds.
    pub(crate) const fn claimed(generation: u32) -> Cursor {
        Cursor(generation << MAGAZINE_SHIFT | TAG_CLAIMED)
    }

    /// Whether this names a magazine. An empty spare, which is 0, does not: the control block lies there.
    pub(crate) const fn is_magazine(self) -> bool {
        self.0 & ROOM <= MAX_ROOM && self.0 >= MAGAZINE_WORDS
    }

    pub(crate) const fn is_claimed(self) -> bool {
        self.0 & ROOM == TAG_CLAIMED
    }

    pub(crate) const fn is_none(self) -> bool {
        self.0 & ROOM == TAG_NONE
    }

    /// Entries that a magazine may still take.
    pub(crate) const fn room(self) -> u32 {
        self.0 & ROOM
    }

    /// Whether this names a magazine that takes no more.
    pub(crate) const fn is_full(self) -> bool {
        self.is_magazine() && self.room() == 0
    }

    pub(crate) const fn magazine(self) -> u32 {
        self.0 & !ROOM
    }

    pub(crate) const fn with_room(self, room: u32) -> Cursor {
        Cursor(self.magazine() | room)
    }
}
