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

/// The name of a rule that a verifier has. [`Verifier::add`] gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleId {
    pub(crate) place: u32,
    version: u64,
}

impl RuleId {
    /// The id as a number, for C and for tables. It is never 0. Any IRQL.
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

    /// The id with this number. A made-up number is that of no rule. Any IRQL. [`raw`](RuleId::raw) has an example.
    #[must_use]
    pub const fn from_raw(raw: u64) -> RuleId {
        RuleId { place: (raw % RULES as u64) as u32, version: raw / RULES as u64 }
    }
}

/// Why a verifier does not do what it was asked for.
///
/// ```
/// # #[cfg(feature = "verifier")] {
/// use storport_pool::{Pool, Rule, VerifierError, VerifierOptions};
/// let pool = Pool::new(1 << 20)?;
/// let verifier = pool.verifier(VerifierOptions::new())?;
/// assert_eq!(verifier.add(Rule::new()).unwrap_err(), VerifierError::EmptyRule);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VerifierError {
    /// The memory is smaller than [`VerifierOptions::bytes`], or not aligned to 4096.
    Memory,
    /// The operating system refused the memory, or the handler of faults. It has the error number.
    Os(i32),
    /// Faults of eight pools are explained already ([`Pool::explain_fault`] says what explaining is).
    TooManyPools,
    /// There are 32 rules already.
    TooManyRules,
    /// The rule does nothing: it has neither a check nor low resources.
    EmptyRule,
    /// The rule's adapter is unknown or removed.
    UnknownAdapter,
    /// There is no such rule, or no longer.
    UnknownRule,
    /// Another call is changing rules, or arming a sample. Nothing was done.
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

impl core::error::Error for VerifierError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            VerifierError::Text(error) => Some(error),
            _ => None,
        }
    }
}

/// What a [`sweep`](Verifier::sweep) found. The violation hook heard of each overrun and of each write. [`Verifier`]
/// has an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Swept {
    /// Live blocks behind which bytes were overwritten.
    pub overrun: u64,
    /// Blocks that left the quarantine.
    pub released: u64,
    /// Those of them that were written to after the free.
    pub written: u64,
}

/// What a verifier has done since it was made. [`Verifier`] has an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct VerifierStats {
    /// Verified blocks that were allocated.
    pub verified: u64,
    /// Those of them with guard pages.
    pub guarded: u64,
    /// Blocks that should have had guard pages. The host could not protect them.
    pub unguarded: u64,
    /// Allocations that were refused on purpose.
    pub refused: u64,
    /// Allocations that were taken as samples.
    pub sampled: u64,
    /// Blocks without a note, for want of room.
    pub notes_left_out: u64,
    /// Call stacks that were not kept, for want of room.
    pub stacks_left_out: u64,
}

/// How many allocations matched a rule, and how many of them it refused. [`Verifier`] has an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RuleCounts {
    /// Allocations that matched it, since it was added.
    pub seen: u64,
    /// Those of them that its low resources refused.
    pub refused: u64,
}

/// A pool's verifier: special pool, pool tracking and low resources simulation, as Driver Verifier has them. It is
/// switched at run time, by adapter and tag.
///
/// What no rule matches costs nothing: its allocations and frees take the fast paths as before. What a rule matches
/// takes the slow paths. They cost some hundred instructions to some microseconds more.
///
/// Its functions are for PASSIVE, except [`tick`](Self::tick).
///
/// ```
/// # #[cfg(feature = "verifier")] {
/// use storport_pool::{LowResources, Pool, Rule, VerifierOptions, tag};
/// let pool = Pool::new(64 << 20)?;
/// let disk = pool.add_adapter("disk0")?;
/// let verifier = pool.verifier(VerifierOptions::new())?;
/// assert!(pool.attached().is_some());
///
/// let rule = verifier.add(Rule::new().adapter(disk).canary().quarantine())?;
/// let every_other = verifier.add(Rule::new().low_resources(LowResources::new().every(2)))?;
/// let block = pool.try_allocate(disk, 100, tag!("Srb0"))?;
/// assert!(pool.try_allocate(disk, 100, tag!("Srb0")).is_err());
/// unsafe { pool.free(disk, block) };
///
/// // At rest, now and then: what was overwritten since?
/// let swept = verifier.sweep();
/// assert_eq!((swept.overrun, swept.released, swept.written), (0, 1, 0));
/// let (counts, stats) = (verifier.counts(every_other)?, verifier.stats());
/// assert_eq!((counts.seen, counts.refused, stats.verified), (2, 1, 1));
/// verifier.remove(rule)?;
/// verifier.remove(every_other)?;
///
/// // In production: one allocation in 10,000 is guarded, at most 100 at once. A timer ticks.
/// verifier.sample(10_000, 100);
/// verifier.tick();
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// A verifier over memory of the caller. The host gives call stacks, guard pages and the blocks' bytes, as far as
    /// it can. A pool has one verifier for ever. If there is one already, that is the answer, and the memory stays
    /// unused. PASSIVE.
    ///
    /// ```
    /// use std::ptr::NonNull;
    /// use storport_pool::{Config, LowResources, PoolOptions, Rule, Status, VerifierHost, VerifierOptions, tag};
    ///
    /// #[repr(align(4096))]
    /// struct Page([u8; 4096]);
    ///
    /// /// It can do nothing of what a verifier asks for. Low resources need none of it.
    /// struct Nothing;
    /// impl VerifierHost for Nothing {}
    ///
    /// let pool = PoolOptions::with_config(Config::new(0, 1 << 20).accounts(64)).build()?;
    /// let options = VerifierOptions::new();
    /// let bytes = options.bytes(64);
    /// let pages = Vec::leak((0..bytes.div_ceil(4096)).map(|_| Page([0; 4096])).collect());
    /// let memory = NonNull::slice_from_raw_parts(NonNull::from(pages).cast(), bytes);
    /// // SAFETY: the memory is zeroed, lives for ever, and is used by nothing else. The host touches no block.
    /// let verifier = unsafe { pool.verifier_in(memory, options, &Nothing)? };
    /// verifier.add(Rule::new().low_resources(LowResources::new().only(1)))?;
    /// let disk = pool.add_adapter("disk0")?;
    /// assert_eq!(pool.try_allocate(disk, 100, tag!("Srb0")), Err(Status::INSUFFICIENT_RESOURCES));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`VerifierError::Memory`].
    ///
    /// # Safety
    /// The memory is zeroed, valid for reads and writes as long as the pool lives, and used by nothing else. What the
    /// host's functions read, fill and protect are the blocks' own bytes.
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

    /// The pool's verifier. `None`: it has none. Any IRQL; a load. [`Verifier`] has an example.
    pub fn attached(&self) -> Option<Verifier<'_, P>> {
        Some(Verifier { pool: self, verifier: self.meta.verifier()? })
    }

    /// What a fault at this address means. A fault is an access that the processor refused. The answer tells of a guard
    /// page beside a block, or of a guarded block that was freed. `None`: no guarded block is there, and none was.
    ///
    /// It is for a host's fault handler: any IRQL, loads only, no loop except over the call stacks' frames.
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
    /// Adds a rule. It holds for all allocations that begin afterwards. Those of its adapter and tags take the slow
    /// path from now on. Blocks that were allocated before are freed as before. PASSIVE; walks all accounts.
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

    /// Removes a rule. Blocks that were allocated under it stay verified until they are freed. PASSIVE; walks all
    /// accounts.
    ///
    /// # Errors
    /// [`VerifierError`]: `UnknownRule`, `Busy`.
    pub fn remove(&self, rule: RuleId) -> Result<(), VerifierError> {
        let _alone = self.claim()?;
        self.verifier.remove_rule(rule.place as usize, rule.version).ok_or(VerifierError::UnknownRule)?;
        self.pool.meta.watch_accounts();
        Ok(())
    }

    /// How many allocations a rule matched and refused. PASSIVE; loads only.
    ///
    /// # Errors
    /// [`VerifierError::UnknownRule`].
    pub fn counts(&self, rule: RuleId) -> Result<RuleCounts, VerifierError> {
        let (seen, refused) =
            self.verifier.rule_counts(rule.place as usize, rule.version).ok_or(VerifierError::UnknownRule)?;
        Ok(RuleCounts { seen, refused })
    }

    /// Guards one in `every` allocations, of any adapter and tag, as KFENCE and GWP-ASan do. 0: none. At most `most`
    /// samples have guard pages at once. The others have a [`canary`](Rule::canary). PASSIVE; two stores.
    ///
    /// [`tick`](Self::tick) arms a sample when `every` allocations went by. So there is at most one in each tick, and
    /// at most one in `every`. Until it is taken, all allocations of one account take the slow path: as a rule one, at
    /// most one on each CPU. The sample's free takes it, too. With 10,000, that is at most one call in 1000 on up to
    /// eight CPUs.
    pub fn sample(&self, every: u64, most: u32) {
        let sampling = &self.verifier.sampling;
        // ORDERING: Relaxed, both - words by themselves.
        sampling.most.store(most.into(), Ordering::Relaxed);
        sampling.every.store(every, Ordering::Relaxed);
    }

    /// Arms a sample if it is time. The answer is whether one is armed. Call it from a timer, some ten times a second:
    /// IRQL <= DISPATCH, but not from a handler that interrupts the pool's calls. It reads all counts, which takes some
    /// microseconds to some hundred.
    pub fn tick(&self) -> bool {
        self.claim().is_ok_and(|_alone| self.pool.meta.arm_sample(self.verifier))
    }

    /// Looks behind all live blocks with a canary, and at all blocks in the quarantine. Those leave it. The violation
    /// hook hears of what was overwritten. PASSIVE; walks all states.
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

    /// What the verifier has done since it was made. PASSIVE; loads only.
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
