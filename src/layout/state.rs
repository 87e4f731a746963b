//! What the pool knows of a block, in two words of four bytes out of line: its state, which is all that free
//! reads, and its record, which allocate writes before the state and free leaves alone.

use static_assertions::assert_eq_size;

use super::block::{Account, BlockId};
use super::classes::MOST_SPAN_GRAINS;
use crate::contract::adapter::{AdapterId, HANDLE_BITS};

/// Set while a caller has the block. Only the library sets it.
pub(crate) const LIVE: u32 = 1 << 31;
const OFFSET: u32 = MOST_SPAN_GRAINS - 1;

assert_eq_size!(State, u32);
assert_eq_size!(AdapterId, State);
const _: () = assert!(HANDLE_BITS + MOST_SPAN_GRAINS.ilog2() == 31, "live, owner and offset fill the word");

/// A state word's value: live, the owner's handle, the block's offset in 64 KiB.
///
/// 0 until a block was first allocated at that word. A freed block's differs from a live one's in [`LIVE`] alone, so
/// it names the last owner. No handle's number is 0, so neither kind equals what a free in a made-up name expects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State(pub(crate) u32);

impl State {
    /// The state of a block that its owner has: what free expects to find.
    #[inline(always)]
    pub(crate) const fn live(owner: AdapterId, block: BlockId) -> State {
        State(owner.0 | block.low())
    }

    /// The state of a live block, freed.
    pub(crate) const fn freed(self) -> State {
        State(self.0 & !LIVE)
    }

    /// The state of the same block, live in another one's name.
    pub(crate) const fn owned_by(self, owner: AdapterId) -> State {
        State(owner.0 | self.0 & OFFSET)
    }

    /// Whether this says that `block` is live.
    pub(crate) const fn is_live(self, block: BlockId) -> bool {
        self.0 & LIVE != 0 && self.0 & OFFSET == block.low()
    }

    /// Whether this says that `block` was live once, and is free.
    pub(crate) const fn is_freed(self, block: BlockId) -> bool {
        self.0 & LIVE == 0 && self.0 & !OFFSET != 0 && self.0 & OFFSET == block.low()
    }

    /// The block's offset in its span, in grains, in a pool whose spans have this size.
    #[cfg(all(feature = "alloc", not(storport_pool_loom)))]
    pub(crate) const fn in_span(self, size: super::classes::SpanSize) -> u32 {
        self.0 & OFFSET & (size.grains() - 1)
    }

    /// Whose the block is, or was last.
    pub(crate) const fn owner(self) -> AdapterId {
        AdapterId(LIVE | self.0 & !OFFSET)
    }
}

/// What an allocation was asked for: the account that counted it, and the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    /// As it was written; a stale one may name none of the pool's.
    pub(crate) account: Account,
    pub(crate) bytes: u32,
}

/// Where the account lies in a record.
pub(crate) const ACCOUNT_SHIFT: u32 = 16;

impl Record {
    /// The word of a slab's block. Its bytes less one fit sixteen bits; a large run's are kept elsewhere.
    pub(crate) const fn word(account: Account, bytes: u32) -> u32 {
        (account.0 as u32) << ACCOUNT_SHIFT | bytes.wrapping_sub(1) & 0xFFFF
    }

    pub(crate) const fn from_word(word: u32) -> Record {
        Record { account: Account((word as i32 >> ACCOUNT_SHIFT) as isize), bytes: (word & 0xFFFF) + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::adapter::NUMBER_BITS;

    #[test]
    fn fields_come_back() {
        let block = BlockId(0x0012_3FF7);
        let owner = AdapterId::from_raw(0x1_4321);
        let live = State::live(owner, block);
        assert!(live.is_live(block) && !live.is_freed(block));
        assert!(!live.is_live(BlockId(0x0012_3FF6)) && live.is_live(BlockId(0x0055_5FF7)));
        assert!(live.freed().is_freed(block) && !live.freed().is_live(block));
        assert_eq!((live.owner(), live.freed().owner()), (owner, owner));
        assert_eq!(live.owned_by(AdapterId::from_raw(7)), State::live(AdapterId::from_raw(7), block));
        for account in [-1, -2, -32768] {
            for bytes in [1, 16, 32768, 65536] {
                let record = Record { account: Account(account), bytes };
                assert_eq!(Record::from_word(Record::word(Account(account), bytes)), record);
            }
        }
    }

    /// Free compares a word with what it expects, and nothing else. So for all handles that a host can make up,
    /// no word but a live block's own may equal it: neither one that was never used, nor a freed one, nor that of
    /// a block which lies elsewhere in its slab.
    #[test]
    fn no_other_word_equals_what_free_expects() {
        let words = |owner: AdapterId, block| [State(0), State::live(owner, block).freed()];
        for raw in (0..1 << NUMBER_BITS).chain([1 << NUMBER_BITS, 1 << HANDLE_BITS, 1 << 31, u32::MAX]) {
            let caller = AdapterId::from_raw(raw);
            for grain in [0, 1, 0x7FF, 0xFFF] {
                let expected = State::live(caller, BlockId(grain));
                let owners = [1, 2, 3, 4, raw, 0x3_FFFF].map(AdapterId::from_raw);
                for owner in owners.into_iter().chain(owners.map(AdapterId::left)) {
                    for block in [0, 1, 0x7FF, 0xFFF].map(BlockId) {
                        assert!(!words(owner, block).contains(&expected), "{raw:#x} {grain:#x}");
                        let same = owner == caller && block.0 == grain;
                        assert_eq!(State::live(owner, block) == expected, same);
                    }
                }
            }
        }
    }
}
