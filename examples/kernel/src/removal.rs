//! Adapters that come and go while all CPUs allocate in their names. What each leaves must be what is held of it.
//!
//! For another kernel: this is what it does when a device goes. After the removal its blocks belong to the orphans;
//! whoever still has one frees it in their name.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use storport_pool::AdapterId;

use crate::ledger::{Kernel, Tally, get};
use crate::{must, quiet, report, verdict};

/// The adapter that will leave, and above it, its number in their order.
static CURRENT: AtomicU64 = AtomicU64::new(0);
/// How many have left.
static GONE: AtomicU32 = AtomicU32::new(0);
/// What was called in the current one's name.
pub static TALLY: Tally = Tally::new();
/// Blocks that adapters left, all together.
pub static LEFT: AtomicU64 = AtomicU64::new(0);

/// The adapter that will leave, and its number in their order.
pub fn current() -> (AdapterId, u32) {
    // ORDERING: Acquire - pairs with the Release in `begin`.
    let word = CURRENT.load(Ordering::Acquire);
    (AdapterId::from_word(word as u32), (word >> 32) as u32)
}

/// How many have left.
pub fn gone() -> u32 {
    // ORDERING: Acquire - the removal; pairs with the Release in `turn`.
    GONE.load(Ordering::Acquire)
}

/// Whether this one has left, and all of its blocks are orphans.
pub fn is_gone(life: u32) -> bool {
    life <= gone()
}

/// Lets the next one come. While the others are quiet.
pub fn begin(pool: &Kernel) {
    let Ok(adapter) = pool.add_adapter("leaving") else { verdict::fail(format_args!("no adapter is left")) };
    for count in [&TALLY.allocs, &TALLY.frees, &TALLY.bytes] {
        // ORDERING: Relaxed - the others are quiet.
        count.store(0, Ordering::Relaxed);
    }
    // ORDERING: Release - the adapter; pairs with the Acquire in `current`.
    CURRENT.store(u64::from(gone() + 1) << 32 | u64::from(adapter.word()), Ordering::Release);
}

/// Removes the current one while all CPUs use it, compares what it left, and lets the next one come.
pub fn turn(pool: &Kernel) {
    let left = remove(pool);
    quiet::pause();
    let held = (get(&TALLY.allocs) - get(&TALLY.frees), get(&TALLY.bytes));
    must!(left == held, "adapter {}: {left:?} blocks and bytes are reported, {held:?} are held", gone() + 1);
    // ORDERING: Release - the removal; pairs with the Acquire in `gone`.
    GONE.fetch_add(1, Ordering::Release);
    report::compare(pool);
    begin(pool);
    quiet::resume();
}

/// Removes the last one, of which nobody has a block.
pub fn end(pool: &Kernel) {
    let left = remove(pool);
    must!(left == (0, 0), "the last adapter left {left:?} blocks and bytes, though all were freed");
}

fn remove(pool: &Kernel) -> (u64, u64) {
    let mut left = (0, 0);
    let removed = pool.remove_adapter_with(current().0, |row| {
        left.0 += row.blocks;
        left.1 += row.bytes;
    });
    must!(removed.is_ok_and(|removed| removed.exact), "a removal was refused, or not exact");
    // ORDERING: Relaxed - one CPU removes.
    LEFT.fetch_add(left.0, Ordering::Relaxed);
    left
}
