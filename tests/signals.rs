//! Interruptions anywhere: a signal handler that allocates and frees, and fork.
#![cfg(target_os = "linux")]

mod common;
#[path = "common/timer.rs"]
mod timer;

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use common::*;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use storport_pool::{AdapterId, Commit, Native, Pool, PoolOptions, Status};

/// Signals that must have come inside of calls.
fn interruptions() -> u64 {
    rounds(20_000, 100_000)
}

/// One test at a time has the signal, and no thread of another test is around to get it.
static TURN: Mutex<()> = Mutex::new(());

static POOL: AtomicPtr<Pool<Native>> = AtomicPtr::new(std::ptr::null_mut());
static ADAPTER: AtomicU64 = AtomicU64::new(0);
static INTERRUPTED: AtomicU64 = AtomicU64::new(0);
static HANDLER_ALLOCS: AtomicU64 = AtomicU64::new(0);
static HANDLER_FREES: AtomicU64 = AtomicU64::new(0);
static DAMAGE: AtomicU64 = AtomicU64::new(0);

/// Blocks that the handler keeps from one interruption to the next: only it looks at them.
struct Kept(UnsafeCell<[(u64, u32); 32]>);
// SAFETY: the signal is blocked while its handler runs, and goes to one thread.
unsafe impl Sync for Kept {}
static KEPT: Kept = Kept(UnsafeCell::new([(0, 0); 32]));

fn mark(address: u64, bytes: u32, mark: u64) {
    for word in 0..u64::from(bytes / 8).min(64) {
        // SAFETY: the caller has the block, and the range is memory of this process.
        unsafe { ((address + 8 * word) as *mut u64).write(mark ^ (address + word)) };
    }
}

fn intact(address: u64, bytes: u32, mark: u64) -> bool {
    (0..u64::from(bytes / 8).min(64))
        // SAFETY: as in `mark`.
        .all(|word| unsafe { ((address + 8 * word) as *const u64).read() } == mark ^ (address + word))
}

const HANDLER_MARK: u64 = 0x5151_5151_5151_5151;
const SIZES_IN_TURN: [u32; 8] = [64, 64, 64, 16, 4096, 64, 100_000, 32_768];

extern "C" fn interrupt(_: i32) {
    let count = INTERRUPTED.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the pool outlives the timer.
    let Some(pool) = (unsafe { POOL.load(Ordering::Acquire).as_ref() }) else { return };
    let id = AdapterId::from_raw(ADAPTER.load(Ordering::Relaxed) as u32);
    // SAFETY: see `Kept`.
    let kept = unsafe { &mut *KEPT.0.get() };
    for n in 0..3 {
        let at = (count * 3 + n) as usize;
        let slot = &mut kept[at % 32];
        let (address, bytes) = *slot;
        if address != 0 {
            if !intact(address, bytes, HANDLER_MARK) || free(pool, id, address) != Status::SUCCESS {
                DAMAGE.fetch_add(1, Ordering::Relaxed);
            }
            HANDLER_FREES.fetch_add(1, Ordering::Relaxed);
            *slot = (0, 0);
        }
        let bytes = SIZES_IN_TURN[at / 3 % 8];
        let mut address = 0;
        if pool.allocate(id, bytes, TAG, Some(&mut address)) == Status::SUCCESS {
            mark(address, bytes, HANDLER_MARK);
            HANDLER_ALLOCS.fetch_add(1, Ordering::Relaxed);
            *slot = (address, bytes);
        }
    }
}

/// Both flows allocate, mark, check and free until the handler ran often enough.
fn interrupted(options: PoolOptions) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let pool = options.build().unwrap();
    let id = pool.add_adapter("disk").unwrap();
    for counter in [&INTERRUPTED, &HANDLER_ALLOCS, &HANDLER_FREES, &DAMAGE] {
        counter.store(0, Ordering::Relaxed);
    }
    ADAPTER.store(u64::from(id.raw()), Ordering::Relaxed);
    POOL.store((&raw const pool).cast_mut(), Ordering::Release);

    // SAFETY: the handler calls the pool and touches atomics, its own cell, and its own blocks.
    unsafe { timer::handle(interrupt) };
    let timer = timer::every(7_000);

    let mut held: Vec<(u64, u32, u64)> = Vec::with_capacity(128);
    let (mut allocs, mut frees, mut round) = (0u64, 0u64, 0u64);
    while INTERRUPTED.load(Ordering::Relaxed) < interruptions() {
        round += 1;
        let bytes = SIZES_IN_TURN[(round / 150) as usize % 8];
        let mut address = 0;
        match pool.allocate(id, bytes, TAG, Some(&mut address)) {
            Status::SUCCESS => {
                mark(address, bytes, round);
                held.push((address, bytes, round));
                allocs += 1;
            }
            other => assert_eq!(other, Status::INSUFFICIENT_RESOURCES),
        }
        if held.len() > 100 || address == 0 {
            for (address, bytes, round) in held.drain(..) {
                assert!(intact(address, bytes, round), "{address:#x}");
                must_free(&pool, id, address);
                frees += 1;
            }
            if round.is_multiple_of(31) {
                pool.trim().unwrap();
            }
        }
    }
    drop(timer);
    POOL.store(std::ptr::null_mut(), Ordering::Release);

    assert_eq!(DAMAGE.load(Ordering::Relaxed), 0);
    let in_handler = (HANDLER_ALLOCS.load(Ordering::Relaxed), HANDLER_FREES.load(Ordering::Relaxed));
    assert!(in_handler.0 > interruptions());
    let live = held.len() as u64 + in_handler.0 - in_handler.1;
    assert_eq!(totals(&pool.snapshot()), (allocs + in_handler.0, frees + in_handler.1, live));
    for (address, bytes, round) in held {
        assert!(intact(address, bytes, round));
        must_free(&pool, id, address);
    }
    // SAFETY: the timer is gone, so no handler runs.
    for slot in unsafe { &mut *KEPT.0.get() } {
        let (address, bytes) = std::mem::take(slot);
        if address != 0 {
            assert!(intact(address, bytes, HANDLER_MARK));
            must_free(&pool, id, address);
        }
    }
    assert_eq!(totals(&pool.snapshot()).2, 0);
    assert_eq!(pool.violations(), 0);
    pool.trim().unwrap();
    assert_eq!(pool.snapshot().free_bytes, pool.range().1, "nothing is lost");
}

#[test]
fn interruptions_with_rseq() {
    interrupted(PoolOptions::new(16 << 20));
}

#[test]
fn interruptions_of_the_twin() {
    interrupted(PoolOptions::new(16 << 20).commit(Commit::Portable));
}

/// A small pool, so that the slow paths are interrupted too.
#[test]
fn interruptions_of_a_pool_that_runs_out() {
    interrupted(PoolOptions::new(512 << 10));
}

#[test]
fn interruptions_of_a_twin_that_runs_out() {
    interrupted(PoolOptions::new(512 << 10).commit(Commit::Portable));
}

/// What each side of a fork does: its own blocks, those of before, all sizes, a trim.
fn use_after_fork(pool: &Pool<Native>, id: AdapterId, before: &[u64]) -> Result<(), String> {
    let wrong = |what: &str, status: Status| Err(format!("{what}: {status}"));
    for &address in before {
        match free(pool, id, address) {
            Status::SUCCESS => {}
            other => return wrong("block of before", other),
        }
    }
    let mut blocks = Vec::new();
    for round in 0..50u32 {
        for size in SIZES {
            match alloc(pool, id, size) {
                Ok(address) => {
                    mark(address, size, u64::from(round));
                    blocks.push((address, size, u64::from(round)));
                }
                Err(other) => return wrong("allocate", other),
            }
        }
        if round % 10 == 9 {
            for (address, size, round) in blocks.drain(..) {
                if !intact(address, size, round) {
                    return Err(format!("{address:#x} is damaged"));
                }
                match free(pool, id, address) {
                    Status::SUCCESS => {}
                    other => return wrong("free", other),
                }
            }
            pool.trim().map_err(|busy| busy.to_string())?;
        }
    }
    Ok(())
}

/// Forks while another thread is inside the pool; the child has that thread's state, but not the thread.
fn forked(options: PoolOptions) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let pool = options.build().unwrap();
    let id = pool.add_adapter("disk").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let hammer = scope.spawn(|| {
            let mut rounds = 0u64;
            while !stop.load(Ordering::Relaxed) {
                let size = SIZES[(rounds / 7) as usize % SIZES.len()];
                let blocks: Vec<u64> = (0..40).map_while(|_| alloc(&pool, id, size).ok()).collect();
                for address in blocks {
                    must_free(&pool, id, address);
                }
                rounds += 1;
                if rounds.is_multiple_of(5) {
                    let _ = pool.trim();
                }
            }
        });
        for round in 0..100 {
            let before: Vec<u64> = (0..20).map(|n| alloc(&pool, id, 1 + n * 100).unwrap()).collect();
            // SAFETY: the child calls the pool, allocates little from glibc's own heap (which
            // survives fork), and ends by _exit.
            match unsafe { fork() }.unwrap() {
                ForkResult::Child => {
                    let result = use_after_fork(&pool, id, &before);
                    if let Err(error) = &result {
                        eprintln!("round {round}, child: {error}");
                    }
                    // SAFETY: ends the process without running anything of the parent's.
                    unsafe { nix::libc::_exit(i32::from(result.is_err())) }
                }
                ForkResult::Parent { child } => {
                    for &address in &before {
                        must_free(&pool, id, address);
                    }
                    assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0), "round {round}");
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        hammer.join().unwrap();
    });
    assert_eq!(totals(&pool.snapshot()).2, 0);
    assert_eq!(use_after_fork(&pool, id, &[]), Ok(()));
    pool.trim().unwrap();
    assert_eq!(pool.snapshot().free_bytes, pool.range().1);
}

#[test]
fn both_sides_of_a_fork_go_on() {
    forked(PoolOptions::new(32 << 20));
}

#[test]
fn both_sides_of_a_fork_go_on_with_the_twin() {
    forked(PoolOptions::new(32 << 20).commit(Commit::Portable));
}
