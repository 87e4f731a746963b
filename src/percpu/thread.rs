//! The thread's own words: where its restartable sequences find their area, its IRQL, its slot in the portable twin, and
//! inside how many claims it is.
//!
//! On Linux x86-64 they are initial-exec thread-local storage, so that reading them is a load,
//! never an allocation, from a signal handler and in a shared library too.

use core::fmt;
use core::marker::PhantomData;

use static_assertions::assert_not_impl_any;

use crate::contract::irql::Irql;
use crate::percpu::platform::DISPATCH;
use crate::sync::{AtomicU32, Ordering, compiler_fence};

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod words {
    use super::{DISPATCH, Ordering};
    use crate::layout::config::MAX_CPUS;
    use crate::sync::{AtomicU32, AtomicU64};

    // The sections find their area at the symbol's own offset from the thread pointer plus the word
    // there. While that is 0, what is there stands in for the area (uapi linux/rseq.h): its
    // `cpu_id` is none, so all sections miss; arming one writes eight bytes that nobody reads. The
    // IRQL lies before it, so that one store changes both.
    core::arch::global_asm!(
        ".pushsection .tdata.storport_pool_thread, \"awT\", @progbits",
        ".balign 32",
        ".long 0", // the IRQL
        ".globl storport_pool_thread_0_1",
        ".hidden storport_pool_thread_0_1",
        ".type storport_pool_thread_0_1, @object",
        ".size storport_pool_thread_0_1, 24",
        "storport_pool_thread_0_1:",
        ".long 0",  // the area
        ".long -1", // the stand-in's cpu_id
        ".quad 0",  // the stand-in's rseq_cs
        ".long 0",  // the slot + 1
        ".long 0",  // inside how many claims
        ".popsection",
    );

    #[repr(C)]
    pub(super) struct Words {
        /// The IRQL below, the area above.
        state: AtomicU64,
        _stand_in: [AtomicU32; 3],
        pub(super) slot: AtomicU32,
        pub(super) depth: AtomicU32,
    }
    /// Where the words lie from the symbol.
    const WORDS: i32 = -4;
    /// Where the depth lies from the symbol.
    const DEPTH: i32 = 20;
    const _: () = assert!(core::mem::offset_of!(Words, depth) as i32 + WORDS == DEPTH);

    /// One claim more. Answers where the word lies, for `leave`: from the thread pointer to the symbol.
    #[inline(always)]
    pub(super) fn enter() -> usize {
        let symbol: usize;
        // SAFETY: changes the thread's own word, in one instruction, so that no handler comes in between.
        unsafe {
            core::arch::asm!(
                "mov {t}, qword ptr [rip + storport_pool_thread_0_1@gottpoff]",
                "inc dword ptr fs:[{t} + {DEPTH}]",
                t = out(reg) symbol,
                DEPTH = const DEPTH,
                options(nostack),
            );
        }
        symbol
    }

    /// One claim less.
    #[inline(always)]
    pub(super) fn leave(symbol: usize) {
        // SAFETY: as in `enter`, on the same thread.
        unsafe {
            core::arch::asm!(
                "dec dword ptr fs:[{t} + {DEPTH}]",
                t = in(reg) symbol,
                DEPTH = const DEPTH,
                options(nostack),
            );
        }
    }

    /// Where each thread's rseq area lies from the thread pointer; 0 = this process has none.
    static AREA: AtomicU64 = AtomicU64::new(0);

    /// Says where glibc keeps each thread's rseq area.
    pub(super) fn publish_area(offset: isize) {
        // ORDERING: Relaxed - a constant of the process.
        AREA.store(offset as u64, Ordering::Relaxed);
    }

    /// What the first word must be for the thread's sections to run at this level.
    fn area(irql: u32) -> u32 {
        // ORDERING: Relaxed - a constant of the process.
        let offset = AREA.load(Ordering::Relaxed) as isize;
        if offset == 0 || irql > DISPATCH {
            return 0;
        }
        let (cpu, own): (u32, isize);
        // SAFETY: reads `cpu_id` of the thread's own area, which glibc keeps for the thread's life,
        // and a constant of the linked program.
        unsafe {
            core::arch::asm!(
                "mov {cpu:e}, dword ptr fs:[{area} + 4]",
                "mov {own}, qword ptr [rip + storport_pool_thread_0_1@gottpoff]",
                area = in(reg) offset,
                cpu = out(reg) cpu,
                own = out(reg) own,
                options(nostack, preserves_flags, readonly),
            );
        }
        // Threads that are not registered have a number that no CPU has.
        if (cpu as usize) < MAX_CPUS { i32::try_from(offset - own).map_or(0, |word| word as u32) } else { 0 }
    }

    /// Whether the thread's sections run. Then its level allows it.
    pub(super) fn adopted(words: &Words) -> bool {
        // ORDERING: Relaxed - the thread's own word.
        words.state.load(Ordering::Relaxed) >> 32 != 0
    }

    /// Sets the level, and lets the thread's sections run, if they can at that level.
    pub(super) fn set(words: &Words, irql: u32) {
        // ORDERING: Relaxed - the thread's own word. A signal handler that comes before the store
        // leaves the word as it found it, but for an area that follows from the level.
        words.state.store(u64::from(area(irql)) << 32 | u64::from(irql), Ordering::Relaxed);
    }

    /// The level alone: two loads.
    #[inline(always)]
    pub(super) fn irql() -> u32 {
        let irql: u32;
        // SAFETY: reads the thread's own word.
        unsafe {
            core::arch::asm!(
                "mov {t}, qword ptr [rip + storport_pool_thread_0_1@gottpoff]",
                "mov {irql:e}, dword ptr fs:[{t} + {WORDS}]",
                t = out(reg) _,
                irql = lateout(reg) irql,
                WORDS = const WORDS,
                options(nostack, preserves_flags, readonly),
            );
        }
        irql
    }

    #[inline(always)]
    pub(super) fn with<R>(work: impl FnOnce(&Words) -> R) -> R {
        let words: *const Words;
        // SAFETY: computes the address of the thread's own words.
        unsafe {
            core::arch::asm!(
                "mov {t}, qword ptr [rip + storport_pool_thread_0_1@gottpoff]",
                "add {t}, qword ptr fs:[0]",
                "add {t}, {WORDS}",
                t = out(reg) words,
                WORDS = const WORDS,
                options(nostack, readonly),
            );
        }
        // SAFETY: the words live as long as the thread, which is at least as long as this call.
        work(unsafe { &*words })
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod words {
    use crate::sync::{AtomicU32, Ordering, compiler_fence};

    pub(super) struct Words {
        pub(super) irql: AtomicU32,
        pub(super) slot: AtomicU32,
        pub(super) depth: AtomicU32,
    }

    std::thread_local! {
        // Constant and without destructor: no lazy initialisation where the target has native TLS.
        static WORDS: Words = const {
            Words { irql: AtomicU32::new(0), slot: AtomicU32::new(0), depth: AtomicU32::new(0) }
        };
    }

    /// One claim more.
    #[inline(always)]
    pub(super) fn enter() {
        // ORDERING: Relaxed, twice - the thread's own word. A handler in between leaves it as it found it.
        with(|words| {
            words.depth.store(words.depth.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed)
        });
        // ORDERING: the claim stays behind it.
        compiler_fence(Ordering::SeqCst);
    }

    /// One claim less.
    #[inline(always)]
    pub(super) fn leave((): ()) {
        // ORDERING: as in `enter`; the claim stays before it.
        compiler_fence(Ordering::SeqCst);
        with(|words| {
            words.depth.store(words.depth.load(Ordering::Relaxed).wrapping_sub(1), Ordering::Relaxed)
        });
    }

    #[inline(always)]
    pub(super) fn with<R>(work: impl FnOnce(&Words) -> R) -> R {
        WORDS.with(work)
    }

    #[inline(always)]
    pub(super) fn irql() -> u32 {
        // ORDERING: Relaxed - the thread's own word.
        with(|words| words.irql.load(Ordering::Relaxed))
    }

    pub(super) fn set(words: &Words, irql: u32) {
        // ORDERING: Relaxed - the thread's own word.
        words.irql.store(irql, Ordering::Relaxed);
    }
}

/// The thread's IRQL.
#[inline(always)]
pub(crate) fn irql() -> u32 {
    words::irql()
}

/// Says where each thread's rseq area lies from the thread pointer.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) fn publish_area(offset: isize) {
    words::publish_area(offset);
}

/// Lets the thread's sections run, if the process has rseq and the thread's level allows it. Until a
/// thread has come here they miss, and so does each one above DISPATCH: the fast paths need no
/// compare with the level.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) fn adopt() {
    words::with(|words| {
        if !words::adopted(words) {
            words::set(words, irql());
        }
    });
}

/// The thread's slot: a number that the first call deals out, round robin.
pub(crate) fn slot() -> u32 {
    static DEALT: AtomicU32 = AtomicU32::new(0);
    words::with(|words| {
        // ORDERING: Relaxed - the thread's own word, and a counter. A signal handler may deal
        // another one in between: harmless, it is a hint.
        match words.slot.load(Ordering::Relaxed) {
            0 => {
                let slot = DEALT.fetch_add(1, Ordering::Relaxed);
                words.slot.store(slot.wrapping_add(1), Ordering::Relaxed);
                slot
            }
            slot => slot - 1,
        }
    })
}

/// While it lives, the thread is inside one claim more.
pub(crate) struct Depth {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    words: usize,
    #[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
    words: (),
    _not_send: PhantomData<*mut ()>,
}

// It counts on the thread that made it.
assert_not_impl_any!(Depth: Send, Sync);

impl Depth {
    #[inline(always)]
    pub(crate) fn enter() -> Depth {
        Depth { words: words::enter(), _not_send: PhantomData }
    }

    /// Inside how many claims the thread is.
    pub(crate) fn now() -> u32 {
        // ORDERING: Relaxed - the thread's own word.
        words::with(|words| words.depth.load(Ordering::Relaxed))
    }
}

impl Drop for Depth {
    #[inline(always)]
    fn drop(&mut self) {
        words::leave(self.words);
    }
}

impl Irql {
    /// The calling thread's level: what [`raise`](Irql::raise) made it, else [`PASSIVE`](Irql::PASSIVE). Feature `std`.
    /// A load; a signal handler may call it.
    ///
    /// ```
    /// use storport_pool::Irql;
    /// assert_eq!(Irql::current(), Irql::PASSIVE);
    /// {
    ///     let _interrupt = Irql::raise(Irql::DEVICE);
    ///     assert_eq!(Irql::current(), Irql::DEVICE);
    /// }
    /// assert_eq!(Irql::current(), Irql::PASSIVE);
    /// ```
    #[must_use]
    pub fn current() -> Irql {
        Irql::new(irql() as u8).unwrap_or(Irql::HIGH)
    }

    /// Raises the calling thread's level until the guard is dropped. The guard restores the level that was found here.
    /// As `KeRaiseIrql`, it never lowers: the higher of both levels counts. No loop; a signal handler may call it.
    ///
    /// Drop guards in the reverse order of their making. A signal handler that raises and lowers leaves the interrupted
    /// code's level as it was. [`current`](Irql::current) has an example.
    pub fn raise(to: Irql) -> IrqlGuard {
        let before = Irql::current();
        set(before.max(to));
        IrqlGuard { before, _not_send: PhantomData }
    }
}

impl Irql {
    /// Lowers the calling thread's level, as `KeLowerIrql` does. It is for hosts that cannot keep
    /// [`raise`](Irql::raise)'s guard. A level above the present one changes nothing. No loop; a signal handler may
    /// call it.
    ///
    /// ```
    /// use storport_pool::Irql;
    /// std::mem::forget(Irql::raise(Irql::DISPATCH)); // KeRaiseIrql
    /// Irql::lower(Irql::PASSIVE); // KeLowerIrql
    /// assert_eq!(Irql::current(), Irql::PASSIVE);
    /// ```
    pub fn lower(to: Irql) {
        set(Irql::current().min(to));
    }
}

fn set(level: Irql) {
    words::with(|words| {
        // Only this thread and its signal handlers read the word.
        // ORDERING: compiler fences, so that code around the change stays on its side.
        compiler_fence(Ordering::SeqCst);
        words::set(words, level.level().into());
        compiler_fence(Ordering::SeqCst);
    });
}

/// Restores the thread's IRQL when dropped. [`Irql::raise`] returns it. [`Irql::current`] has an example.
#[must_use = "the level is lowered when the guard is dropped"]
pub struct IrqlGuard {
    before: Irql,
    _not_send: PhantomData<*mut ()>,
}

// It restores the level of the thread that made it.
assert_not_impl_any!(IrqlGuard: Send, Sync);

impl Drop for IrqlGuard {
    fn drop(&mut self) {
        set(self.before);
    }
}

impl fmt::Debug for IrqlGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IrqlGuard {{ restores: {} }}", self.before)
    }
}
