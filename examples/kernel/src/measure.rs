//! How many instructions a call takes, counted by qemu: with `-icount shift=0` the time stamp goes up by one at each.
//!
//! All other CPUs have stopped, so it counts this one's. What the loop and the reading of the stamp take is measured in
//! the same way, and taken off.

use core::arch::asm;
use core::hint::black_box;

use storport_pool::{AdapterId, Platform, Pool, PoolTag, Status, tag};

use crate::interrupts::time;
use crate::{must, say, verdict};

/// Fewer than a magazine holds, so that most rounds never leave the fast path.
const CALLS: usize = 32;
const ROUNDS: usize = 64;

/// Calls through a pointer, and is never inlined, so that the loop is the same for all.
#[inline(never)]
fn count(call: &mut dyn FnMut(usize)) -> u64 {
    let start = time();
    for n in 0..CALLS {
        call(n);
    }
    time() - start
}

/// Nine instructions more must count as nine.
pub fn check() {
    // SAFETY: they do nothing.
    let ten = count(&mut |_| unsafe { asm!(".rept 10", "nop", ".endr", options(nomem, nostack)) });
    // SAFETY: as above. One is there, so that both are called in the same way.
    let one = count(&mut |_| unsafe { asm!("nop", options(nomem, nostack)) });
    let counted = ten - one;
    must!(counted == 9 * CALLS as u64, "{} instructions count as {counted}", 9 * CALLS);
}

/// Tells what an allocation of 208 bytes and its free take. With four tags, one after the other: the fast path of allocate
/// finds a tag's account at its first place in the table alone, and another tag may have that.
pub fn run<P: Platform>(pool: &Pool<P>, name: &str) {
    let Ok(disk) = pool.add_adapter("measured") else { verdict::fail(format_args!("no adapter")) };
    let (mut allocates, mut frees) = ((u64::MAX, 0), (u64::MAX, 0));
    for tag in [tag!("Mea1"), tag!("Mea2"), tag!("Mea3"), tag!("Mea4")] {
        let (allocate, free) = measure(pool, disk, tag);
        allocates = (allocates.0.min(allocate), allocates.1.max(allocate));
        frees = (frees.0.min(free), frees.1.max(free));
    }
    say!("{name}: {} instructions per free, {} at the most", frees.0, frees.1);
    say!("{name}: {} instructions per allocate, {} at the most", allocates.0, allocates.1);
    must!(pool.remove_adapter_with(disk, |_| {}).is_ok(), "an adapter is not removed");
}

/// Instructions of an allocation and of a free, over all rounds.
fn measure<P: Platform>(pool: &Pool<P>, disk: AdapterId, tag: PoolTag) -> (u64, u64) {
    let mut blocks = [0; CALLS];
    let [mut allocate, mut free, mut nothing] = [0; 3];
    // The first round warms up.
    for round in 0..=ROUNDS {
        if round == 1 {
            [allocate, free, nothing] = [0; 3];
        }
        let mut good = 0;
        allocate += count(&mut |n| {
            let status = pool.allocate(black_box(disk), black_box(208), tag, Some(&mut blocks[n]));
            good += u64::from(status == Status::SUCCESS);
        });
        free += count(&mut |n| {
            // SAFETY: the block is ours, and not used again.
            let status = unsafe { pool.free(black_box(disk), black_box(blocks[n])) };
            good += u64::from(status == Status::SUCCESS);
        });
        must!(good == 2 * CALLS as u64, "a call that was measured failed");
        nothing += count(&mut |n| {
            let (disk, _) = (black_box(disk), black_box(blocks[n]));
            good += u64::from(disk == AdapterId::ORPHANS);
        });
    }
    let calls = (CALLS * ROUNDS) as u64;
    ((allocate - nothing).div_ceil(calls), (free - nothing).div_ceil(calls))
}
