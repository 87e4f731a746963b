//! A machine of several CPUs on one thread, simulated: it interrupts, switches and moves threads where a
//! seed says, at each of the host's hooks, and, with `--cfg storport_pool_steps`, before each atomic
//! operation. `STORPORT_POOL_SEED` replays one seed, `STORPORT_POOL_STEPS` says how many points to pass.
#![cfg(all(unix, target_arch = "x86_64"))]

#[path = "../common/mod.rs"]
mod common;

mod board;
mod fiber;
mod ledger;
mod work;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use board::{Board, Hooks};
use storport_pool::{Masked, Platform, Portable};
use work::{Claims, Work};

/// Episodes of one pool.
const EPISODES: u64 = 60;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect(variable))
}

/// What a pool saw in its life.
#[derive(Default)]
struct Lived {
    /// Points, events and calls.
    counts: [u64; 3],
    /// What free took at most: operations, and locked ones.
    most: [u64; 2],
}

/// A pool's life, as the seed decides it.
fn life<P: Platform + 'static>(seed: u64, platform: P, claims: Claims) -> Lived {
    let cpus = 1 + seed as u32 % 4;
    let board = Board::new(seed, cpus);
    let work = Rc::new(Work::new(&board, cpus, platform, claims));
    let handler = work.clone();
    board.on_interrupt(Rc::new(move || handler.interrupt()));
    for _ in 0..EPISODES {
        if let Err(panic) = work.episode() {
            // Calls are cut off in the middle: their pool stays as it is.
            std::mem::forget(work);
            resume_unwind(panic);
        }
    }
    work.finish();
    board.on_interrupt(Rc::new(|| {}));
    Lived { counts: [board.steps.get(), board.events.get(), work.made.get()], most: work.most.get() }
}

/// `bound`: operations, and locked ones, that free may take, as tests/bound.rs finds them.
fn run<P: Platform + 'static>(platform: impl Fn() -> P, claims: Claims, bound: [u64; 2]) {
    #[cfg(storport_pool_steps)]
    storport_pool::steps::install(board::step);
    let steps = number("STORPORT_POOL_STEPS").unwrap_or(100_000);
    let only = number("STORPORT_POOL_SEED");
    let (mut seed, mut sum) = (only.unwrap_or(0), Lived::default());
    while sum.counts[0] < steps {
        let lived = catch_unwind(AssertUnwindSafe(|| life(seed, platform(), claims)));
        let lived = lived.unwrap_or_else(|panic| {
            eprintln!("replay with STORPORT_POOL_SEED={seed}");
            resume_unwind(panic)
        });
        for ((most, took), bound) in sum.most.iter_mut().zip(lived.most).zip(bound) {
            *most = took.max(*most);
            assert!(took <= bound, "free took {took} operations of {bound}; seed {seed}");
        }
        sum.counts.iter_mut().zip(lived.counts).for_each(|(sum, count)| *sum += count);
        if only.is_some() {
            break;
        }
        seed += 1;
    }
    let Lived { counts: [points, events, calls], most: [operations, locked] } = sum;
    println!("up to seed {seed}: {points} points, {events} events, {calls} calls");
    println!("a free took {operations} atomic operations at most, {locked} of them locked");
}

#[test]
fn masked() {
    let claims = if cfg!(feature = "checked") { Claims::Locked } else { Claims::Plain };
    run(|| Masked::new(Hooks), claims, [37, 10]);
}

#[test]
fn portable() {
    run(|| Portable::new(Hooks), Claims::Locked, [42, 13]);
}
