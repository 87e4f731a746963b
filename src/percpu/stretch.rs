//! The steps of the sections, made long, so that preemptions, migrations and signals hit each of them.
//!
//! Under `--cfg storport_pool_stretch` only; else these macros leave the instructions as they are. Then
//! each section also looks twice which CPU it runs on, and counts its aborts. All of it keeps the flags,
//! by which an abort tells how far the section came.

/// The steps of a section, which semicolons end, each after a while.
macro_rules! steps {
    ($($($part:expr),+);+ $(;)?) => { concat!($(wait!(), $($part),+, "\n"),+) };
}

#[cfg(not(storport_pool_stretch))]
#[macro_use]
#[rustfmt::skip]
mod as_is {
    macro_rules! wait { () => { "" }; }
    macro_rules! look_again { ($what:ident $register:literal) => { "" }; }
    macro_rules! count_abort { () => { "" }; }
    /// A section's instructions and operands. The name is that of the counter of its aborts.
    macro_rules! section {
        ($aborts:ident, $($asm:tt)*) => { core::arch::asm!($($asm)* options(nostack)) };
    }
}

#[cfg(storport_pool_stretch)]
#[macro_use]
#[rustfmt::skip]
mod stretched {
    /// Part of a microsecond.
    macro_rules! wait {
        () => { ".rept 4\npause\n.endr\n" };
    }

    /// Ends the process (SIGILL) if the CPU's number or block in a register is not that of the CPU we run on:
    /// then a section went on that should have been aborted. Leaves the flags "equal".
    macro_rules! look_again {
        (cpu $register:literal) => { look_again!($register, "r8d") };
        (block $register:literal) => { look_again!($register, "qword ptr [{base} + r8 * 8 + {BLOCKS}]") };
        ($register:literal, $now:literal) => {
            concat!(
                "mov r8, qword ptr [rip + storport_pool_thread_0_1@gottpoff]\n",
                "movsxd r9, dword ptr fs:[r8]\n",
                "movsxd r8, dword ptr fs:[r9 + r8 + 4]\n",
                "cmp ", $register, ", ", $now, "\n",
                "je 21f\n",
                "ud2\n",
                "21:\n",
            )
        };
    }

    /// Counts roughly: two threads may count as one.
    macro_rules! count_abort {
        () => {
            concat!(
                "mov r8, qword ptr [rip + {aborts}]\n",
                "lea r8, [r8 + 1]\n",
                "mov qword ptr [rip + {aborts}], r8\n",
            )
        };
    }

    macro_rules! section {
        ($aborts:ident, $($asm:tt)*) => {
            core::arch::asm!(
                $($asm)*
                aborts = sym super::stretch::aborted::$aborts,
                out("r8") _,
                out("r9") _,
                options(nostack),
            )
        };
    }
}

/// How often each section was aborted.
#[cfg(storport_pool_stretch)]
pub(crate) mod aborted {
    use crate::sync::AtomicU64;

    pub(crate) static FREE: AtomicU64 = AtomicU64::new(0);
    pub(crate) static ALLOCATE: AtomicU64 = AtomicU64::new(0);
    pub(crate) static PUSH: AtomicU64 = AtomicU64::new(0);
    pub(crate) static POP: AtomicU64 = AtomicU64::new(0);
    pub(crate) static EXCHANGE: AtomicU64 = AtomicU64::new(0);
    pub(crate) static FREE_RUN: AtomicU64 = AtomicU64::new(0);
    pub(crate) static POP_MANY: AtomicU64 = AtomicU64::new(0);
}

/// The sections' names, and how often each was aborted so far.
#[cfg(storport_pool_stretch)]
#[must_use]
pub fn aborts() -> [(&'static str, u64); 7] {
    use crate::sync::Ordering;
    // ORDERING: Relaxed - counters of a test.
    [
        ("free", aborted::FREE.load(Ordering::Relaxed)),
        ("allocate", aborted::ALLOCATE.load(Ordering::Relaxed)),
        ("push", aborted::PUSH.load(Ordering::Relaxed)),
        ("pop", aborted::POP.load(Ordering::Relaxed)),
        ("exchange", aborted::EXCHANGE.load(Ordering::Relaxed)),
        ("free run", aborted::FREE_RUN.load(Ordering::Relaxed)),
        ("pop many", aborted::POP_MANY.load(Ordering::Relaxed)),
    ]
}
