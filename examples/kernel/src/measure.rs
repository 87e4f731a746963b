//! How many instructions a call takes, counted by qemu: with `-icount shift=0` the time stamp goes up by one at each.
//!
//! All other CPUs have stopped, so it counts this one's. What the loop and the reading of the stamp take is measured in
//! the same way, and taken off.

use core::hint::black_box;

use storport_pool::{AdapterId, Platform, Pool, Status, tag};

use crate::interrupts::time;
use crate::{must, say, verdict};

/// Fewer than a magazine holds, so that most rounds never leave the fast path.
const CALLS: usize = 32;
const ROUNDS: usize = 64;

/// The fewest, and the sum over all rounds, of what `CALLS` calls took.
struct Taken(u64, u64);

fn count(mut call: impl FnMut(usize), taken: &mut Taken) {
    let start = time();
    for n in 0..CALLS {
        call(n);
    }
    let took = time() - start;
    *taken = Taken(taken.0.min(took), taken.1 + took);
}

/// Tells what an allocation of 208 bytes and its free take.
pub fn run<P: Platform>(pool: &Pool<P>, name: &str) {
    let Ok(disk) = pool.add_adapter("measured") else { verdict::fail(format_args!("no adapter")) };
    let mut blocks = [0; CALLS];
    let [mut allocate, mut free, mut nothing] = [const { Taken(u64::MAX, 0) }; 3];
    // The first round warms up.
    for round in 0..=ROUNDS {
        if round == 1 {
            [allocate, free, nothing] = [const { Taken(u64::MAX, 0) }; 3];
        }
        let mut good = 0;
        count(
            |n| {
                let status =
                    pool.allocate(black_box(disk), black_box(208), tag!("Meas"), Some(&mut blocks[n]));
                good += u64::from(status == Status::SUCCESS);
            },
            &mut allocate,
        );
        count(
            |n| {
                // SAFETY: the block is ours, and not used again.
                let status = unsafe { pool.free(black_box(disk), black_box(blocks[n])) };
                good += u64::from(status == Status::SUCCESS);
            },
            &mut free,
        );
        must!(good == 2 * CALLS as u64, "a call that was measured failed");
        count(
            |n| {
                let status = black_box((disk, blocks[n])).0;
                good += u64::from(black_box(status) == AdapterId::ORPHANS);
            },
            &mut nothing,
        );
    }
    let calls = CALLS as u64;
    let each = |taken: &Taken| {
        ((taken.0 - nothing.0).div_ceil(calls), (taken.1 - nothing.1).div_ceil(calls * ROUNDS as u64))
    };
    let (allocates, frees) = (each(&allocate), each(&free));
    say!("{name}: {} instructions per free, {} on average", frees.0, frees.1);
    say!("{name}: {} instructions per allocate, {} on average", allocates.0, allocates.1);
    must!(pool.remove_adapter_with(disk, |_| {}).is_ok(), "an adapter is not removed");
}
