//! Interrupts: the table, the code around each handler, and who handles what.
//!
//! A vector's upper half is its level: CR8 at that level or above keeps it out, and so does a handler of that level that
//! has not ended (`apic::end`). So handlers switch the flag on again, and only higher levels interrupt them.
//!
//! For another kernel: what matters to the pool is that each handler's stack is its own (`cpu.rs` says why), that the
//! SSE registers are saved if handlers call Rust (`core` uses them), and that the fence's interrupt comes through while
//! other handlers run.

use core::arch::{asm, global_asm, naked_asm};
use core::cell::UnsafeCell;

use storport_pool::Irql;

use crate::cpu::{InterruptStack, TablePointer};
use crate::{apic, dpc, flags, host, irql, load, verdict};

/// Deferred procedures: level 2.
pub const DISPATCH: u8 = 0x2F;
/// The timer: level 13.
pub const TIMER: u8 = 0xD1;
/// A fence, from another CPU: level 14.
pub const FENCE: u8 = 0xE1;
/// What the APIC sends when an interrupt vanished: level 15. It needs no end.
pub const SPURIOUS: u8 = 0xFF;

#[derive(Clone, Copy)]
#[repr(C)]
struct Gate {
    low: u16,
    segment: u16,
    stack: u8,
    kind: u8,
    middle: u16,
    high: u32,
    reserved: u32,
}

struct Table(UnsafeCell<[Gate; 256]>);

// SAFETY: each CPU writes the same gates before it switches its interrupts on.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new(
    [Gate { low: 0, segment: 0, stack: 0, kind: 0, middle: 0, high: 0, reserved: 0 }; 256],
));

fn set(vector: u8, code: u64, stack: InterruptStack) {
    let gate = Gate {
        low: code as u16,
        segment: 8,
        stack: stack as u8,
        kind: 0x8E, // present, an interrupt gate: the flag is off when the handler begins
        middle: (code >> 16) as u16,
        high: (code >> 32) as u32,
        reserved: 0,
    };
    // SAFETY: all CPUs write the same; a gate is not used before it is written.
    unsafe { (&raw mut (*TABLE.0.get())[vector as usize]).write_volatile(gate) };
}

unsafe extern "C" {
    static FAULTS: [[u8; 16]; 32];
}

/// Loads the table on this CPU.
pub fn begin() {
    for vector in 0..32 {
        // SAFETY: the address of a symbol.
        set(vector, unsafe { &raw const FAULTS[vector as usize] } as u64, InterruptStack::Fault);
    }
    set(DISPATCH, dispatch_entry as *const () as u64, InterruptStack::Dispatch);
    set(TIMER, timer_entry as *const () as u64, InterruptStack::Timer);
    set(FENCE, fence_entry as *const () as u64, InterruptStack::Fence);
    set(SPURIOUS, spurious_entry as *const () as u64, InterruptStack::Fence);
    let pointer = TablePointer { limit: 4095, base: TABLE.0.get() as u64 };
    // SAFETY: the table is complete, and lives for ever.
    unsafe { asm!("lidt [{}]", in(reg) &pointer, options(nostack, preserves_flags)) };
}

/// Saves what a function may change, calls the handler with the interrupted address, and goes back. The stack is aligned
/// to 16 when an interrupt begins; the handler is entered with interrupts off.
macro_rules! entry {
    ($name:ident, $handler:path) => {
        #[unsafe(naked)]
        extern "C" fn $name() {
            naked_asm!(
                "push rax",
                "push rcx",
                "push rdx",
                "push rsi",
                "push rdi",
                "push r8",
                "push r9",
                "push r10",
                "push r11",
                "push rbp",
                "mov rbp, rsp",
                "sub rsp, 512",
                "and rsp, -16",
                "fxsave [rsp]",
                "cld",
                "mov rdi, [rbp + 80]",
                "call {handler}",
                "fxrstor [rsp]",
                "mov rsp, rbp",
                "pop rbp",
                "pop r11",
                "pop r10",
                "pop r9",
                "pop r8",
                "pop rdi",
                "pop rsi",
                "pop rdx",
                "pop rcx",
                "pop rax",
                "iretq",
                handler = sym $handler,
            )
        }
    };
}

entry!(dispatch_entry, dispatch);
entry!(timer_entry, timer);
entry!(fence_entry, fence);

#[unsafe(naked)]
extern "C" fn spurious_entry() {
    naked_asm!("iretq")
}

/// Runs this CPU's deferred procedures, at DISPATCH.
extern "C" fn dispatch(_: u64) {
    let found = irql::raise(Irql::DISPATCH);
    flags::on();
    dpc::run();
    flags::off();
    irql::lower(found);
    apic::end();
}

extern "C" fn timer(address: u64) {
    let found = irql::raise(Irql::CLOCK);
    flags::on();
    load::tick(address, found);
    flags::off();
    irql::lower(found);
    apic::end();
}

extern "C" fn fence(_: u64) {
    host::answer();
    apic::end();
}

// Faults: 32 pieces of code of 16 bytes each, which push what the processor did not, and their number.
global_asm!(
    ".balign 16",
    ".globl FAULTS",
    "FAULTS:",
    ".set vector, 0",
    ".rept 32",
    ".balign 16",
    ".if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21 && vector != 29 && vector != 30",
    "push 0",
    ".endif",
    "push vector",
    "jmp {entry}",
    ".set vector, vector + 1",
    ".endr",
    entry = sym fault_entry,
);

#[unsafe(naked)]
extern "C" fn fault_entry() {
    naked_asm!(
        "pop rdi",
        "pop rsi",
        "mov rdx, [rsp]",
        "mov rcx, cr2",
        "and rsp, -16",
        "call {handler}",
        handler = sym fault,
    )
}

extern "C" fn fault(vector: u64, code: u64, address: u64, touched: u64) -> ! {
    verdict::fail(format_args!("fault {vector} (code {code:#x}) at {address:#x}, CR2 {touched:#x}"))
}

/// The time stamp: with qemu's `-icount shift=0`, instructions of all CPUs.
#[inline(always)]
pub fn time() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: it reads a register.
    unsafe { asm!("rdtsc", out("eax") low, out("edx") high, options(nostack, preserves_flags)) };
    u64::from(high) << 32 | u64::from(low)
}

/// Waits for so many ticks of the time stamp.
pub fn wait(ticks: u64) {
    let start = time();
    while time() - start < ticks {
        core::hint::spin_loop();
    }
}
