//! What is compared with the ledger when all CPUs are quiet, and what is told in the end.
//!
//! For another kernel: `tags` prints PoolMon's table without memory.

use core::sync::atomic::{AtomicU64, Ordering};

use storport_pool::{HookRecord, Irql, Status, Violation, ViolationKind, tag};

use crate::cpu::MOST_CPUS;
use crate::ledger::{self, Kernel, Kind, get};
use crate::{boot, cpu, load, must, quiet, removal, say, verdict};

/// Interruptions after which allocations and frees were made, by CPU and by the level that was interrupted.
static INTERRUPTIONS: [[AtomicU64; 3]; MOST_CPUS] = [const { [const { AtomicU64::new(0) }; 3] }; MOST_CPUS];

/// A bit for each byte of code: an instruction that begins there was interrupted.
static ADDRESSES: [AtomicU64; 8192] = [const { AtomicU64::new(0) }; 8192];

unsafe extern "C" {
    static CODE_BEGINS: u8;
}

/// Counts an interruption. By the timer's handler.
pub fn interrupted(cpu: u32, level: Irql, address: u64) {
    must!(level <= Irql::DISPATCH, "the timer came at {level}");
    ledger::add(&INTERRUPTIONS[cpu as usize][usize::from(level.level())], 1);
    let at = address - &raw const CODE_BEGINS as u64;
    must!(at / 64 < 8192, "code at {address:#x}");
    let (word, bit) = (&ADDRESSES[at as usize / 64], 1 << (at % 64));
    // ORDERING: Relaxed, twice - a statistic.
    if word.load(Ordering::Relaxed) & bit == 0 {
        word.fetch_or(bit, Ordering::Relaxed);
    }
}

/// All interruptions so far.
pub fn interruptions() -> u64 {
    INTERRUPTIONS.iter().flatten().map(get).sum()
}

/// During the load nobody misuses the pool; only adapters leave blocks behind.
fn violation(violation: &Violation, _: *mut ()) {
    if violation.kind != ViolationKind::Leak {
        verdict::fail(format_args!("{} of {:#x}", violation.kind, violation.address));
    }
}

// SAFETY: the function ignores its context and may run anywhere.
pub static HOOK: HookRecord = unsafe { HookRecord::new(violation, core::ptr::null_mut()) };

/// The pool's counts are those of the ledger, tag by tag. While all CPUs are quiet.
pub fn compare(pool: &Kernel) {
    let usage = pool.usage();
    let mut all = (0, 0);
    for kind in Kind::ALL {
        let tally = kind.tally();
        let (allocs, frees, bytes) = (get(&tally.allocs), get(&tally.frees), get(&tally.bytes));
        all = (all.0 + allocs - frees, all.1 + bytes);
        // An allocation that a removal overtook counts if its block was live for a moment.
        let more = if kind == Kind::Leaving { get(&ledger::OVERTAKEN) } else { 0 };
        let mut row = (0, 0, 0, 0);
        pool.for_each_tag(|its| {
            if its.tag == kind.tag() {
                row = (its.allocs, its.frees, its.live, its.bytes_requested);
            }
        });
        must!(
            (allocs..=allocs + more).contains(&row.0) && row.0 - allocs == row.1 - frees,
            "{}: the pool counts {} allocations and {} frees, not {allocs} and {frees}",
            kind.tag(),
            row.0,
            row.1
        );
        let held = (allocs - frees, bytes);
        must!((row.2, row.3) == held, "{}: {:?} blocks and bytes, not {held:?}", kind.tag(), (row.2, row.3));
    }
    must!(
        (usage.live, usage.bytes_requested) == all && usage.changing == 0,
        "{all:?} blocks and bytes are held: {usage:?}"
    );
}

/// After the load: nothing is held, so all is free, in one piece.
pub fn nothing_is_lost(pool: &Kernel) {
    compare(pool);
    let bytes = pool.range().1;
    must!(pool.trim_with(|_, _| true).is_ok(), "another trim is under way");
    let usage = pool.usage();
    must!(
        usage.live == 0 && usage.free_bytes == bytes,
        "of {bytes} bytes {} are free, {} blocks are live",
        usage.free_bytes,
        usage.live
    );
    let Ok(last) = pool.add_adapter("last") else { verdict::fail(format_args!("no adapter")) };
    let mut whole = 0;
    let status = pool.allocate(last, bytes as u32, tag!("Last"), Some(&mut whole));
    must!(status == Status::SUCCESS && whole == pool.range().0, "the whole range in one piece: {status}");
    // SAFETY: nobody uses the block.
    let status = unsafe { pool.free(last, whole) };
    must!(status == Status::SUCCESS, "the whole range is not taken back: {status}");
    let left = pool.remove_adapter_with(last, |row| verdict::fail(format_args!("the last one left {row:?}")));
    must!(left.is_ok(), "the last adapter is not removed");
    say!("nothing is lost: the whole range was taken in one piece");
}

/// PoolMon's table. Needs no memory.
pub fn tags(pool: &Kernel) {
    say!(" Tag     Allocs      Frees       Diff      Bytes");
    pool.for_each_tag(|row| {
        say!(" {} {:10} {:10} {:10} {:10}", row.tag, row.allocs, row.frees, row.live, row.bytes_requested)
    });
}

/// What the load came to.
pub fn load() {
    let [mut allocs, mut frees] = [0, 0];
    for kind in Kind::ALL {
        allocs += get(&kind.tally().allocs);
        frees += get(&kind.tally().frees);
    }
    for (cpu, levels) in INTERRUPTIONS.iter().enumerate().take(quiet::cpus() as usize) {
        let [passive, apc, dispatch] = levels.each_ref().map(get);
        say!("CPU {cpu}: {passive} interruptions at level 0, {apc} at 1, {dispatch} at 2");
        must!(passive > 0 && apc > 0 && dispatch > 0, "a level was never interrupted");
    }
    // ORDERING: Relaxed - as above.
    let addresses: u32 = ADDRESSES.iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum();
    say!("{} interruptions, at {addresses} instructions", interruptions());
    say!("{allocs} allocated, {frees} freed, {} of them on another CPU", get(&ledger::MOVED));
    say!(
        "{} refused for want of memory, {} since their adapter left",
        get(&ledger::REFUSED),
        get(&ledger::OVERTAKEN)
    );
    say!("{} trims, {} refused beside another", get(&load::TRIMS), get(&load::BUSY));
    say!("{} adapters removed, which left {} blocks", removal::gone(), get(&removal::LEFT));
    say!("stacks: {} bytes of a thread's, {} of an interrupt's", boot::stack_used(), cpu::stack_used());
    must!(
        get(&ledger::MOVED) > 0 && get(&load::TRIMS) > 0 && get(&removal::LEFT) > 0,
        "some of it never happened"
    );
}
