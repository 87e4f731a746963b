//! What a free must answer, for any address in any name.

use storport_pool::{AdapterId, Irql, PoolTag, Status, Violation, ViolationKind};

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
        (address - start < block.size).then_some((start, block))
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
        let bytes = span_of(len);
        let span = base + (address - base) / bytes * bytes;
        let pinned = self.live.range(span..span + bytes).any(|(_, block)| block.since < freed.since);
        Verdict::Stale(freed, pinned || self.swept < freed.since)
    }

    /// Calls free, with any address in any name.
    pub fn free(&mut self, caller: AdapterId, address: u64) {
        let verdict = self.judge(caller, address);
        let status = W::at(self.level, || free(&self.pool, caller, address));
        let heard = self.take_heard();
        let heard = self.check_freed(caller, address, verdict, status, heard);
        assert!(heard.is_empty(), "{heard:?}");
        if status == Status::SUCCESS {
            self.given_back(address);
        }
    }

    /// Calls free_bulk, with any addresses in any name, some of them perhaps twice.
    pub fn free_bulk(&mut self, caller: AdapterId, addresses: &[u64]) {
        let mut verdicts = Vec::new();
        for &address in addresses {
            let verdict = self.judge(caller, address);
            if matches!(verdict, Verdict::Good) {
                self.given_back(address);
            }
            verdicts.push(verdict);
        }
        // One status more than there are addresses, which nobody writes.
        let mut statuses = vec![Status::UNSUCCESSFUL; addresses.len() + 1];
        let freed = W::at(self.level, || {
            // SAFETY: as in `free`.
            unsafe { self.pool.free_bulk(caller, addresses, &mut statuses) }
        });
        assert_eq!(statuses.pop(), Some(Status::UNSUCCESSFUL));
        assert_eq!(freed, statuses.iter().filter(|status| status.is_success()).count());
        let mut heard = self.take_heard();
        for ((verdict, &address), status) in verdicts.into_iter().zip(addresses).zip(statuses) {
            heard = self.check_freed(caller, address, verdict, status, heard);
        }
        assert!(heard.is_empty(), "{heard:?}");
    }

    /// Checks what a free answered, and the first violation, if it must be its. Gives the others.
    fn check_freed(
        &self,
        caller: AdapterId,
        address: u64,
        verdict: Verdict,
        status: Status,
        mut heard: Vec<Violation>,
    ) -> Vec<Violation> {
        let mut told = || {
            assert_eq!((status, heard.is_empty()), (Status::INVALID_PARAMETER, false), "{address:#x}");
            let violation = heard.remove(0);
            assert_eq!((violation.address, violation.caller), (address, caller));
            assert_eq!((violation.irql, violation.blocks), (self.level, 0));
            violation
        };
        match verdict {
            Verdict::Status(want) => assert_eq!(status, want, "{address:#x}"),
            Verdict::Good => assert_eq!(status, Status::SUCCESS, "{address:#x}: {heard:?}"),
            Verdict::Bad(kind, block) => {
                let violation = told();
                let churned = self.churned && kind == ViolationKind::Wild;
                if churned && violation.kind == ViolationKind::DoubleFree {
                    return heard;
                }
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
                if known && !self.churned {
                    // The last owner, though it may be gone.
                    assert_eq!(violation.owner, Some(freed.owner));
                    assert_eq!(violation.bytes, u64::from(freed.bytes));
                    let tagged = violation.tag.is_some() || !self.is_live(freed.owner);
                    assert!(tagged && violation.tag.is_none_or(|tag| tag == freed.tag || tag == OTHER));
                }
            }
        }
        heard
    }

    /// Gives a live block back, in its owner's name.
    pub fn free_block(&mut self, address: u64) {
        let owner = self.live[&address].owner;
        self.free(owner, address);
    }
}
