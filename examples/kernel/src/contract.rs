//! The contract, status by status, over a pool that nobody else uses. Each call is a line of output.
//!
//! For another kernel: a first thing to run once its `host.rs` is written. The pools need 2 MiB each.

use core::sync::atomic::{AtomicU64, Ordering};

use storport_pool::{
    AdapterId, HookRecord, Irql, Masked, Platform, Pool, Portable, StaticError, Status, Violation,
    ViolationKind, tag,
};

use crate::host::Machine;
use crate::memory::{GUEST, KERNEL, base};
use crate::{irql, must, say};

static DOUBLE_FREES: AtomicU64 = AtomicU64::new(0);
static LEAKS: AtomicU64 = AtomicU64::new(0);

fn violation(violation: &Violation, _: *mut ()) {
    say!("  the hook hears: {} ({}, bug check {})", violation.kind, violation.irql, violation.bug_check());
    let count = match violation.kind {
        ViolationKind::DoubleFree => &DOUBLE_FREES,
        ViolationKind::Leak => &LEAKS,
        other => crate::verdict::fail(format_args!("a violation that nobody made: {other}")),
    };
    // ORDERING: Relaxed - one CPU calls, in order.
    count.fetch_add(1, Ordering::Relaxed);
}

// SAFETY: the function ignores its context and may run anywhere.
static HOOK: HookRecord = unsafe { HookRecord::new(violation, core::ptr::null_mut()) };

/// Makes both pools, and tries the contract on each. The kernel's.
pub fn check() -> &'static Pool<Masked<Machine>> {
    must!(KERNEL.get().is_none(), "the pool was there before it was made");
    let Ok(kernel) = KERNEL.init_at(base(), Masked::new(Machine)) else {
        crate::verdict::fail(format_args!("no pool over the kernel's memory"))
    };
    let Ok(guest) = GUEST.init(Portable::new(Machine)) else {
        crate::verdict::fail(format_args!("no pool over the guest's range"))
    };
    must!(
        KERNEL.init(Masked::new(Machine)).err() == Some(StaticError::Twice) && KERNEL.get().is_some(),
        "the pool was made twice"
    );
    say!("the kernel's pool, {kernel:?}, interrupts masked:");
    kernel.set_violation_hook(Some(&HOOK));
    exercise(kernel, true);
    kernel.set_violation_hook(None);
    say!("a guest's pool, {guest:?}, the portable commit:");
    guest.set_violation_hook(Some(&HOOK));
    exercise(guest, false);
    // ORDERING: Relaxed, twice - counted on this CPU.
    let heard = (DOUBLE_FREES.load(Ordering::Relaxed), LEAKS.load(Ordering::Relaxed));
    must!(heard == (2, 2), "the hooks heard of {heard:?} double frees and leaks, not of 2 and 2");
    kernel
}

/// Says what was called, at which level, what came; and ends the kernel if that is not what should.
fn expect(call: core::fmt::Arguments, status: Status, right: Status) {
    say!("  {call} at {}: {status}", irql::current());
    must!(status == right, "{right} should have come");
}

/// Uses a pool up, gives it back, and misuses it.
fn exercise<P: Platform>(pool: &Pool<P>, touch: bool) {
    let Ok(disk) = pool.add_adapter("disk0") else { crate::verdict::fail(format_args!("no adapter")) };
    let mut blocks = [0; 256];
    for level in [Irql::PASSIVE, Irql::DISPATCH] {
        let found = irql::raise(level);
        let half = if level == Irql::PASSIVE { 0 } else { 128 };
        let mut status = Status::SUCCESS;
        for (n, block) in blocks.iter_mut().enumerate().skip(half).take(128) {
            if status == Status::SUCCESS {
                status = pool.allocate(disk, 16 * (n as u32 + 1), tag!("Srb0"), Some(block));
            }
            if touch && status == Status::SUCCESS {
                // SAFETY: the block is ours, inside the static array.
                unsafe { (*block as *mut u64).write(n as u64) };
            }
        }
        let (least, most) = (16 * (half + 1), 16 * (half + 128));
        expect(format_args!("allocate {least} to {most} bytes"), status, Status::SUCCESS);
        irql::lower(found);
    }
    let found = irql::raise(Irql::DEVICE);
    let mut none = 1;
    let status = pool.allocate(disk, 16, tag!("Srb0"), Some(&mut none));
    expect(format_args!("allocate 16 bytes"), status, Status::INVALID_IRQL);
    must!(none == 0, "a failed allocation left {none:#x} in the out pointer");
    // SAFETY: a refused free leaves the block ours.
    let status = unsafe { pool.free(disk, blocks[0]) };
    expect(format_args!("free"), status, Status::INVALID_IRQL);
    irql::raise(Irql::DISPATCH);
    let mut status = Status::SUCCESS;
    for (n, block) in blocks.into_iter().enumerate() {
        // SAFETY: the block is ours, inside the static array.
        let kept = !touch || unsafe { (block as *const u64).read() } == n as u64;
        must!(kept, "block {n} does not hold what was written");
        if status == Status::SUCCESS {
            // SAFETY: the block is ours and not used again.
            status = unsafe { pool.free(disk, block) };
        }
    }
    expect(format_args!("free all 256"), status, Status::SUCCESS);
    // SAFETY: a double free changes nothing.
    let status = unsafe { pool.free(disk, blocks[7]) };
    expect(format_args!("free one of them again"), status, Status::INVALID_PARAMETER);
    irql::lower(found);

    let mut large = 0;
    let status = pool.allocate(disk, 1 << 20, tag!("RamD"), Some(&mut large));
    expect(format_args!("allocate 1 MiB"), status, Status::SUCCESS);
    must!(large % 4096 == 0, "1 MiB at {large:#x} is not aligned to a page");
    let status = pool.allocate(disk, 1 << 31, tag!("RamD"), Some(&mut none));
    expect(format_args!("allocate 2 GiB"), status, Status::INSUFFICIENT_RESOURCES);
    let status = pool.allocate(disk, 16, tag!("RamD"), None);
    expect(format_args!("allocate without an out pointer"), status, Status::INVALID_PARAMETER);
    let mut leaked = (0, 0);
    let removed = pool.remove_adapter_with(disk, |row| leaked = (row.blocks, row.bytes));
    say!("  remove the adapter: {} block of {} bytes was left", leaked.0, leaked.1);
    must!(removed.is_ok_and(|removed| removed.exact) && leaked == (1, 1 << 20), "that is not what it left");
    // SAFETY: nobody uses the block.
    let status = unsafe { pool.free(disk, large) };
    expect(format_args!("free in the removed adapter's name"), status, Status::INVALID_PARAMETER);
    // SAFETY: nobody uses the orphan.
    let status = unsafe { pool.free(AdapterId::ORPHANS, large) };
    expect(format_args!("free in the orphans' name"), status, Status::SUCCESS);
    must!(pool.trim_with(|_, _| true).is_ok(), "another trim is under way");
    let usage = pool.usage();
    say!("  trim: {} of {} bytes are free", usage.free_bytes, usage.range_bytes);
    must!(usage.live == 0 && usage.free_bytes == usage.range_bytes, "something is left: {usage:?}");
}
