//! The verifier: where its tables lie, and how the pool finds it.

use core::ptr::NonNull;

use super::ring::Ring;
use super::tables::{NoteSlot, RULES, RefusalSlot, RuleSlot, StackSlot};
use crate::contract::verify::host::VerifierHost;
use crate::contract::verify::options::{LARGEST_HEADER, VerifierOptions};
use crate::contract::verify::rule::checks;
use crate::contract::verify::stack::{CallStack, StackKind};
use crate::contract::violation::Violation;
use crate::layout::block::BlockId;
use crate::layout::meta::Meta;
use crate::layout::state::State;
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// What a pool's verifier has, at the beginning of its memory. Fields without an atomic type are immutable.
pub(crate) struct Verifier {
    host: &'static dyn VerifierHost,
    notes: NonNull<[NoteSlot]>,
    stacks: NonNull<[StackSlot]>,
    quarantine: NonNull<[AtomicU64]>,
    freed: NonNull<[AtomicU64]>,
    /// By account: what it had counted when the sampler looked last.
    last: NonNull<[AtomicU64]>,
    /// What the routines do for it: a table by platform, as `routines::ways` has it.
    pub(crate) ways: *const (),
    /// Says where a block with this state was allocated, and freed.
    pub(crate) describe: fn(&Verifier, BlockId, State, &mut Violation),
    /// Gives back what the verifier was made of, itself included.
    pub(crate) release: Option<unsafe fn(NonNull<Verifier>)>,
    pub(crate) rules: [RuleSlot; RULES],
    /// Try-claim of whoever changes rules or samples.
    pub(crate) claim: AtomicU32,
    pub(crate) sampling: Sampling,
    pub(crate) counters: Counters,
    /// Where the next refusal is noted; null: nowhere.
    pub(super) refusal: AtomicPtr<RefusalSlot>,
    next_in_quarantine: AtomicU64,
    next_freed: AtomicU64,
    /// A `TraceRing` that lives for ever, or null. Written by whoever begins and ends a recording.
    pub(super) ring: AtomicPtr<()>,
    /// The host's clock when the recording began. Written before the ring is set.
    pub(crate) began: AtomicU64,
}

/// Written by the sampler under the claim, `armed` by whoever takes the sample, too.
pub(crate) struct Sampling {
    /// One in so many allocations at most; 0: none.
    pub(crate) every: AtomicU64,
    /// Guarded samples that may live at once.
    pub(crate) most: AtomicU64,
    /// Minus the account's index whose next allocation is a sample; 0: none.
    pub(crate) armed: AtomicU64,
    /// Allocations, in all, when a sample was armed last.
    pub(crate) at: AtomicU64,
    /// Samples taken.
    pub(crate) taken: AtomicU64,
}

/// Statistics, by `fetch_add`.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) tickets: AtomicU64,
    pub(crate) verified: AtomicU64,
    pub(crate) guarded: AtomicU64,
    pub(crate) unguarded: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) notes_left_out: AtomicU64,
    pub(crate) stacks_left_out: AtomicU64,
    /// Runs whose pages are not all accessible; by `fetch_sub`, too.
    pub(crate) guarded_live: AtomicU64,
}

const _: () = assert!(size_of::<Verifier>() <= LARGEST_HEADER || cfg!(storport_pool_loom));
const _: () = assert!(size_of::<StackSlot>() == 208 || cfg!(storport_pool_loom));
const _: () = assert!(size_of::<NoteSlot>() == 32 || cfg!(storport_pool_loom));

// SAFETY: the tables are atomics, and live as long as the verifier; the host is Sync, and the table of ways is constant.
unsafe impl Sync for Verifier {}

/// A table's memory, cut off what is left.
///
/// # Safety
/// So many zeroed values lie behind `at`, aligned as they must be, and are nobody else's.
#[cfg(not(storport_pool_loom))]
unsafe fn table<T>(at: &mut NonNull<u8>, count: usize) -> NonNull<[T]> {
    let start = at.cast::<T>();
    // SAFETY: inside the memory, by the caller's promise.
    *at = unsafe { at.byte_add(count * size_of::<T>()) };
    NonNull::slice_from_raw_parts(start, count)
}

impl Verifier {
    /// Makes a verifier.
    ///
    /// # Safety
    /// The memory is zeroed, aligned to 4096, as long as the options say for so many accounts, and nobody else's as long as
    /// the verifier is used.
    #[cfg(not(storport_pool_loom))]
    pub(crate) unsafe fn make(
        memory: NonNull<u8>,
        options: &VerifierOptions,
        accounts: u32,
        host: &'static dyn VerifierHost,
        ways: *const (),
        release: Option<unsafe fn(NonNull<Verifier>)>,
    ) -> NonNull<Verifier> {
        // SAFETY: the caller's promise, here and for all tables: `VerifierOptions::bytes` is their sum.
        let mut at = unsafe { memory.byte_add(LARGEST_HEADER) };
        let verifier = memory.cast::<Verifier>();
        // SAFETY: as above; zeroed atomics are atomics.
        unsafe {
            let made = Verifier {
                host,
                notes: table(&mut at, options.notes as usize),
                stacks: table(&mut at, options.stacks as usize),
                quarantine: table(&mut at, options.quarantine as usize),
                freed: table(&mut at, options.freed as usize),
                last: table(&mut at, accounts as usize),
                ways,
                describe: Verifier::describe_block,
                release,
                rules: core::array::from_fn(|_| RuleSlot::new()),
                claim: AtomicU32::new(0),
                sampling: Sampling {
                    every: AtomicU64::new(0),
                    most: AtomicU64::new(0),
                    armed: AtomicU64::new(0),
                    at: AtomicU64::new(0),
                    taken: AtomicU64::new(0),
                },
                counters: Counters::default(),
                refusal: AtomicPtr::new(core::ptr::null_mut()),
                next_in_quarantine: AtomicU64::new(0),
                next_freed: AtomicU64::new(0),
                ring: AtomicPtr::new(core::ptr::null_mut()),
                began: AtomicU64::new(0),
            };
            verifier.write(made);
        }
        verifier
    }

    fn describe_block(&self, block: BlockId, state: State, violation: &mut Violation) {
        let note = self.note_of(block, state);
        if note.is_some_and(|note| note.checks & checks::TRACK != 0) {
            violation.called = self.stack(self.take_stack());
        }
        let forgotten = CallStack::none(StackKind::Forgotten);
        violation.allocated = note.map_or(forgotten, |note| self.stack(note.allocated));
        violation.freed = note.map_or(forgotten, |note| self.stack(note.freed));
    }

    pub(crate) fn host(&self) -> &'static dyn VerifierHost {
        self.host
    }

    pub(crate) fn notes(&self) -> &[NoteSlot] {
        // SAFETY: the table lies in the verifier's memory, and holds atomics (as for the others).
        unsafe { self.notes.as_ref() }
    }

    pub(crate) fn stacks(&self) -> &[StackSlot] {
        // SAFETY: as for `notes`.
        unsafe { self.stacks.as_ref() }
    }

    pub(crate) fn last(&self) -> &[AtomicU64] {
        // SAFETY: as for `notes`.
        unsafe { self.last.as_ref() }
    }

    /// Freed blocks that wait.
    pub(crate) fn quarantine(&self) -> Ring<'_> {
        // SAFETY: as for `notes`.
        Ring { next: &self.next_in_quarantine, places: unsafe { self.quarantine.as_ref() } }
    }

    /// Freed blocks that are noted, and may have other owners by now.
    pub(crate) fn freed(&self) -> Ring<'_> {
        // SAFETY: as for `notes`.
        Ring { next: &self.next_freed, places: unsafe { self.freed.as_ref() } }
    }
}

impl Meta {
    /// The pool's verifier, if it has one: for ever, once it has.
    #[inline]
    pub(crate) fn verifier(&self) -> Option<&Verifier> {
        // ORDERING: Acquire - the verifier; pairs with the Release of whoever attached it.
        let verifier = self.control().verifier.load(Ordering::Acquire);
        // SAFETY: what is published lives as long as the pool.
        unsafe { verifier.cast::<Verifier>().as_ref() }
    }
}
