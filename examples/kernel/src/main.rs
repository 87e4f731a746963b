//! A kernel in miniature: no standard library, no C library, no memory but its own statics.
//!
//! It embeds the pool twice: over a static array, as a kernel's nonpaged pool, and over a guest's
//! address range, of which it cannot touch a byte. Its exit status is 0 when every step went as
//! the contract says, else the number of the step. Linux x86-64 stands in for the machine: `_start`
//! and `exit` are all it uses of it.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use storport_pool::{
    AdapterId, Config, HookRecord, Host, Irql, MaskInterrupts, Masked, Platform, Pool, Portable, StaticError,
    Status, Violation, ViolationKind, static_pool, tag,
};

const RANGE: usize = 4 << 20;

#[repr(C, align(65536))]
struct Memory<const N: usize>([u8; N]);

static mut BLOCKS: Memory<RANGE> = Memory([0; RANGE]);

static_pool! {
    /// The kernel's nonpaged pool. The linker decides where its blocks lie.
    static KERNEL: Masked<Machine> = Config::new(0, RANGE as u64).min_block(64).accounts(64).adapters(8);
}

static_pool! {
    /// A guest's, at addresses of the guest's.
    static GUEST: Portable<Machine> = Config::new(0x8000_0000, 64 << 20).min_block(64).accounts(64).adapters(8);
}

/// One CPU. Nothing interrupts it here, so masking is bookkeeping; a real kernel has `cli` and `sti`.
struct Machine;

static IRQL: AtomicU8 = AtomicU8::new(0);

impl Host for Machine {
    fn cpu(&self) -> u32 {
        0
    }

    fn irql(&self) -> Irql {
        Irql::new(IRQL.load(Ordering::Relaxed)).unwrap_or(Irql::HIGH)
    }
}

// SAFETY: one CPU, on which nothing interrupts; there is no other whose sections could be awaited.
unsafe impl MaskInterrupts for Machine {
    type State = ();

    fn mask(&self) {}

    fn unmask(&self, (): ()) {}

    fn fence(&self, _cpu: u32) {}
}

static DOUBLE_FREES: AtomicU64 = AtomicU64::new(0);

fn violation(violation: &Violation, _: *mut ()) {
    if violation.kind == ViolationKind::DoubleFree && violation.bug_check().code == 0xC2 {
        DOUBLE_FREES.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: the function ignores its context and may run anywhere.
static HOOK: HookRecord = unsafe { HookRecord::new(violation, core::ptr::null_mut()) };

/// Uses a pool up, gives it back, and misuses it. `Err`: the step that went wrong.
fn exercise<P: Platform>(pool: &Pool<P>, touch: bool) -> Result<(), i32> {
    let disk = pool.add_adapter("disk0").map_err(|_| 10)?;
    let mut blocks = [0; 256];
    for (n, block) in blocks.iter_mut().enumerate() {
        if pool.allocate(disk, 16 * (n as u32 + 1), tag!("Srb0"), Some(block)) != Status::SUCCESS {
            return Err(11);
        }
        if touch {
            // SAFETY: the block is ours, inside the static array.
            unsafe { (*block as *mut u64).write(n as u64) };
        }
    }
    IRQL.store(5, Ordering::Relaxed);
    // SAFETY: a refused free leaves the block ours.
    if unsafe { pool.free(disk, blocks[0]) } != Status::INVALID_IRQL {
        return Err(12);
    }
    IRQL.store(2, Ordering::Relaxed);
    for block in blocks {
        // SAFETY: the blocks are ours and not used again.
        if unsafe { pool.free(disk, block) } != Status::SUCCESS {
            return Err(13);
        }
    }
    // SAFETY: a double free changes nothing.
    if unsafe { pool.free(disk, blocks[7]) } != Status::INVALID_PARAMETER {
        return Err(14);
    }
    let mut large = 0;
    if pool.allocate(disk, 1 << 20, tag!("RamD"), Some(&mut large)) != Status::SUCCESS || large % 4096 != 0 {
        return Err(15);
    }
    let mut leaked = (0, 0);
    pool.remove_adapter_with(disk, |row| leaked = (row.blocks, row.bytes)).map_err(|_| 16)?;
    if leaked != (1, 1 << 20) {
        return Err(17);
    }
    // SAFETY: nobody uses the orphan.
    if unsafe { pool.free(AdapterId::ORPHANS, large) } != Status::SUCCESS {
        return Err(18);
    }
    pool.trim_with(|_, _| true).map_err(|_| 19)?;
    Ok(())
}

fn run() -> Result<(), i32> {
    if KERNEL.get().is_some() {
        return Err(4);
    }
    let kernel = KERNEL.init_at(&raw const BLOCKS as u64, Masked::new(Machine)).map_err(|_| 1)?;
    let guest = GUEST.init(Portable::new(Machine)).map_err(|_| 2)?;
    if KERNEL.init(Masked::new(Machine)).err() != Some(StaticError::Twice) || KERNEL.get().is_none() {
        return Err(5);
    }
    kernel.set_violation_hook(Some(&HOOK));
    guest.set_violation_hook(Some(&HOOK));
    exercise(kernel, true)?;
    exercise(guest, false)?;
    if DOUBLE_FREES.load(Ordering::Relaxed) == 2 { Ok(()) } else { Err(3) }
}

core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "and rsp, -16",
    "call {main}",
    "mov edi, eax",
    "mov eax, 60",
    "syscall",
    main = sym main,
);

extern "C" fn main() -> i32 {
    run().err().unwrap_or(0)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {
        // SAFETY: the undefined instruction ends the process.
        unsafe { core::arch::asm!("ud2") };
    }
}

/// Named by the prebuilt `core`, never called: nothing unwinds here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// What the compiler may call instead of copying and filling by itself.
mod memory {
    use core::arch::asm;

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
        // SAFETY: the C contract of memcpy.
        unsafe {
            asm!("rep movsb", inout("rcx") bytes => _, inout("rdi") to => _, inout("rsi") from => _, options(nostack, preserves_flags));
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, bytes: usize) -> *mut u8 {
        // SAFETY: the C contract of memset.
        unsafe {
            asm!("rep stosb", inout("rcx") bytes => _, inout("rdi") to => _, in("al") byte as u8, options(nostack, preserves_flags));
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, bytes: usize) -> i32 {
        for n in 0..bytes {
            // SAFETY: the C contract of memcmp. Volatile, so that the loop does not become a call of itself.
            let (x, y) = unsafe { (a.add(n).read_volatile(), b.add(n).read_volatile()) };
            if x != y {
                return i32::from(x) - i32::from(y);
            }
        }
        0
    }
}
