//! A run's page: what it writes while it goes on, in memory that a child process shares with its parent.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

use crate::contract::tag::PoolTag;
use crate::contract::verify::stack::CallStack;
use crate::contract::violation::{Violation, ViolationKind};
use crate::sync::{AtomicU32, Ordering};
use crate::verify::tables::RefusalSlot;

/// Rows of leaks that are kept.
pub(crate) const ROWS: usize = 32;
/// Violations that are kept.
pub(crate) const HEARD: usize = 8;
/// Bytes of what a panic said.
pub(crate) const SAID: usize = 240;

/// Zeroed, it is one on which nothing is written.
pub(crate) struct Page {
    pub(crate) refusal: RefusalSlot,
    /// Whoever writes a violation; nobody waits for it.
    busy: AtomicU32,
    /// Violations that are written.
    heard: AtomicU32,
    violations: UnsafeCell<[MaybeUninit<Violation>; HEARD]>,
    /// Whether the work began.
    begun: AtomicU32,
    /// Whether `end` is written.
    ended: AtomicU32,
    end: UnsafeCell<MaybeUninit<Ended>>,
}

// SAFETY: a violation is written under `busy` and read below `heard`; `end` is written once a run, by who runs it.
unsafe impl Sync for Page {}
// SAFETY: all of it is plain data.
unsafe impl Send for Page {}

/// What a run that came to its end writes last.
#[derive(Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) allocations: u64,
    pub(crate) violations: u64,
    pub(crate) unknown: u64,
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
    pub(crate) rows: u32,
    pub(crate) leaks: [Row; ROWS],
    /// Whether it panicked, and how much it said.
    pub(crate) panicked: bool,
    pub(crate) len: u32,
    pub(crate) said: [u8; SAID],
}

/// Some blocks that are left.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) tag: Option<PoolTag>,
    pub(crate) bytes: u32,
    pub(crate) blocks: u64,
    pub(crate) allocated: CallStack,
}

impl Page {
    pub(crate) const fn new() -> Page {
        Page {
            refusal: RefusalSlot::new(),
            busy: AtomicU32::new(0),
            heard: AtomicU32::new(0),
            violations: UnsafeCell::new([const { MaybeUninit::uninit() }; HEARD]),
            begun: AtomicU32::new(0),
            ended: AtomicU32::new(0),
            end: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    fn try_claim(&self) -> bool {
        // ORDERING: Acquire - the violations of whoever had it; pairs with the Release where it is left.
        self.busy.swap(1, Ordering::Acquire) == 0
    }

    /// Keeps a violation, while there is room, and nobody else is doing so. Any thread, any IRQL; never waits.
    pub(crate) fn hear(&self, violation: &Violation) {
        // It is nobody's misuse, and not counted as one.
        if violation.kind == ViolationKind::FenceRefused || !self.try_claim() {
            return;
        }
        // ORDERING: Relaxed - written under the claim alone.
        let count = self.heard.load(Ordering::Relaxed);
        if (count as usize) < HEARD {
            // SAFETY: under the claim, and nobody reads from `heard` on.
            unsafe { (*self.violations.get())[count as usize].write(*violation) };
            // ORDERING: Release - the violation; pairs with the Acquire in `violations`.
            self.heard.store(count + 1, Ordering::Release);
        }
        // ORDERING: Release - pairs with the Acquire in `try_claim`.
        self.busy.store(0, Ordering::Release);
    }

    /// Those that are kept, in their order.
    pub(crate) fn violations(&self) -> impl Iterator<Item = Violation> {
        // ORDERING: Acquire - the violations; pairs with the Release in `hear`.
        let count = self.heard.load(Ordering::Acquire) as usize;
        // SAFETY: what lies below `heard` is written, and stays as it is until `clear`, which the caller's thread calls.
        (0..count.min(HEARD)).map(|n| unsafe { (*self.violations.get())[n].assume_init() })
    }

    /// Nothing is written any more. The thread that makes the runs, between two.
    pub(crate) fn clear(&self) {
        self.refusal.wait_for(None);
        // Whoever has it is writing one violation, on another thread.
        while !self.try_claim() {
            std::thread::yield_now();
        }
        // ORDERING: Relaxed, all - as in `hear`, and the caller's own words. Release: as there.
        self.heard.store(0, Ordering::Relaxed);
        self.begun.store(0, Ordering::Relaxed);
        self.ended.store(0, Ordering::Relaxed);
        self.busy.store(0, Ordering::Release);
    }

    /// The work begins. Whoever makes the run.
    pub(crate) fn begin(&self) {
        // ORDERING: Relaxed - read behind the end of the process that wrote it.
        self.begun.store(1, Ordering::Relaxed);
    }

    /// Whether it began.
    pub(crate) fn begun(&self) -> bool {
        // ORDERING: Relaxed - as above.
        self.begun.load(Ordering::Relaxed) == 1
    }

    /// Writes the end. Whoever makes the run.
    pub(crate) fn finish(&self, end: &Ended) {
        // SAFETY: once a run, and read behind `ended` alone.
        unsafe { (*self.end.get()).write(*end) };
        // ORDERING: Release - the end; pairs with the Acquire in `end`.
        self.ended.store(1, Ordering::Release);
    }

    /// The end, if the run came there.
    pub(crate) fn end(&self) -> Option<&Ended> {
        // ORDERING: Acquire - pairs with the Release in `finish`.
        let ended = self.ended.load(Ordering::Acquire) == 1;
        // SAFETY: it is written, and stays until the next run of the caller's.
        ended.then(|| unsafe { (*self.end.get()).assume_init_ref() })
    }
}
