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
pub(crate) const MAGAZINE_WORDS: u32 = if cfg!(storport_pool_loom) { 8 } else { 256 };
/// Which word of a magazine is its link.
pub(crate) const LINK_WORD: u32 = MAGAZINE_WORDS - 1;
/// The most room that a cursor can tell; above are the marks.
pub(crate) const MAX_ROOM: u32 = MAGAZINE_WORDS - 4;
const ROOM: u32 = MAGAZINE_WORDS - 1;
/// How many stealers may stop cursors at once.
pub(crate) const STEALERS: usize = 1 << STEALER_BITS;
const STEALER_BITS: u32 = if cfg!(storport_pool_loom) { 1 } else { 5 };
/// Where a stopped cursor has its stealer's number; a generation has nothing there.
const STEALER: u32 = (STEALERS as u32 - 1) * MAGAZINE_WORDS;
const TAG_NONE: u32 = MAX_ROOM + 1;
const TAG_STOPPED: u32 = MAX_ROOM + 2;
const TAG_CLAIMED: u32 = MAX_ROOM + 3;

/// The first fork generation. All are written as the cursor that was claimed in them, and so none is 0.
pub(crate) const FIRST_GENERATION: u32 = next_generation(TAG_CLAIMED);

/// The generation after another one. They wrap.
pub(crate) const fn next_generation(last: u32) -> u32 {
    last.wrapping_add(MAGAZINE_WORDS << STEALER_BITS)
}

impl Cursor {
    /// No magazine. Fails both compares of the fast paths, as do the other two marks.
    pub(crate) const NONE: Cursor = Cursor(TAG_NONE);

    /// A stealer waits to see whether the owner's section committed. Its number tells it from all others, so it knows
    /// its own mark again.
    pub(crate) const fn stopped(generation: u32, stealer: u32) -> Cursor {
        Cursor(generation + stealer * MAGAZINE_WORDS - (TAG_CLAIMED - TAG_STOPPED))
    }

    /// Whether a stealer stopped it that did not survive the fork: it is of another generation.
    pub(crate) const fn is_stopped_before(self, generation: u32) -> bool {
        self.is_stopped() && self.0 & !STEALER != Cursor::stopped(generation, 0).0
    }

    pub(crate) const fn is_stopped(self) -> bool {
        self.0 & ROOM == TAG_STOPPED
    }

    /// The portable twin works on the magazine, which its hand holds.
    pub(crate) const fn claimed(generation: u32) -> Cursor {
        Cursor(generation)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/CONCURRENCY.md, section 3: room in the low byte, three marks above the most room.
    #[test]
    fn marks_and_magazines_are_told_apart() {
        assert_eq!(STEALERS, 32);
        for generation in [0, 1, 2, 0x7_FFFF_u32] {
            let word = generation << 13 | 0xFF;
            let (stopped, claimed) = (Cursor::stopped(word, 9), Cursor::claimed(word));
            assert_eq!((stopped.0 >> 8, claimed.0 >> 8), (generation << 5 | 9, generation << 5));
            let next = next_generation(word);
            assert_eq!(next >> 13, generation.wrapping_add(1) & 0x7_FFFF);
            assert!(Cursor(next).is_claimed());
            assert!(!stopped.is_stopped_before(word) && stopped.is_stopped_before(next));
            assert!(claimed.is_claimed() && !stopped.is_claimed());
            assert!(stopped.is_stopped() && !claimed.is_stopped() && !Cursor::NONE.is_stopped());
            assert!(!stopped.is_none() && !claimed.is_none());
            assert_ne!(stopped, claimed);
            for mark in [stopped, claimed, Cursor::NONE] {
                assert!(!mark.is_magazine() && !mark.is_full());
                // What the fast paths compare with constants: a push, and a pop of the fullest magazine.
                assert!((mark.0 as u8).wrapping_sub(1) > MAX_ROOM as u8 - 1 && mark.0 as u8 > MAX_ROOM as u8);
            }
        }
        assert!(Cursor::NONE.is_none() && !Cursor::NONE.is_claimed());
        assert!(!Cursor(0).is_magazine(), "an empty spare");
        for magazine in [256, 512, 0xFFFF_FF00] {
            for room in [0, 1, 251, 252] {
                let cursor = Cursor(magazine).with_room(room);
                assert_eq!((cursor.magazine(), cursor.room()), (magazine, room));
                assert!(cursor.is_magazine() && !cursor.is_none() && !cursor.is_claimed());
                assert_eq!(cursor.is_full(), room == 0);
                assert_eq!(cursor.with_room(7), Cursor(magazine + 7));
            }
        }
        assert_eq!((MAGAZINE_WORDS, LINK_WORD, MAX_ROOM), (256, 255, 252));
    }
}
