//! The local APIC: the timer, interrupts to other CPUs, the end of an interrupt.
//!
//! For another kernel: it has all of this. Note `send`: the command register takes two writes, so no interrupt that
//! sends one as well may come between them.

use core::sync::atomic::{Ordering, fence};

use crate::boot::TRAMPOLINE;
use crate::{cpu, flags, host, interrupts};

const BASE: usize = 0xFEE0_0000;
const NUMBER: usize = 0x20;
const END: usize = 0xB0;
const SPURIOUS: usize = 0xF0;
const COMMAND: usize = 0x300;
const COMMAND_TO: usize = 0x310;
const TIMER: usize = 0x320;
const LINE_0: usize = 0x350;
const LINE_1: usize = 0x360;
const TIMER_START: usize = 0x380;
const TIMER_DIVIDE: usize = 0x3E0;

const MASKED: u32 = 1 << 16;
const ENABLED: u32 = 1 << 8;
const PENDING: u32 = 1 << 12;
const TO_ALL_OTHERS: u32 = 3 << 18;
const INIT: u32 = 0x4500;
const START: u32 = 0x4600;

fn read(register: usize) -> u32 {
    // SAFETY: a register of this CPU's APIC, mapped uncached.
    unsafe { ((BASE + register) as *const u32).read_volatile() }
}

fn write(register: usize, value: u32) {
    // SAFETY: as in `read`; no value makes the APIC touch memory.
    unsafe { ((BASE + register) as *mut u32).write_volatile(value) };
}

/// Switches this CPU's APIC on, with all but our own interrupts masked.
pub fn begin() {
    write(LINE_0, MASKED);
    write(LINE_1, MASKED);
    write(TIMER, MASKED);
    write(TIMER_DIVIDE, 0b1011); // by 1
    write(SPURIOUS, ENABLED | u32::from(interrupts::SPURIOUS));
    write(TIMER, u32::from(interrupts::TIMER)); // one shot
    cpu::come_online(read(NUMBER) >> 24);
    host::answer();
    flags::on();
}

/// One timer interrupt after so many ticks; none, if 0.
pub fn arm(ticks: u32) {
    write(TIMER_START, ticks);
}

/// The interrupt whose handler runs has been handled.
pub fn end() {
    write(END, 0);
}

/// Sends an interrupt to a CPU, which may be this one.
pub fn send(to: u32, vector: u8) {
    // ORDERING: SeqCst - what was written before is visible before the write of the register, which is no store to
    // memory; pairs with the Acquire loads of the handler.
    fence(Ordering::SeqCst);
    command(cpu::apic_of(to) << 24, u32::from(vector));
}

/// Starts all other CPUs, at the trampoline.
pub fn start_others() {
    command(0, TO_ALL_OTHERS | INIT);
    interrupts::wait(10_000_000);
    for _ in 0..2 {
        command(0, TO_ALL_OTHERS | START | TRAMPOLINE >> 12);
        interrupts::wait(200_000);
    }
}

fn command(to: u32, what: u32) {
    let were_on = flags::off();
    while read(COMMAND) & PENDING != 0 {
        core::hint::spin_loop();
    }
    write(COMMAND_TO, to);
    write(COMMAND, what);
    flags::restore(were_on);
}
