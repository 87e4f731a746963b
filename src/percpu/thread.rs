//! The thread's own words: its IRQL, its slot in the portable twin, and eight bytes of scratch.
//!
//! On Linux x86-64 they are initial-exec thread-local storage, so that reading them is a load,
//! never an allocation, from a signal handler and in a shared library too.

use core::fmt;
use core::marker::PhantomData;

use crate::Irql;
use crate::sync::{AtomicU32, Ordering, compiler_fence};

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod words {
    use crate::sync::AtomicU32;

    core::arch::global_asm!(
        ".pushsection .tbss.storport_pool_thread, \"awT\", @nobits",
        ".balign 8",
        ".globl storport_pool_thread_0_1",
        ".hidden storport_pool_thread_0_1",
        ".type storport_pool_thread_0_1, @object",
        ".size storport_pool_thread_0_1, 16",
        "storport_pool_thread_0_1:",
        ".zero 16",
        ".popsection",
    );

    /// Where the words lie from the thread pointer.
    pub(super) fn offset() -> isize {
        let offset: isize;
        // SAFETY: reads a constant of the linked program.
        unsafe {
            core::arch::asm!(
                "mov {t}, qword ptr [rip + storport_pool_thread_0_1@gottpoff]",
                t = out(reg) offset,
                options(nostack, preserves_flags, readonly),
            );
        }
        offset
    }

    /// The level alone: three instructions.
    #[inline(always)]
    pub(super) fn irql() -> u32 {
        let irql: u32;
        // SAFETY: reads the thread's own word.
        unsafe {
            core::arch::asm!(
                "mov {t}, qword ptr [rip + storport_pool_thread_0_1@gottpoff]",
                "mov {irql:e}, dword ptr fs:[{t}]",
                t = out(reg) _,
                irql = lateout(reg) irql,
                options(nostack, preserves_flags, readonly),
            );
        }
        irql
    }

    /// Whether it is above DISPATCH: the same with the compare folded in.
    #[inline(always)]
    pub(super) fn above_dispatch() -> bool {
        // SAFETY: reads the thread's own word.
        unsafe {
            core::arch::asm!(
                "mov {t}, qword ptr [rip + storport_pool_thread_0_1@gottpoff]",
                "cmp dword ptr fs:[{t}], 2",
                "ja {above}",
                t = out(reg) _,
                above = label { return true },
                options(nostack, readonly),
            );
        }
        false
    }

    #[inline(always)]
    pub(super) fn with<R>(work: impl FnOnce(&[AtomicU32; 2]) -> R) -> R {
        let words: *const [AtomicU32; 2];
        // SAFETY: computes the address of the thread's own words.
        unsafe {
            core::arch::asm!(
                "mov {t}, qword ptr [rip + storport_pool_thread_0_1@gottpoff]",
                "add {t}, qword ptr fs:[0]",
                t = out(reg) words,
                options(nostack, readonly),
            );
        }
        // SAFETY: the words live as long as the thread, which is at least as long as this call.
        work(unsafe { &*words })
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod words {
    use crate::sync::AtomicU32;

    std::thread_local! {
        // Constant and without destructor: no lazy initialisation where the target has native TLS.
        static WORDS: [AtomicU32; 2] = const { [AtomicU32::new(0), AtomicU32::new(0)] };
    }

    #[inline(always)]
    pub(super) fn with<R>(work: impl FnOnce(&[AtomicU32; 2]) -> R) -> R {
        WORDS.with(work)
    }

    #[inline(always)]
    pub(super) fn above_dispatch() -> bool {
        irql() > 2
    }

    #[inline(always)]
    pub(super) fn irql() -> u32 {
        // ORDERING: Relaxed - the thread's own word.
        with(|words| words[0].load(crate::sync::Ordering::Relaxed))
    }
}

/// The thread's IRQL.
#[inline(always)]
pub(crate) fn irql() -> u32 {
    words::irql()
}

/// Where the words lie from the thread pointer. They stand in for the rseq area where there is none:
/// the sections then find the slot for a CPU number, and arm eight bytes that nobody reads.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) fn offset() -> isize {
    words::offset()
}

/// Whether the thread's IRQL is above DISPATCH.
#[inline(always)]
pub(crate) fn above_dispatch() -> bool {
    words::above_dispatch()
}

/// The thread's slot: a number that the first call deals out, round robin.
pub(crate) fn slot() -> u32 {
    static DEALT: AtomicU32 = AtomicU32::new(0);
    words::with(|words| {
        // ORDERING: Relaxed - the thread's own word, and a counter. A signal handler may deal
        // another one in between: harmless, it is a hint.
        match words[1].load(Ordering::Relaxed) {
            0 => {
                let slot = DEALT.fetch_add(1, Ordering::Relaxed);
                words[1].store(slot.wrapping_add(1), Ordering::Relaxed);
                slot
            }
            slot => slot - 1,
        }
    })
}

impl Irql {
    /// The calling thread's level on std: what [`raise`](Irql::raise) made it, else
    /// [`PASSIVE`](Irql::PASSIVE). A load; may be called from a signal handler.
    #[must_use]
    pub fn current() -> Irql {
        Irql::new(irql() as u8).unwrap_or(Irql::HIGH)
    }

    /// Raises the calling thread's level until the guard is dropped, which restores the level
    /// found here. As `KeRaiseIrql`, it does not lower: the higher of both levels counts.
    ///
    /// Guards are dropped in the reverse order of their making. A signal handler that raises and
    /// lowers leaves the interrupted code's level as it was.
    pub fn raise(to: Irql) -> IrqlGuard {
        let before = Irql::current();
        set(before.max(to));
        IrqlGuard { before, _not_send: PhantomData }
    }
}

fn set(level: Irql) {
    words::with(|words| {
        // Only this thread and its signal handlers read the word.
        // ORDERING: compiler fences, so that code around the change stays on its side.
        compiler_fence(Ordering::SeqCst);
        words[0].store(u32::from(level.level()), Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
    });
}

/// Restores the thread's IRQL when dropped.
#[must_use = "the level is lowered when the guard is dropped"]
pub struct IrqlGuard {
    before: Irql,
    _not_send: PhantomData<*mut ()>,
}

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
