//! The IRQL: the task priority of the local APIC, which is the register CR8.
//!
//! At level n no interrupt comes whose vector is below 16 (n + 1). So vectors are chosen by level: see `interrupts.rs`.
//! The processor does not raise CR8 when an interrupt comes; handlers do. As in `flags.rs`, the compiler moves no load
//! or store over these instructions. For another kernel: `KeRaiseIrql` and `KeLowerIrql`. A kernel without levels
//! answers `Irql::DISPATCH` where it must not sleep, and `Irql::DEVICE` where the pool is forbidden.

use core::arch::asm;

use storport_pool::Irql;

/// The level of this CPU.
#[inline(always)]
pub fn current() -> Irql {
    let level: u64;
    // SAFETY: it reads a register.
    unsafe { asm!("mov {}, cr8", out(reg) level, options(nostack, preserves_flags)) };
    Irql::new(level as u8).unwrap_or(Irql::HIGH)
}

/// Sets the level, and says what it was.
#[inline(always)]
pub fn raise(to: Irql) -> Irql {
    let was = current();
    set(to);
    was
}

/// Goes back to a level that [`raise`] found.
#[inline(always)]
pub fn lower(to: Irql) {
    set(to);
}

#[inline(always)]
fn set(to: Irql) {
    // SAFETY: it keeps interrupts out, or lets in those for which handlers are there.
    unsafe { asm!("mov cr8, {}", in(reg) u64::from(to.level()), options(nostack, preserves_flags)) };
}
