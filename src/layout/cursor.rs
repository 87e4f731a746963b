//! Cursors: which magazine, and the position of its next free entry.

/// A magazine's address (an offset from the base, a multiple of 256) and a position in bytes,
/// in one word. Also the name of a magazine that lies in a spare, a queue or a hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor(pub(crate) u32);

/// Bytes of a magazine: 63 entries and a link.
pub(crate) const MAGAZINE_BYTES: u32 = 256;
/// Position of the link.
pub(crate) const LINK_POSITION: u32 = 252;
const POSITION: u32 = 0xFF;
const TAG_NONE: u32 = 0xFD;
const TAG_STOPPED: u32 = 0xFE;
const TAG_CLAIMED: u32 = 0xFF;

impl Cursor {
    /// No magazine. Fails both limit compares of the fast paths, as do the other two.
    pub(crate) const NONE: Cursor = Cursor(TAG_NONE);

    /// A stealer waits to see whether the owner's section committed.
    pub(crate) const fn stopped(generation: u32) -> Cursor {
        Cursor(generation << 8 | TAG_STOPPED)
    }

    /// The portable twin works on the magazine, which its hand holds.
    pub(crate) const fn claimed(generation: u32) -> Cursor {
        Cursor(generation << 8 | TAG_CLAIMED)
    }

    /// Whether this names a magazine.
    pub(crate) const fn is_magazine(self) -> bool {
        self.0 & POSITION <= LINK_POSITION
    }

    pub(crate) const fn is_claimed(self) -> bool {
        self.0 & POSITION == TAG_CLAIMED
    }

    pub(crate) const fn is_none(self) -> bool {
        self.0 & POSITION == TAG_NONE
    }

    /// Position in bytes: four times the number of entries.
    pub(crate) const fn position(self) -> u32 {
        self.0 & POSITION
    }

    pub(crate) const fn entries(self) -> u32 {
        self.position() / 4
    }

    pub(crate) const fn magazine(self) -> u32 {
        self.0 & !POSITION
    }

    pub(crate) const fn with_entries(self, entries: u32) -> Cursor {
        Cursor(self.magazine() | (entries * 4))
    }
}
