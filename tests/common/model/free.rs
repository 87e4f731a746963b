//! What a free must answer, for any address in any name.

use storport_pool::{AdapterId, Irql, PoolTag, Status, ViolationKind};

use super::{Block, Model, OTHER};
use crate::common::*;

/// What was at an address.
#[derive(Clone, Copy)]
pub struct Freed {
    pub owner: AdapterId,
    pub tag: PoolTag,
    pub bytes: u32,
    pub since: u64,
}

/// What a free must be.
enum Verdict {
    Status(Status),
    Good,
    Bad(ViolationKind, Option<Block>),
    /// Freed already, or, unless it must still be known, no block any more.
    Stale(Freed, bool),
}

impl<W: Way> Model<W> {
    /// The live block that holds an address.
    pub(super) fn holder(&self, address: u64) -> Option<(u64, Block)> {
        let (&start, &block) = self.live.range(..=address).next_back()?;
        (address - start < self.spans.occupied(block.bytes)).then_some((start, block))
    }

    fn judge(&self, caller: AdapterId, address: u64) -> Verdict {
        let (base, len) = self.pool.range();
        if self.not_implemented {
            return Verdict::Status(Status::NOT_IMPLEMENTED);
        } else if address == 0 || !self.is_live(caller) && caller != AdapterId::ORPHANS {
            return Verdict::Status(Status::INVALID_PARAMETER);
        } else if self.level > Irql::DISPATCH {
            return Verdict::Status(Status::INVALID_IRQL);
        } else if address.wrapping_sub(base) >= len {
            return Verdict::Bad(ViolationKind::Foreign, None);
        }
        if let Some((start, block)) = self.holder(address) {
            return if start != address {
                Verdict::Bad(ViolationKind::Interior, Some(block))
            } else if block.owner != caller {
                Verdict::Bad(ViolationKind::WrongOwner, Some(block))
            } else {
                Verdict::Good
            };
        }
        let Some(&freed) = self.freed.get(&address) else {
            return Verdict::Bad(ViolationKind::Wild, None);
        };
        // An older block in its span keeps the slab from being retired.
        let span = base + (address - base) / SPAN * SPAN;
        let pinned = self.live.range(span..span + SPAN).any(|(_, block)| block.since < freed.since);
        Verdict::Stale(freed, pinned || self.swept < freed.since)
    }

    /// Calls free, with any address in any name.
    pub fn free(&mut self, caller: AdapterId, address: u64) {
        let verdict = self.judge(caller, address);
        let status = W::at(self.level, || free(&self.pool, caller, address));
        let heard = self.take_heard();
        let told = || {
            assert_eq!((status, heard.len()), (Status::INVALID_PARAMETER, 1), "{address:#x}: {heard:?}");
            let violation = heard[0];
            assert_eq!((violation.address, violation.caller), (address, caller));
            assert_eq!((violation.irql, violation.blocks), (self.level, 0));
            violation
        };
        match verdict {
            Verdict::Status(want) => assert_eq!((status, heard.len()), (want, 0), "{address:#x}"),
            Verdict::Good => {
                assert_eq!((status, heard.len()), (Status::SUCCESS, 0), "{address:#x}: {heard:?}");
                self.given_back(address);
            }
            Verdict::Bad(kind, block) => {
                let violation = told();
                assert_eq!(violation.kind, kind, "{address:#x}");
                assert_eq!(violation.owner, block.map(|block| block.owner));
                assert_eq!(violation.bytes, block.map_or(0, |block| block.bytes.into()));
                // Or that of an *other* row.
                let tag = block.map(|block| block.tag);
                assert!(violation.tag == tag || tag.is_some() && violation.tag == Some(OTHER));
            }
            Verdict::Stale(freed, known) => {
                let violation = told();
                let double = violation.kind == ViolationKind::DoubleFree;
                assert!(double || violation.kind == ViolationKind::Wild && !known, "{violation}");
                if known {
                    // The last owner, though it may be gone.
                    assert_eq!(violation.owner, Some(freed.owner));
                    assert_eq!(violation.bytes, u64::from(freed.bytes));
                    let tagged = violation.tag.is_some() || !self.is_live(freed.owner);
                    assert!(tagged && violation.tag.is_none_or(|tag| tag == freed.tag || tag == OTHER));
                }
            }
        }
    }

    /// Gives a live block back, in its owner's name.
    pub fn free_block(&mut self, address: u64) {
        let owner = self.live[&address].owner;
        self.free(owner, address);
    }
}
