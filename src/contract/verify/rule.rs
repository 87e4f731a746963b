//! Rules: what the verifier watches, and what it does there.

use crate::contract::adapter::AdapterId;
use crate::contract::pattern::TagPattern;

/// Which end of a guarded block lies at a guard page. [`Rule`] has an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Guard {
    /// The end: a write behind the block faults. Blocks begin at multiples of 16, so up to 15 bytes lie between the
    /// block and the page. Those are checked when the block is freed.
    #[default]
    After,
    /// The beginning: a write before the block faults.
    Before,
}

/// Which allocations are refused on purpose: Driver Verifier's low resources simulation.
///
/// An allocation is refused when one of the criteria says so. They count the allocations that match the rule, one after
/// the other. So a thread that makes the same calls again has the same ones refused. The functions run at any IRQL.
///
/// ```
/// use storport_pool::LowResources;
/// /// Driver Verifier's default: six in a hundred, but not the first thousand.
/// const AS_WINDOWS: LowResources = LowResources::new().probability(600).after(1000).seed(7);
/// /// The third one, and no other.
/// const THIRD: LowResources = LowResources::new().only(3);
/// /// Each hundredth.
/// const HUNDREDTH: LowResources = LowResources::new().every(100);
/// /// Each call stack's first one. It needs call stacks.
/// const EACH_PLACE: LowResources = LowResources::new().once_per_stack(true);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LowResources {
    pub(crate) probability: u32,
    pub(crate) every: u32,
    pub(crate) only: u64,
    pub(crate) after: u64,
    pub(crate) once_per_stack: bool,
    pub(crate) seed: u64,
}

impl LowResources {
    /// Refuses nothing yet.
    #[must_use]
    pub const fn new() -> LowResources {
        LowResources { probability: 0, every: 0, only: 0, after: 0, once_per_stack: false, seed: 0 }
    }

    /// Refuses this many of 10,000, by chance. 10,000 and more mean all. Which ones depends on the [`seed`](Self::seed)
    /// alone.
    #[must_use]
    pub const fn probability(mut self, in_10_000: u32) -> LowResources {
        self.probability = in_10_000;
        self
    }

    /// Refuses each `n`-th. 0: this criterion refuses none.
    #[must_use]
    pub const fn every(mut self, n: u32) -> LowResources {
        self.every = n;
        self
    }

    /// Refuses the `n`-th alone, counted from 1. 0: this criterion refuses none.
    #[must_use]
    pub const fn only(mut self, n: u64) -> LowResources {
        self.only = n;
        self
    }

    /// Never refuses the first `count`. The other criteria do not count them.
    #[must_use]
    pub const fn after(mut self, count: u64) -> LowResources {
        self.after = count;
        self
    }

    /// Refuses each distinct call stack once at most. Without another criterion it refuses each once. An allocation
    /// without a call stack is not refused.
    #[must_use]
    pub const fn once_per_stack(mut self, once: bool) -> LowResources {
        self.once_per_stack = once;
        self
    }

    /// Sets what chance depends on. The same seed refuses the same allocations.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> LowResources {
        self.seed = seed;
        self
    }

    /// Whether it ever refuses one.
    pub(crate) const fn is_on(self) -> bool {
        self.probability > 0 || self.every > 0 || self.only > 0 || self.once_per_stack
    }

    /// Whether the `n`-th allocation, counted from 0, is to be refused, as far as numbers say.
    pub(crate) const fn chooses(self, n: u64) -> bool {
        let Some(n) = n.checked_sub(self.after) else { return false };
        if self.only > 0 && n + 1 == self.only || self.every > 0 && (n + 1).is_multiple_of(self.every as u64)
        {
            return true;
        }
        if self.probability > 0 && mix(self.seed ^ mix(n)) % 10_000 < self.probability as u64 {
            return true;
        }
        self.once_per_stack && self.only == 0 && self.every == 0 && self.probability == 0
    }
}

/// Spreads a number's bits (the finalizer of MurmurHash3).
pub(crate) const fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    x = (x ^ (x >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    x ^ (x >> 33)
}

/// What a rule has done to the allocations that it is for, as bits.
pub(crate) mod checks {
    /// Guard pages; behind the block, unless `BEFORE`.
    pub(crate) const GUARD: u32 = 1;
    pub(crate) const BEFORE: u32 = 2;
    /// Bytes behind the block, checked at free.
    pub(crate) const CANARY: u32 = 4;
    /// Call stacks.
    pub(crate) const TRACK: u32 = 8;
    /// Freed blocks wait, filled or shut.
    pub(crate) const QUARANTINE: u32 = 16;
    /// Calls above DISPATCH are violations.
    pub(crate) const IRQL: u32 = 32;
    /// An out pointer that holds a live block is a violation.
    pub(crate) const OVERWRITE: u32 = 64;
    /// Calls are recorded.
    pub(crate) const RECORD: u32 = 128;
    /// What makes a block a verified one.
    pub(crate) const BLOCK: u32 = GUARD | CANARY | TRACK | QUARANTINE | RECORD;
}

/// What the verifier watches, and what it does there. All rules that match an allocation apply together. The functions
/// run at any IRQL; [`Verifier::add`](crate::Verifier::add) puts a rule into force.
///
/// ```
/// # #[cfg(feature = "verifier")] {
/// use storport_pool::{Guard, LowResources, Pool, Rule, TagPattern, VerifierOptions};
/// let pool = Pool::new(64 << 20)?;
/// let disk = pool.add_adapter("disk0")?;
/// let verifier = pool.verifier(VerifierOptions::new())?;
/// // Each block of the disk has a guard page behind it, and its call stacks are kept.
/// let all = verifier.add(Rule::new().adapter(disk).guard(Guard::After).track())?;
/// // One in a hundred of its `Srb?` allocations is refused.
/// let few = Rule::new().adapter(disk).tags(TagPattern::new("Srb?")?);
/// verifier.add(few.low_resources(LowResources::new().probability(100)))?;
/// verifier.remove(all)?;
/// // Checks of every adapter's blocks without guard pages, and of calls.
/// verifier.add(Rule::new().canary().quarantine().irql().overwrite())?;
/// // All checks of blocks that begin with `Nv`.
/// verifier.add(Rule::new().tags(TagPattern::new("Nv*")?).all_checks())?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a rule does something once it is added to a verifier"]
pub struct Rule {
    pub(crate) adapter: Option<AdapterId>,
    pub(crate) tags: TagPattern,
    pub(crate) checks: u32,
    pub(crate) low: LowResources,
}

impl Default for Rule {
    fn default() -> Rule {
        Rule::new()
    }
}

impl Rule {
    /// A rule for all adapters and all tags. It does nothing yet.
    pub const fn new() -> Rule {
        Rule { adapter: None, tags: TagPattern::ALL, checks: 0, low: LowResources::new() }
    }

    /// Applies to this adapter alone.
    pub const fn adapter(mut self, adapter: AdapterId) -> Rule {
        self.adapter = Some(adapter);
        self
    }

    /// Applies to the tags that match this pattern alone.
    pub const fn tags(mut self, tags: TagPattern) -> Rule {
        self.tags = tags;
        self
    }

    /// Switches on all checks of blocks: [`guard`](Self::guard) behind them, [`canary`](Self::canary),
    /// [`track`](Self::track), [`quarantine`](Self::quarantine), [`irql`](Self::irql).
    pub const fn all_checks(self) -> Rule {
        self.guard(Guard::After).canary().track().quarantine().irql()
    }

    /// Special pool: each block has pages of its own, and an inaccessible page at its end or its beginning. When it is
    /// freed, all of its pages become inaccessible until they are needed.
    ///
    /// Each block takes whole spans: 64 KiB of the range. In pools of less than 8 MiB it takes its pages and two more.
    /// It takes as much memory as its pages. Where the host cannot protect pages, and for alignments above a page, the
    /// block gets a [`canary`](Self::canary) instead.
    pub const fn guard(mut self, guard: Guard) -> Rule {
        self.checks |= checks::GUARD | checks::CANARY | checks::TRACK | checks::QUARANTINE;
        if matches!(guard, Guard::Before) {
            self.checks |= checks::BEFORE;
        }
        self
    }

    /// Fills at least 16 bytes behind each block. [`free`](crate::Pool::free) and [`sweep`](crate::Verifier::sweep)
    /// check them. They stay where they are when the block is resized. Where the host cannot read and fill memory, there is
    /// no canary.
    pub const fn canary(mut self) -> Rule {
        self.checks |= checks::CANARY;
        self
    }

    /// Pool tracking: keeps the call stacks of the allocation and of the free.
    pub const fn track(mut self) -> Rule {
        self.checks |= checks::TRACK;
        self
    }

    /// Lets freed blocks wait before they are used again. They are filled. They are checked when they leave the
    /// quarantine, when it is swept, or when the pool needs them.
    pub const fn quarantine(mut self) -> Rule {
        self.checks |= checks::QUARANTINE;
        self
    }

    /// Tells the violation hook of calls above DISPATCH. The routines refuse them in any case.
    pub const fn irql(mut self) -> Rule {
        self.checks |= checks::IRQL;
        self
    }

    /// Tells the violation hook of an allocation whose out pointer holds the address of a live block of the same
    /// adapter. That block's address is being lost. It is the rule *StorPortAllocatePool2* of Static Driver Verifier. A
    /// stale address in a variable that is used again looks the same.
    ///
    /// It works for `Caller::allocate` and C's `sp_allocate` alone.
    /// [`Pool::allocate`](crate::Pool::allocate) writes to the out pointer only after the pool's part has ended.
    pub const fn overwrite(mut self) -> Rule {
        self.checks |= checks::OVERWRITE;
        self
    }

    /// Calls are recorded, while the verifier has a ring.
    #[cfg(all(feature = "std", not(storport_pool_loom)))]
    pub(crate) const fn recorded(mut self) -> Rule {
        self.checks |= checks::RECORD;
        self
    }

    /// Refuses allocations on purpose.
    pub const fn low_resources(mut self, low: LowResources) -> Rule {
        self.low = low;
        self
    }

    /// Whether it does anything.
    pub(crate) const fn does_something(&self) -> bool {
        self.checks != 0 || self.low.is_on()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_what_was_asked_for_and_the_same_again() {
        let low = LowResources::new().probability(600).after(100).seed(42);
        let refused: std::vec::Vec<u64> = (0..100_100).filter(|&n| low.chooses(n)).collect();
        assert!((5500..6500).contains(&refused.len()), "{}", refused.len());
        assert!(refused[0] >= 100);
        assert!(refused.iter().all(|&n| low.chooses(n)));
        let other = low.seed(43);
        assert!((0..1000).any(|n| low.chooses(n) != other.chooses(n)));
        let numbers = |low: LowResources| (0..10).filter(move |&n| low.chooses(n));
        assert!(numbers(LowResources::new().every(3)).eq([2, 5, 8]));
        assert!(numbers(LowResources::new().only(3).after(2)).eq([4]));
        assert!(numbers(LowResources::new()).eq([]));
        assert!(numbers(LowResources::new().probability(10_000)).eq(0..10));
    }
}
