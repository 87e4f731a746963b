//! A CPU's own: its number, its stacks, its segments.
//!
//! For another kernel: whatever gives a CPU's number in an instruction or two, at any time. `number` must be the number
//! of the CPU that runs; while interrupts are off, nothing may move the code to another CPU. Here threads never move.

use core::arch::asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};

use crate::must;

/// The most CPUs that the kernel is built for.
pub const MOST_CPUS: usize = 4;

#[repr(C, align(16))]
pub struct Stack<const BYTES: usize>(pub [u8; BYTES]);

impl<const BYTES: usize> Stack<BYTES> {
    /// How many bytes of a stack were used, ever: what is not zero, and above. Ends the kernel if all were.
    pub fn used(stack: *const Stack<BYTES>) -> usize {
        let words = stack.cast::<u64>();
        // SAFETY: inside the stack, which is a static's. Others may write it meanwhile, so the loads are volatile.
        let unused = (0..BYTES / 8).take_while(|&n| unsafe { words.add(n).read_volatile() } == 0).count();
        must!(unused > 64, "a stack of {BYTES} bytes was used up");
        BYTES - unused * 8
    }
}

/// How many bytes of the stacks of interrupts were used at most.
pub fn stack_used() -> usize {
    let stacks = (0..MOST_CPUS).flat_map(|cpu| (0..4).map(move |stack| (cpu, stack)));
    // SAFETY: addresses in a static.
    stacks
        .map(|(cpu, n)| Stack::used(unsafe { &raw const (*CPUS.0.get())[cpu].stacks[n] }))
        .max()
        .unwrap_or(0)
}

/// Bytes of each stack of an interrupt: allocate's longest way takes 4 KiB, in a debug build more.
const INTERRUPT_STACK: usize = 32 << 10;

/// Stacks of interrupts (IST). Each kind has its own, for two reasons. `core` uses the red zone below the interrupted
/// stack's pointer, which an interrupt on the same stack would overwrite. And an interrupt of a higher level may come in
/// the handler of a lower one: on the same IST stack it would begin at the top, over the other's frames.
#[derive(Clone, Copy)]
pub enum InterruptStack {
    Dispatch = 1,
    Timer = 2,
    Fence = 3,
    Fault = 4,
}

/// Words at a CPU's `gs`, then its task state.
#[repr(C, align(64))]
struct Cpu {
    /// Read at `gs:[0]`.
    number: u32,
    /// The local APIC's number, by which other CPUs reach this one.
    apic: AtomicU32,
    /// Whether it runs, or sleeps and can be woken.
    online: AtomicBool,
    tasks: TaskState,
    stacks: [Stack<INTERRUPT_STACK>; 4],
}

#[repr(C, packed(4))]
struct TaskState {
    reserved: u32,
    /// Not used: there is no user mode.
    stacks: [u64; 4],
    /// IST 1 to 7, and a reserved word.
    interrupt_stacks: [u64; 8],
    /// The second says where the map of ports begins: behind the end, so there is none.
    end: [u16; 2],
}

struct Cpus(UnsafeCell<[Cpu; MOST_CPUS]>);

// SAFETY: a CPU writes its own entry before it is online; the atomic words are for all.
unsafe impl Sync for Cpus {}

static CPUS: Cpus = Cpus(UnsafeCell::new(
    [const {
        Cpu {
            number: 0,
            apic: AtomicU32::new(0),
            online: AtomicBool::new(false),
            tasks: TaskState { reserved: 0, stacks: [0; 4], interrupt_stacks: [0; 8], end: [0; 2] },
            stacks: [const { Stack([0; INTERRUPT_STACK]) }; 4],
        }
    }; MOST_CPUS],
));

/// Null, 64-bit code, data, and two words of task state.
struct Segments(UnsafeCell<[[u64; 5]; MOST_CPUS]>);

// SAFETY: each CPU uses its own.
unsafe impl Sync for Segments {}

static SEGMENTS: Segments = Segments(UnsafeCell::new([[0; 5]; MOST_CPUS]));

/// What `lgdt` and `lidt` read.
#[repr(C, packed)]
pub struct TablePointer {
    pub limit: u16,
    pub base: u64,
}

/// Sets this CPU's registers.
///
/// # Safety
/// Called once on each CPU, with a number that no other CPU has.
pub unsafe fn begin(number: u32) {
    // SAFETY: no other CPU has this entry, and this one calls us once.
    unsafe {
        let cpu = (*CPUS.0.get()).as_mut_ptr().add(number as usize);
        (*cpu).number = number;
        let stacks = (&raw const (*cpu).stacks) as u64;
        let tops =
            core::array::from_fn(|n| if n < 4 { stacks + ((n + 1) * INTERRUPT_STACK) as u64 } else { 0 });
        (&raw mut (*cpu).tasks.interrupt_stacks).write_unaligned(tops);
        (*cpu).tasks.end = [0, size_of::<TaskState>() as u16];
        let base = (&raw const (*cpu).tasks) as u64;
        let segments = &raw mut (*SEGMENTS.0.get())[number as usize];
        let tasks = 0x89 << 40
            | (base & 0xFF_FFFF) << 16
            | (base >> 24 & 0xFF) << 56
            | (size_of::<TaskState>() as u64 - 1);
        *segments = [0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, tasks, base >> 32];
        let pointer = TablePointer { limit: 39, base: segments as u64 };
        asm!("lgdt [{}]", "ltr {:x}", in(reg) &pointer, in(reg) 24u64, options(nostack, preserves_flags));
        // GS_BASE
        asm!("wrmsr", in("ecx") 0xC000_0101u32, in("eax") cpu as u32, in("edx") (cpu as u64 >> 32) as u32, options(nostack, preserves_flags));
    }
}

/// The number of the CPU that this code runs on.
#[inline(always)]
pub fn number() -> u32 {
    let number;
    // SAFETY: `gs` leads to this CPU's entry. Not `pure`: a kernel whose threads move must read it each time.
    unsafe { asm!("mov {:e}, gs:[0]", out(reg) number, options(nostack, preserves_flags, readonly)) };
    number
}

fn cpu(number: u32) -> (&'static AtomicU32, &'static AtomicBool) {
    assert!((number as usize) < MOST_CPUS, "no such CPU");
    // SAFETY: an entry of the table; its atomic words are for all, and no reference to the others is made.
    unsafe {
        let cpu = (*CPUS.0.get()).as_ptr().add(number as usize);
        (&(*cpu).apic, &(*cpu).online)
    }
}

/// The local APIC's number of a CPU.
pub fn apic_of(number: u32) -> u32 {
    // ORDERING: Relaxed - written before the CPU was online, which the caller has seen.
    cpu(number).0.load(Ordering::Relaxed)
}

/// This CPU may use the pool from now on, and answers other CPUs' interrupts.
pub fn come_online(apic: u32) {
    let (word, online) = cpu(number());
    // ORDERING: Relaxed - the next store publishes it.
    word.store(apic, Ordering::Relaxed);
    // ORDERING: Release - the entry; pairs with the Acquire in `is_online`.
    online.store(true, Ordering::Release);
    // ORDERING: SeqCst - pairs with the pool's fence before `host.rs` looks. Either that sees us online, or our sections
    // see all that it wrote before.
    fence(Ordering::SeqCst);
}

/// This CPU answers nobody any more. Its last section has ended.
pub fn go_offline() {
    // ORDERING: Release - all that our sections wrote; pairs with the Acquire in `is_online`.
    cpu(number()).1.store(false, Ordering::Release);
}

/// Whether a CPU answers.
pub fn is_online(number: u32) -> bool {
    // ORDERING: Acquire - pairs with the Release of whoever came or went.
    (number as usize) < MOST_CPUS && cpu(number).1.load(Ordering::Acquire)
}
