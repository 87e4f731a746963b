//! What the loader left, and where `boot.s` enters Rust.
//!
//! For another kernel: this is the part that depends on the loader. Here the loader passes a command line, such as
//! `cpus=2 interruptions=1000000`.

use core::arch::global_asm;
use core::ptr::addr_of;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::cpu::{MOST_CPUS, Stack};

global_asm!(include_str!("boot.s"), options(att_syntax));

/// Bytes of a thread's stack; `boot.s` knows it, too. A release build takes 35 KiB of it, a debug build 70: the pool's
/// control block is made on the stack, and a debug build copies it. Nothing guards the end; `stack_used` looks at it.
const THREAD_STACK: usize = 256 << 10;

/// The stacks on which CPUs begin and threads run.
#[unsafe(no_mangle)]
static mut THREAD_STACKS: [Stack<THREAD_STACK>; MOST_CPUS] = [const { Stack([0; THREAD_STACK]) }; MOST_CPUS];

/// How many bytes of the threads' stacks were used at most.
pub fn stack_used() -> usize {
    // SAFETY: addresses of statics.
    (0..MOST_CPUS).map(|cpu| Stack::used(unsafe { &raw const THREAD_STACKS[cpu] })).max().unwrap_or(0)
}

#[unsafe(export_name = "MOST_CPUS")]
static MOST: u32 = MOST_CPUS as u32;

unsafe extern "C" {
    static BOOT_INFO: u32;
    static NEXT_CPU: AtomicU32;
    static trampoline: u8;
    static trampoline_end: u8;
}

/// Where further CPUs begin.
pub const TRAMPOLINE: u32 = 0x8000;

/// Entered by each CPU, with its number, on its thread's stack, with interrupts off.
#[unsafe(no_mangle)]
extern "C" fn enter(number: u32) -> ! {
    // SAFETY: `boot.s` numbers the CPUs, each once.
    unsafe { crate::cpu::begin(number) };
    crate::interrupts::begin();
    crate::apic::begin();
    if number == 0 { crate::main() } else { crate::work::serve() }
}

/// How many CPUs have begun.
pub fn begun() -> u32 {
    // SAFETY: an aligned word, which `boot.s` changes by locked instructions.
    // ORDERING: Relaxed - a number. What a CPU did since, its being online tells: `cpu::come_online`.
    unsafe { NEXT_CPU.load(Ordering::Relaxed) }
}

/// Copies the code by which further CPUs begin to where they can begin.
pub fn place_trampoline() {
    // SAFETY: two symbols of `boot.s`, one after the other; the place is memory that nobody else uses.
    unsafe {
        let bytes = addr_of!(trampoline_end) as usize - addr_of!(trampoline) as usize;
        core::ptr::copy_nonoverlapping(addr_of!(trampoline), TRAMPOLINE as *mut u8, bytes);
    }
}

/// The number behind `name=` in the loader's command line.
pub fn option(name: &str) -> Option<u64> {
    command_line().split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

fn command_line() -> &'static str {
    // SAFETY: the loader's structure lies where it said, and is not changed; its command line ends in 0.
    let text = unsafe {
        let text = ((BOOT_INFO as usize + 24) as *const u64).read_unaligned() as *const u8;
        if text.is_null() {
            return "";
        }
        let mut bytes = 0;
        while text.add(bytes).read_volatile() != 0 {
            bytes += 1;
        }
        core::slice::from_raw_parts(text, bytes)
    };
    core::str::from_utf8(text).unwrap_or("")
}
