//! The interrupt flag: off, and back to what it was.
//!
//! The assembler code here says nothing of memory (no `nomem`), so the compiler moves no load or store over it. That is
//! what keeps a section between the two calls. It does not say `nostack` where it pushes, so the compiler keeps the
//! red zone out of its way. For another kernel: `local_irq_save` and `local_irq_restore`, or their like.

use core::arch::asm;

const INTERRUPTS: u64 = 1 << 9;

/// Switches interrupts off on this CPU. Whether they were on.
#[inline(always)]
pub fn off() -> bool {
    let flags: u64;
    // SAFETY: it keeps interrupts out, which harms nobody.
    unsafe { asm!("pushfq", "pop {}", "cli", out(reg) flags, options(preserves_flags)) };
    flags & INTERRUPTS != 0
}

/// Switches interrupts on again, if they were on.
#[inline(always)]
pub fn restore(were_on: bool) {
    if were_on {
        on();
    }
}

/// Switches interrupts on.
#[inline(always)]
pub fn on() {
    // SAFETY: the interrupt table is loaded before anybody calls this, and handlers may come at any time.
    unsafe { asm!("sti", options(nostack, preserves_flags)) };
}

/// Sleeps until an interrupt comes, unless `work` is there. Nothing comes between the look and the sleep: `sti` lets
/// interrupts in only after the next instruction.
pub fn sleep_unless(work: impl Fn() -> bool) {
    off();
    if work() {
        on();
    } else {
        // SAFETY: as in `on`.
        unsafe { asm!("sti", "hlt", options(nostack, preserves_flags)) };
    }
}

/// Stops this CPU for good.
pub fn stop() -> ! {
    loop {
        // SAFETY: nothing runs here any more.
        unsafe { asm!("cli", "hlt", options(nostack, preserves_flags)) };
    }
}
