//! The verifier, as a host sees it: rules, sampling, sweeps, statistics.

use core::fmt;
use core::ptr::NonNull;

use crate::contract::adapter::AdapterId;
#[cfg(feature = "alloc")]
use crate::contract::verify::host::Access;
use crate::contract::verify::host::VerifierHost;
use crate::contract::verify::options::VerifierOptions;
use crate::contract::verify::rule::Rule;
use crate::contract::verify::text::RuleError;
use crate::contract::violation::Violation;
use crate::percpu::platform::Platform;
use crate::pool::handle::Pool;
use crate::routines::freed::{put_set_aside, sweep_live};
use crate::routines::quarantine::empty_quarantine;
use crate::routines::report::Call;
use crate::routines::verified::{tell_allocate_irql, tell_free_irql, tell_overwritten, verified};
use crate::routines::ways::Ways;
use crate::sync::Ordering;
#[cfg(all(feature = "std", not(storport_pool_loom)))]
use crate::trace::ring::TraceRing;
use crate::verify::tables::RULES;
use crate::verify::verifier;

/// A rule of a verifier, for [`Verifier::remove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleId {
    pub(crate) place: u32,
    version: u64,
}

impl RuleId {
    /// It as a number, for C and for tables; never 0.
    ///
    /// ```
    /// # #[cfg(feature = "verifier")] {
    /// # use storport_pool::{Pool, Rule, RuleId, VerifierOptions};
    /// # let pool = Pool::new(1 << 20)?;
    /// let rule = pool.verifier(VerifierOptions::new())?.add(Rule::new().track())?;
    /// assert_eq!(RuleId::from_raw(rule.raw()), rule);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.version * RULES as u64 + self.place as u64
    }

    /// The rule with this number; a made-up one is of no rule.
    #[must_use]
    pub const fn from_raw(raw: u64) -> RuleId {
        RuleId { place: (raw % RULES as u64) as u32, version: raw / RULES as u64 }
    }
}

/// Why a verifier does not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VerifierError {
    /// The memory is smaller than [`VerifierOptions::bytes`], or not aligned to 4096.
    Memory,
    /// The operating system did not give the memory, or did not take the handler of faults; its error number.
    Os(i32),
    /// Faults of eight pools are explained already.
    TooManyPools,
    /// There are 32 rules already.
    TooManyRules,
    /// The rule does nothing: it has neither a check nor low resources.
    EmptyRule,
    /// The rule's adapter is unknown or removed.
    UnknownAdapter,
    /// There is no such rule, or no longer.
    UnknownRule,
    /// Another call changes rules, or samples; nothing was done.
    Busy,
    /// The text is no rule.
    Text(RuleError),
}

impl fmt::Display for VerifierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VerifierError::Memory => "the verifier's memory is too small or not aligned to 4096 bytes",
            VerifierError::Os(code) => {
                return write!(f, "the operating system refused what the verifier needs (error {code})");
            }
            VerifierError::TooManyPools => "faults of eight pools are explained already",
            VerifierError::TooManyRules => "a verifier has room for 32 rules; no more fit",
            VerifierError::EmptyRule => "the rule does nothing: add a check or low resources to it",
            VerifierError::UnknownAdapter => "the rule's adapter is unknown or removed",
            VerifierError::UnknownRule => "there is no such rule",
            VerifierError::Text(error) => return write!(f, "{error}"),
            VerifierError::Busy => "another call changes the verifier's rules",
        })
    }
}

impl core::error::Error for VerifierError {}

/// What a [`sweep`](Verifier::sweep) found. The violation hook heard of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Swept {
    /// Live blocks behind which bytes were overwritten.
    pub overrun: u64,
    /// Blocks that left the quarantine.
    pub released: u64,
    /// Those of them that were written to after they were freed.
    pub written: u64,
}

/// What a verifier has done, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct VerifierStats {
    /// Verified blocks that were allocated.
    pub verified: u64,
    /// Those of them that have guard pages.
    pub guarded: u64,
    /// Blocks that should have had guard pages: the host could not protect them.
    pub unguarded: u64,
    /// Allocations that were refused on purpose.
    pub refused: u64,
    /// Allocations that were samples.
    pub sampled: u64,
    /// Blocks of which there was no place for a note.
    pub notes_left_out: u64,
    /// Call stacks for which there was no place.
    pub stacks_left_out: u64,
}

/// How many allocations a rule was for, and how many of them it refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RuleCounts {
    /// Allocations that it was for, since it was added.
    pub seen: u64,
    /// Those of them that its low resources refused.
    pub refused: u64,
}

/// A pool's verifier: special pool, pool tracking and low resources simulation, as Driver Verifier has them. It is switched
/// at run time, by adapter and tag.
///
/// What no rule is for costs nothing: its allocations and frees take the fast paths as before. What a rule is for takes the
/// slow ways, and some hundred instructions to some microseconds more.
///
/// All of its functions are PASSIVE, but for [`tick`](Self::tick).
pub struct Verifier<'pool, P: Platform> {
    pub(crate) pool: &'pool Pool<P>,
    pub(crate) verifier: &'pool verifier::Verifier,
}

impl<P: Platform> fmt::Debug for Verifier<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stats().fmt(f)
    }
}

impl<P: Platform> Clone for Verifier<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Platform> Copy for Verifier<'_, P> {}

impl<P: Platform> Pool<P> {
    /// A verifier over the caller's memory, with the caller's way to call stacks, guard pages and the blocks' bytes. A pool
    /// has one for ever: if it has one already, that is the answer, and the memory stays unused.
    ///
    /// # Errors
    /// [`VerifierError::Memory`].
    ///
    /// # Safety
    /// The memory is valid for reads and writes as long as the pool, zeroed, and used by nothing else. What the host's
    /// functions read, fill and protect are the blocks' own bytes.
    pub unsafe fn verifier_in(
        &self,
        memory: NonNull<[u8]>,
        options: VerifierOptions,
        host: &'static dyn VerifierHost,
    ) -> Result<Verifier<'_, P>, VerifierError> {
        // SAFETY: the caller's promise.
        unsafe { self.attach(memory, options, host, None) }
    }

    /// # Safety
    /// As [`verifier_in`](Self::verifier_in); `release` gives back what the verifier was made of.
    pub(crate) unsafe fn attach(
        &self,
        memory: NonNull<[u8]>,
        options: VerifierOptions,
        host: &'static dyn VerifierHost,
        release: Option<unsafe fn(NonNull<verifier::Verifier>)>,
    ) -> Result<Verifier<'_, P>, VerifierError> {
        let accounts = self.meta.control().account_mask.unsigned_abs() as u32;
        let start = memory.cast::<u8>();
        if memory.len() < options.bytes(accounts) || !start.addr().get().is_multiple_of(4096) {
            return Err(VerifierError::Memory);
        }
        if self.attached().is_none() {
            // SAFETY: the memory is zeroed, aligned and long enough, and ours by the caller's promise.
            let made =
                unsafe { verifier::Verifier::make(start, &options, accounts, host, table::<P>(), release) };
            // ORDERING: Release - the verifier; pairs with the Acquire in `Meta::verifier`. Whoever else was faster wins.
            let published = self.meta.control().verifier.compare_exchange(
                core::ptr::null_mut(),
                made.as_ptr().cast(),
                Ordering::Release,
                Ordering::Relaxed,
            );
            if published.is_err()
                && let Some(release) = release
            {
                // SAFETY: nobody else has seen ours.
                unsafe { release(made) };
            }
        }
        self.attached().ok_or(VerifierError::Memory)
    }

    /// The pool's verifier, if it has one.
    pub fn attached(&self) -> Option<Verifier<'_, P>> {
        Some(Verifier { pool: self, verifier: self.meta.verifier()? })
    }

    /// What a fault (an access that the processor refused) at this address means: a guard page beside a block, or a guarded
    /// block that was freed. `None`: no guarded block is there, and none was.
    ///
    /// For a host's fault handler: any IRQL, loads only, no loop but of the call stacks' lengths.
    ///
    /// ```
    /// # use storport_pool::Pool;
    /// let pool = Pool::new(1 << 20)?;
    /// assert!(pool.explain_fault(pool.range().0).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn explain_fault(&self, address: u64) -> Option<Violation> {
        self.meta.verifier()?;
        self.meta.explain_fault(address, self.platform.irql())
    }
}

/// The verifier's part of the routines, on this platform.
struct Table<P>(core::marker::PhantomData<P>);

impl<P: Platform> Table<P> {
    const WAYS: &'static Ways = &Ways {
        allocate: |meta, platform, verifier, request, tag| {
            // SAFETY: the caller's, of this pool, during the call; as for the others.
            verified::<P>(meta, unsafe { P::of_opaque(platform) }, verifier, request, tag)
        },
        put: |meta, platform, found, call| {
            // SAFETY: as above.
            put_set_aside::<P>(meta, unsafe { P::of_opaque(platform) }, found, call)
        },
        empty: |meta, platform| {
            // SAFETY: as above.
            empty_quarantine::<P>(meta, unsafe { P::of_opaque(platform) })
        },
        tell_allocate: tell_allocate_irql,
        tell_overwritten,
        tell_free: tell_free_irql,
    };
}

fn table<P: Platform>() -> *const () {
    core::ptr::from_ref(Table::<P>::WAYS).cast()
}

impl<'pool, P: Platform> Verifier<'pool, P> {
    /// Adds a rule. It holds for all allocations that begin afterwards. Those of its adapter and tag take the slow way from
    /// now on; blocks that were allocated before are freed as before.
    ///
    /// # Errors
    /// [`VerifierError`]: `TooManyRules`, `EmptyRule`, `UnknownAdapter`, `Busy`.
    pub fn add(&self, rule: Rule) -> Result<RuleId, VerifierError> {
        if !rule.does_something() {
            return Err(VerifierError::EmptyRule);
        }
        if rule.adapter.is_some_and(|adapter| !self.pool.meta.adapter_live(adapter)) {
            return Err(VerifierError::UnknownAdapter);
        }
        let _alone = self.claim()?;
        // Handles are never given again: what was for a removed adapter is for nobody.
        self.verifier.forget_rules(|adapter: AdapterId| !self.pool.meta.adapter_live(adapter));
        let (place, version) = self.verifier.add_rule(&rule).ok_or(VerifierError::TooManyRules)?;
        self.pool.meta.watch_accounts();
        Ok(RuleId { place: place as u32, version })
    }

    /// Takes a rule away. Blocks that were allocated under it stay verified until they are freed.
    ///
    /// # Errors
    /// [`VerifierError`]: `UnknownRule`, `Busy`.
    pub fn remove(&self, rule: RuleId) -> Result<(), VerifierError> {
        let _alone = self.claim()?;
        self.verifier.remove_rule(rule.place as usize, rule.version).ok_or(VerifierError::UnknownRule)?;
        self.pool.meta.watch_accounts();
        Ok(())
    }

    /// What a rule has done.
    ///
    /// # Errors
    /// [`VerifierError::UnknownRule`].
    pub fn counts(&self, rule: RuleId) -> Result<RuleCounts, VerifierError> {
        let (seen, refused) =
            self.verifier.rule_counts(rule.place as usize, rule.version).ok_or(VerifierError::UnknownRule)?;
        Ok(RuleCounts { seen, refused })
    }

    /// Makes one in so many allocations a guarded one, as KFENCE and GWP-ASan do, of any adapter and tag; 0: none. At most
    /// `most` samples are guarded at once; the others have a [`canary`](Rule::canary).
    ///
    /// A sample is armed by [`tick`](Self::tick) when `every` allocations went by, so there is at most one a tick, and at
    /// most one in `every`. Until it is taken, all allocations of one account take the slow way: as a rule one, at most one
    /// on each CPU. So one of `every` calls is a slow entry, and the sample's free another one: with 10,000, at most one
    /// call in 1000 on up to eight CPUs.
    pub fn sample(&self, every: u64, most: u32) {
        let sampling = &self.verifier.sampling;
        // ORDERING: Relaxed, both - words by themselves.
        sampling.most.store(most.into(), Ordering::Relaxed);
        sampling.every.store(every, Ordering::Relaxed);
    }

    /// Arms a sample if it is time. Call it from a timer, some ten times a second: IRQL <= DISPATCH, not from a handler that
    /// interrupts the pool's calls. It reads all counts: some microseconds to some hundred. Whether one is armed.
    pub fn tick(&self) -> bool {
        self.claim().is_ok_and(|_alone| self.pool.meta.arm_sample(self.verifier))
    }

    /// Looks behind all live blocks with a canary, and at all that wait in the quarantine, which leave it.
    pub fn sweep(&self) -> Swept {
        let meta = self.pool.meta;
        let call = Call { caller: AdapterId::NOBODY, irql: 0 };
        let overrun = sweep_live(&meta, call);
        let (released, written) = empty_quarantine(meta, &self.pool.platform);
        Swept { overrun, released: released as u64, written }
    }

    #[cfg(all(feature = "std", not(storport_pool_loom)))]
    pub(crate) fn is_recording(&self) -> bool {
        self.verifier.ring().is_some()
    }

    /// Calls under a rule that says so are recorded in this ring from now on. `false`: others are already.
    #[cfg(all(feature = "std", not(storport_pool_loom)))]
    pub(crate) fn start_ring(&self, ring: &'static TraceRing<'static>) -> bool {
        // ORDERING: Relaxed - published with the ring.
        self.verifier.began.store(self.verifier.host().clock(), Ordering::Relaxed);
        self.verifier.set_ring(Some(ring))
    }

    #[cfg(all(feature = "std", not(storport_pool_loom)))]
    pub(crate) fn stop_ring(&self) {
        self.verifier.set_ring(None);
    }

    #[cfg(all(feature = "std", not(storport_pool_loom)))]
    pub(crate) fn pool(&self) -> &'pool Pool<P> {
        self.pool
    }

    /// What it has done.
    pub fn stats(&self) -> VerifierStats {
        let counters = &self.verifier.counters;
        // ORDERING: Relaxed, all - statistics.
        VerifierStats {
            verified: counters.verified.load(Ordering::Relaxed),
            guarded: counters.guarded.load(Ordering::Relaxed),
            unguarded: counters.unguarded.load(Ordering::Relaxed),
            refused: counters.refused.load(Ordering::Relaxed),
            sampled: self.verifier.sampling.taken.load(Ordering::Relaxed),
            notes_left_out: counters.notes_left_out.load(Ordering::Relaxed),
            stacks_left_out: counters.stacks_left_out.load(Ordering::Relaxed),
        }
    }

    /// Before the pool becomes another one: no block has a note, and all pages are accessible. The caller has the pool to
    /// itself.
    #[cfg(feature = "alloc")]
    pub(crate) fn forget_all(&self) {
        self.verifier.quarantine().take_each(|_| ());
        self.verifier.freed().take_each(|_| ());
        self.verifier.forget_notes();
        let (address, bytes) = self.pool.range();
        // ORDERING: Relaxed, twice - as above.
        if self.verifier.counters.guarded_live.load(Ordering::Relaxed) != 0 {
            let _ = self.verifier.host().protect(address, bytes, Access::ReadWrite);
        }
        self.verifier.counters.guarded_live.store(0, Ordering::Relaxed);
        self.verifier.sampling.armed.store(0, Ordering::Relaxed);
    }

    fn claim(&self) -> Result<impl Drop + 'pool, VerifierError> {
        self.pool.meta.try_claim(&self.verifier.claim).ok_or(VerifierError::Busy)
    }
}
