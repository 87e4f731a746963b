//! What the pool asks of a kernel: the CPU's number, the IRQL, sections without interrupts, and a fence of them.
//!
//! This is the file to copy. For another kernel: `cpu::number`, `irql::current`, `flags::off` and `restore` become its
//! own, and `fence` its call of a function on another CPU, if that answers while it waits.
//!
//! The fence's argument. The pool asks: has every section that began on that CPU before now ended? The CPU answers when
//! it can take an interrupt, or when it waits in a fence itself. At neither time is a section under way on it, since
//! sections run with interrupts off and do not wait.

use core::hint::spin_loop;
use core::sync::atomic::{AtomicU64, Ordering};

use storport_pool::{Host, Irql, MaskInterrupts};

use crate::cpu::MOST_CPUS;
use crate::{apic, cpu, flags, interrupts, irql};

/// This machine, as the pool sees it.
pub struct Machine;

impl Host for Machine {
    #[inline(always)]
    fn cpu(&self) -> u32 {
        cpu::number()
    }

    #[inline(always)]
    fn irql(&self) -> Irql {
        irql::current()
    }
}

/// A CPU's fences: how many were asked of it, and how many of these it has answered.
#[repr(align(64))]
struct Fences {
    asked: AtomicU64,
    answered: AtomicU64,
}

static FENCES: [Fences; MOST_CPUS] =
    [const { Fences { asked: AtomicU64::new(0), answered: AtomicU64::new(0) } }; MOST_CPUS];

// SAFETY: a thread never leaves its CPU, and CPUs have numbers of their own. With the flag off no interrupt comes, of
// any level, the fence's included. `fence` returns when the CPU has answered a request that was made after the call, or
// when no section can be under way on it. (Not so with the features `no-mask` and `no-fence`, which are there to be
// found wrong.)
unsafe impl MaskInterrupts for Machine {
    /// Whether interrupts were on.
    type State = bool;

    /// To raise to DISPATCH would not do here. The timer's handler calls the pool at the level that it found; and the
    /// fence's interrupt is of level 14, so it would be answered in the middle of a section.
    #[inline(always)]
    fn mask(&self) -> bool {
        if cfg!(feature = "no-mask") { false } else { flags::off() }
    }

    #[inline(always)]
    fn unmask(&self, were_on: bool) {
        flags::restore(were_on);
    }

    /// Interrupts may be off here: in an allocation of a caller that has them off. So we answer by ourselves while we
    /// wait, or two such CPUs would wait for each other for ever. (A CPU that waits with interrupts off for something
    /// else, such as a spinlock, must do the same, or the holder of the lock must not allocate.)
    fn fence(&self, on: u32) {
        // Ourselves: we are called outside of sections. What our sections wrote we see, and they see what we wrote.
        // A CPU that is off, or has not begun: no section is under way on it, and `cpu::come_online` sees to those
        // that come later. The pool asks for all numbers that it was made for, so this is usual. One that sleeps is
        // online: it sleeps with interrupts on, and the request wakes it.
        if cfg!(feature = "no-fence") || on == cpu::number() || !cpu::is_online(on) {
            return;
        }
        let fences = &FENCES[on as usize];
        // ORDERING: Release - what the pool wrote before is seen by the sections that begin after the answer; pairs with
        // the Acquire in `answer`. That reads the last of several requests; each is a read-modify-write, so it is
        // ordered behind all of them.
        let ours = fences.asked.fetch_add(1, Ordering::Release) + 1;
        // Interrupts that come close together may come as one. So a number says what was answered, and no one counts
        // interrupts.
        apic::send(on, interrupts::FENCE);
        // ORDERING: Acquire - what that CPU's sections wrote; pairs with the Release in `answer`.
        while fences.answered.load(Ordering::Acquire) < ours {
            if !cpu::is_online(on) {
                return; // It went off since; its last section had ended.
            }
            answer();
            spin_loop();
        }
    }
}

/// Answers all requests to this CPU. Called outside of sections: by the fence's interrupt, by whoever waits, and by a CPU
/// that comes online: what was asked of it before may have got lost with the interrupt.
///
/// With interrupts off: threads of this kernel never move, but where they do, one that waits could move between the CPU's
/// number and the answer, and answer for a CPU on which a section is under way.
pub fn answer() {
    let were_on = flags::off();
    let fences = &FENCES[cpu::number() as usize];
    // ORDERING: Acquire - what the asking CPUs wrote; pairs with the Release in `fence`.
    let asked = fences.asked.load(Ordering::Acquire);
    // The interrupt may come between the load and this, in a waiter, and answer a later request. A store would take
    // that answer back, and its CPU would wait for ever. So the number only grows.
    // ORDERING: Release - what our sections wrote; pairs with the Acquire in `fence`.
    fences.answered.fetch_max(asked, Ordering::Release);
    flags::restore(were_on);
}
