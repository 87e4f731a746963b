//! The verifier: rules, sampling, sweeps, and what a fault means.

use core::ffi::{CStr, c_char, c_void};
use core::mem::offset_of;
use core::str::from_utf8;

use pool::{Guard, LowResources, Rule, RuleId, TagPattern, VerifierError, VerifierOptions};

use crate::error::Why;
use crate::kind::{Kind, sp_pool, with_pool};
use crate::types::sp_bool;
use crate::versioned::{self, Versioned};
use crate::violation::{self, sp_violation_callback};
use crate::{error, registry};

/// How much a verifier keeps. Fill it with 0, set `size`, and then what shall differ. All numbers are rounded up to a power of
/// two.
#[repr(C)]
pub struct sp_verifier_options {
    /// `sizeof(sp_verifier_options)`: tells versions apart. What an older version had not is 0.
    pub size: usize,
    /// Of how many blocks, live and freed, it knows call stacks: 32 bytes each, at least 64. 0: 32,768.
    pub notes: u32,
    /// How many distinct call stacks it keeps: 208 bytes each, at least 64. 0: 4096.
    pub stacks: u32,
    /// How many freed blocks wait in the quarantine. 0: 256.
    pub quarantine: u32,
    /// Of how many freed blocks, the last ones, the call stacks are kept. 0: 4096.
    pub freed: u32,
}

// SAFETY: `size` is first, and all fields are numbers.
unsafe impl Versioned for sp_verifier_options {
    const SIZES: &'static [usize] = &[size_of::<sp_verifier_options>()];
}

/// Where a block's guard page lies: one of the numbers below.
pub type sp_special = u8;
/// No guard pages.
pub const SP_SPECIAL_NONE: sp_special = 0;
/// Behind the block: what writes behind it faults, but for up to 15 bytes, which are checked when it is freed.
pub const SP_SPECIAL_AFTER: sp_special = 1;
/// Before the block: what writes before it faults.
pub const SP_SPECIAL_BEFORE: sp_special = 2;

/// What the verifier watches, and what it does there. Fill it with 0, set `size`, and then what shall differ: a rule for
/// all adapters and tags, that does nothing yet. All rules that match an allocation apply together.
#[repr(C)]
pub struct sp_rule {
    /// `sizeof(sp_rule)`: tells versions apart. What an older version had not is 0.
    pub size: usize,
    /// For this adapter alone, by its extension; NULL: for all.
    pub extension: *mut c_void,
    /// For these tags alone: 1 to 16 printable characters, `*` for any or none, `?` for one. NULL: for all.
    pub tags: *const c_char,
    /// Special pool: pages of its own and a guard page for each block. `canary`, `track` and `quarantine` come with it.
    pub special: sp_special,
    /// At least 16 bytes behind each block are filled, and checked when it is freed and by `sp_verifier_sweep`.
    pub canary: sp_bool,
    /// Call stacks of the allocation and of the free.
    pub track: sp_bool,
    /// Freed blocks wait before they are used again, and are checked for writes.
    pub quarantine: sp_bool,
    /// A call above DISPATCH_LEVEL is a violation.
    pub irql: sp_bool,
    /// An allocation whose out pointer holds the address of a live block of the same adapter is a violation.
    pub overwrite: sp_bool,
    /// Low resources: each distinct call stack is refused once at most; with no other criterion, each once.
    pub once_per_stack: sp_bool,
    /// Must be 0.
    pub reserved: u8,
    /// Low resources: so many allocations in 10,000 are refused, by chance; 10,000 and more: all.
    pub probability: u32,
    /// Low resources: each so many-th is refused; 0: none by this criterion.
    pub every: u32,
    /// Low resources: this one alone is refused, counted from 1; 0: none by this criterion.
    pub only: u64,
    /// Low resources: not the first so many, which do not count for the other criteria.
    pub after: u64,
    /// Low resources: what chance depends on. The same seed refuses the same ones.
    pub seed: u64,
}

// SAFETY: `size` is first; the others are numbers, and pointers that may be NULL.
unsafe impl Versioned for sp_rule {
    const SIZES: &'static [usize] = &[size_of::<sp_rule>()];
}

const _: () = assert!(offset_of!(sp_rule, size) == 0 && offset_of!(sp_verifier_options, size) == 0);

/// What a rule has done.
#[repr(C)]
pub struct sp_rule_counts {
    /// Allocations that it was for, since it was added.
    pub seen: u64,
    /// Those of them that its low resources refused.
    pub refused: u64,
}

/// What a sweep found. The violation callback heard of each.
#[repr(C)]
pub struct sp_swept {
    /// Live blocks behind which bytes were overwritten.
    pub overrun: u64,
    /// Blocks that left the quarantine.
    pub released: u64,
    /// Those of them that were written to after they were freed.
    pub written: u64,
}

/// What a verifier has done, since it was attached.
#[repr(C)]
pub struct sp_verifier_counts {
    /// Verified blocks that were allocated.
    pub verified: u64,
    /// Those of them that have guard pages.
    pub guarded: u64,
    /// Blocks that should have had guard pages: they could not be protected.
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

impl sp_rule {
    /// It, as Rust has it.
    ///
    /// # Safety
    /// The fields hold what their comments say.
    unsafe fn rule(&self, handle: &sp_pool) -> Result<Rule, Why> {
        if self.reserved != 0 {
            return Err(Why::Reserved(self.reserved.into()));
        }
        let mut rule = Rule::new().low_resources(
            LowResources::new()
                .probability(self.probability)
                .every(self.every)
                .only(self.only)
                .after(self.after)
                .seed(self.seed)
                .once_per_stack(self.once_per_stack != 0),
        );
        if !self.extension.is_null() {
            let (pool, adapter) = registry::find(self.extension).ok_or(Why::NoExtension)?;
            if !core::ptr::eq(pool.as_ptr(), handle) {
                return Err(Why::OtherPool);
            }
            rule = rule.adapter(adapter);
        }
        if !self.tags.is_null() {
            // SAFETY: the caller's promise.
            let tags = unsafe { CStr::from_ptr(self.tags) };
            let pattern = tags.to_str().ok().and_then(|tags| TagPattern::new(tags).ok());
            rule = rule.tags(pattern.ok_or(Why::Pattern)?);
        }
        rule = match self.special {
            SP_SPECIAL_NONE => rule,
            SP_SPECIAL_AFTER => rule.guard(Guard::After),
            SP_SPECIAL_BEFORE => rule.guard(Guard::Before),
            other => return Err(Why::Special(other)),
        };
        let when = |wanted: sp_bool, rule: Rule, with: fn(Rule) -> Rule| match wanted {
            0 => rule,
            _ => with(rule),
        };
        rule = when(self.canary, rule, Rule::canary);
        rule = when(self.track, rule, Rule::track);
        rule = when(self.quarantine, rule, Rule::quarantine);
        rule = when(self.irql, rule, Rule::irql);
        Ok(when(self.overwrite, rule, Rule::overwrite))
    }
}

/// Does the same with a pool's verifier, whatever the pool runs on.
macro_rules! with_verifier {
    ($pool:expr, $verifier:ident => $work:expr) => {
        match $pool {
            None => Err(Why::NullPool),
            Some(handle) => with_pool!(handle, pool => match pool.attached() {
                None => Err(Why::NoVerifier),
                Some($verifier) => Ok($work),
            }),
        }
    };
}

/// Writes what a call gave where the caller wants it; 0: it failed.
///
/// # Safety
/// `to` is NULL or may be written.
unsafe fn written<T>(made: Result<T, Why>, to: *mut T) -> sp_bool {
    let made = made.map(|made| {
        if !to.is_null() {
            // SAFETY: the caller's promise.
            unsafe { to.write(made) };
        }
        1
    });
    error::told(made, 0)
}

/// Gives the pool a verifier: special pool, pool tracking and low resources simulation, as Driver Verifier has them. What no
/// rule is for costs nothing. A pool has one until it ends: if it has one already, that stays, whatever the options. `options`
/// may be NULL. False: the pool is NULL, a bad size, or there is no address space. PASSIVE.
///
/// Over a range of the host's (`sp_options.range`) there are call stacks, quarantine and low resources alone: no bytes are
/// checked, and no pages protected.
///
/// # Safety
/// `pool` is NULL or a pool that lives; `options` is NULL or points to options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_verifier_attach(
    pool: *mut sp_pool,
    options: *const sp_verifier_options,
) -> sp_bool {
    // SAFETY: the caller's promise.
    let handle = unsafe { pool.as_ref() }.ok_or(Why::NullPool);
    let attached = handle.and_then(|handle| {
        let mut made = VerifierOptions::new();
        if !options.is_null() {
            // SAFETY: the caller's promise.
            let options = unsafe { versioned::read(options) }?;
            let when = |count, made, with: fn(VerifierOptions, u32) -> VerifierOptions| match count {
                0 => made,
                count => with(made, count),
            };
            made = when(options.notes, made, VerifierOptions::notes);
            made = when(options.stacks, made, VerifierOptions::stacks);
            made = when(options.quarantine, made, VerifierOptions::quarantine);
            made = when(options.freed, made, VerifierOptions::freed);
        }
        with_pool!(handle, pool => pool.verifier(made).map(drop)).map_err(Why::Verifier)
    });
    error::told(attached.map(|()| 1), 0)
}

/// Adds a rule, and returns its number. It holds for all allocations that begin afterwards. 0: the pool or the rule is NULL,
/// there is no verifier, a field is bad, the rule does nothing, there are 32 rules already, or another call changes rules.
/// PASSIVE.
///
/// # Safety
/// `pool` is NULL or a pool that lives; `rule` is NULL or a rule whose fields hold what their comments say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_verifier_add(pool: *mut sp_pool, rule: *const sp_rule) -> u64 {
    // SAFETY: the caller's promise.
    let handle = unsafe { pool.as_ref() }.ok_or(Why::NullPool);
    let added = handle.and_then(|handle| {
        // SAFETY: the caller's promise, twice.
        let rule = unsafe { versioned::read(rule)?.rule(handle)? };
        let added = with_verifier!(Some(handle), verifier => verifier.add(rule))?;
        added.map(RuleId::raw).map_err(Why::Verifier)
    });
    error::told(added, 0)
}

/// Verifies as a text says: one rule or more, with `;` between, each of words with spaces or commas between. The verifier is
/// attached if there is none yet, with default options. All rules are added, or none. False: `sp_last_error` names the word
/// that is wrong. PASSIVE.
///
///     tags=Vio* special=after; probability=600 after=1000
///
/// The words: adapter=any (the default); tags=Vio*; special, special=after or special=before; all; canary; track;
/// quarantine; irql; overwrite; probability=600; every=10; only=3; after=1000; once-per-stack; seed=7. `sp_rule` says what
/// each means; `all` is special, irql, and what comes with special.
///
/// # Safety
/// `pool` is NULL or a pool that lives; `rules` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_verify(pool: *mut sp_pool, rules: *const c_char) -> sp_bool {
    // SAFETY: the caller's promise.
    let handle = unsafe { pool.as_ref() }.ok_or(Why::NullPool);
    let verified = handle.and_then(|handle| {
        // SAFETY: the caller's promise.
        let rules = if rules.is_null() { c"" } else { unsafe { CStr::from_ptr(rules) } };
        let rules = from_utf8(rules.to_bytes()).map_err(|_| Why::RulesText)?;
        let verified: Result<(), VerifierError> = with_pool!(handle, pool => pool.verify(rules).map(drop));
        verified.map_err(Why::Verifier)
    });
    error::told(verified.map(|()| 1), 0)
}

/// Takes a rule away. Blocks that were allocated under it stay verified until they are freed. False: there is no such rule,
/// or another call changes rules. PASSIVE.
///
/// # Safety
/// `pool` is NULL or a pool that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_verifier_remove(pool: *mut sp_pool, rule: u64) -> sp_bool {
    // SAFETY: the caller's promise.
    let removed =
        with_verifier!(unsafe { pool.as_ref() }, verifier => verifier.remove(RuleId::from_raw(rule)));
    error::told(removed.and_then(|removed| removed.map(|()| 1).map_err(Why::Verifier)), 0)
}

/// What a rule has done. False: there is no such rule. PASSIVE.
///
/// # Safety
/// `pool` is NULL or a pool that lives; `counts` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_verifier_rule_counts(
    pool: *mut sp_pool,
    rule: u64,
    counts: *mut sp_rule_counts,
) -> sp_bool {
    // SAFETY: the caller's promise.
    let counted =
        with_verifier!(unsafe { pool.as_ref() }, verifier => verifier.counts(RuleId::from_raw(rule)));
    let counted = counted.and_then(|counted| counted.map_err(Why::Verifier));
    let counted = counted.map(|counted| sp_rule_counts { seen: counted.seen, refused: counted.refused });
    // SAFETY: the caller's promise.
    unsafe { written(counted, counts) }
}

/// Makes one in so many allocations a guarded one, of any adapter and tag; 0: none. At most `most` samples are guarded at once;
/// the others have a canary. `sp_verifier_tick` arms each. False: there is no verifier. PASSIVE.
///
/// # Safety
/// `pool` is NULL or a pool that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_verifier_sample(pool: *mut sp_pool, every: u64, most: u32) -> sp_bool {
    // SAFETY: the caller's promise.
    let set = with_verifier!(unsafe { pool.as_ref() }, verifier => verifier.sample(every, most));
    error::told(set.map(|()| 1), 0)
}

/// Arms a sample if it is time: whether one was. Call it from a timer, some ten times a second. IRQL <= DISPATCH_LEVEL, not from
/// a handler that interrupts the pool's calls. It says nothing to `sp_last_error`.
///
/// # Safety
/// `pool` is NULL or a pool that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_verifier_tick(pool: *mut sp_pool) -> sp_bool {
    // SAFETY: the caller's promise.
    let ticked = with_verifier!(unsafe { pool.as_ref() }, verifier => verifier.tick());
    ticked.unwrap_or(false).into()
}

/// Looks behind all live blocks with a canary, and at all that wait in the quarantine, which leave it. `swept` may be NULL.
/// False: there is no verifier. PASSIVE; walks the pool.
///
/// # Safety
/// `pool` is NULL or a pool that lives; `swept` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_verifier_sweep(pool: *mut sp_pool, swept: *mut sp_swept) -> sp_bool {
    // SAFETY: the caller's promise.
    let found = with_verifier!(unsafe { pool.as_ref() }, verifier => {
        let found = verifier.sweep();
        sp_swept { overrun: found.overrun, released: found.released, written: found.written }
    });
    // SAFETY: the caller's promise.
    unsafe { written(found, swept) }
}

/// What the pool's verifier has done. False: there is none. PASSIVE.
///
/// # Safety
/// `pool` is NULL or a pool that lives; `counts` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_verifier_stats(pool: *mut sp_pool, counts: *mut sp_verifier_counts) -> sp_bool {
    // SAFETY: the caller's promise.
    let done = with_verifier!(unsafe { pool.as_ref() }, verifier => {
        let done = verifier.stats();
        sp_verifier_counts {
            verified: done.verified,
            guarded: done.guarded,
            unguarded: done.unguarded,
            refused: done.refused,
            sampled: done.sampled,
            notes_left_out: done.notes_left_out,
            stacks_left_out: done.stacks_left_out,
        }
    });
    // SAFETY: the caller's promise.
    unsafe { written(done, counts) }
}

/// What a fault (an access that the processor refused) at this address means: a guard page beside a block, or a guarded block
/// that was freed. Calls `callback` with it, on this thread, and returns 1. 0: no guarded block is there, and none was. For a
/// host's fault handler: any IRQL, loads only. It is not counted, and says nothing to `sp_last_error`.
///
/// # Safety
/// `pool` is NULL or a pool that lives. `callback` may be called with `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_explain_fault(
    pool: *const sp_pool,
    address: u64,
    callback: sp_violation_callback,
    context: *mut c_void,
) -> sp_bool {
    // SAFETY: the caller's promise.
    let Some(handle) = (unsafe { pool.as_ref() }) else { return 0 };
    let Some(found) = with_pool!(handle, pool => pool.explain_fault(address)) else { return 0 };
    if let Some(callback) = callback {
        // SAFETY: the caller's promise.
        unsafe { violation::tell(handle, &found, callback, context) };
    }
    1
}

/// From now on, a fault at a guarded block of this pool is told to its violation callback, in the handler of SIGSEGV or SIGBUS,
/// before the process does what it would have done without: as a rule, it ends. Other faults go where they went. Until the
/// pool ends; for up to eight pools at once. The callback must then be fit for a signal handler: it may write and end the
/// process, it must not allocate or lock. False: the system refused the handler, or there are eight pools. PASSIVE.
///
/// # Safety
/// `pool` is NULL or a pool that lives. Nobody touches its range while it ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_explain_faults(pool: *mut sp_pool) -> sp_bool {
    // SAFETY: the caller's promise.
    let handle = unsafe { pool.as_ref() }.ok_or(Why::NullPool);
    let set = handle.and_then(|handle| {
        let set: Result<(), VerifierError> = match &handle.kind {
            // SAFETY: the pool lies in its handle until `sp_pool_destroy` drops it there, and the caller's promise.
            Kind::Native(pool) => unsafe { pool.explain_faults_in_place() },
            // SAFETY: as above.
            Kind::Portable(pool) => unsafe { pool.explain_faults_in_place() },
            // SAFETY: as above.
            Kind::Masked(pool) => unsafe { pool.explain_faults_in_place() },
        };
        set.map_err(Why::Verifier)
    });
    error::told(set.map(|()| 1), 0)
}
