//! Restartable sections whose every step takes long: preempted, migrated, interrupted by a signal and left
//! behind by a fork, they lose nothing. Needs `--cfg storport_pool_stretch`, which also counts their aborts,
//! and has each section look twice which CPU it runs on. `ci/aborts.sh` runs it.
#![cfg(storport_pool_stretch)]

mod common;
#[path = "common/timer.rs"]
mod timer;

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::blocks::{Block, Random};
use common::*;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use storport_pool::{AdapterId, Native, Pool, PoolOptions, Status, aborts};

const WORKERS: usize = 3;
/// Few blocks to a magazine, so that the sections of the slow paths run too.
const SIZES_IN_TURN: [u32; 4] = [32_768, 64, 16_384, 4096];
/// How often each section must be aborted.
const ABORTS: u64 = 3_000;
const PATIENCE: Duration = Duration::from_secs(120);

static POOL: AtomicPtr<Pool<Native>> = AtomicPtr::new(std::ptr::null_mut());
static ADAPTER: AtomicU32 = AtomicU32::new(0);
static HANDLER_ALLOCS: AtomicU64 = AtomicU64::new(0);
static HANDLER_FREES: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The block that the thread's handler keeps until it comes again. Constant and without destructor.
    static KEPT: Cell<u64> = const { Cell::new(0) };
}

/// Frees the block of last time, and allocates one.
extern "C" fn interrupt(_: i32) {
    // SAFETY: the pool outlives the timers.
    let Some(pool) = (unsafe { POOL.load(Ordering::Acquire).as_ref() }) else { return };
    let id = AdapterId::from_raw(ADAPTER.load(Ordering::Relaxed));
    let kept = KEPT.take();
    if kept != 0 {
        // SAFETY: nobody else knows the block.
        unsafe { (kept as *mut u64).write(!kept) };
        if free(pool, id, kept) == Status::SUCCESS {
            HANDLER_FREES.fetch_add(1, Ordering::Relaxed);
        } else {
            REFUSED.fetch_add(1, Ordering::Relaxed);
        }
    }
    let turn = HANDLER_ALLOCS.load(Ordering::Relaxed);
    let mut address = 0;
    if pool.allocate(id, SIZES_IN_TURN[turn as usize % 4], TAG, Some(&mut address)) == Status::SUCCESS {
        HANDLER_ALLOCS.fetch_add(1, Ordering::Relaxed);
        KEPT.set(address);
    }
}

/// Allocates, hands blocks to another worker, frees those that it is handed.
fn work(
    pool: &Pool<Native>,
    id: AdapterId,
    me: usize,
    baskets: &[Mutex<Vec<Block>>],
    stop: &AtomicBool,
) -> u64 {
    let timer = timer::every(100_000);
    let mut random = Random(me as u64 * 2 + 1);
    let mut got = 0;
    while !stop.load(Ordering::Relaxed) {
        let bytes = SIZES_IN_TURN[random.next() as usize % 4];
        let marks: Vec<u64> = (0..random.next() % 12).map(|_| random.next()).collect();
        let blocks = if random.next() % 2 == 0 {
            Block::many(pool, id, bytes, TAG, &marks)
        } else {
            marks.iter().filter_map(|&mark| Block::new(pool, id, bytes, TAG, mark)).collect()
        };
        for block in blocks {
            got += 1;
            let mut basket = baskets[random.next() as usize % baskets.len()].lock().unwrap();
            // Whose owner is not running: the pool would fill up.
            if basket.len() < 64 { basket.push(block) } else { block.free(pool, id) }
        }
        let mine = std::mem::take(&mut *baskets[me].lock().unwrap());
        if random.next() % 2 == 0 {
            Block::free_many(mine, pool, id);
        } else {
            mine.into_iter().for_each(|block| block.free(pool, id));
        }
    }
    drop(timer);
    let kept = KEPT.take();
    if kept != 0 {
        must_free(pool, id, kept);
        HANDLER_FREES.fetch_add(1, Ordering::Relaxed);
    }
    got
}

/// The child has a pool of its own: it takes and gives back some of each size.
fn fork_and_work(pool: &Pool<Native>, id: AdapterId) {
    // SAFETY: the child calls the pool and its own heap, which survives fork, and ends by _exit.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let mut damaged = false;
            for size in SIZES_IN_TURN {
                let blocks: Vec<u64> = (0..40).map_while(|_| alloc(pool, id, size).ok()).collect();
                damaged |= blocks.is_empty();
                damaged |= blocks.into_iter().any(|block| free(pool, id, block) != Status::SUCCESS);
            }
            // SAFETY: ends the process without running anything of the parent's.
            unsafe { nix::libc::_exit(i32::from(damaged)) }
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
        }
    }
}

#[test]
fn aborts_lose_nothing() {
    // Whoever fails ends the process, a child too: others would wait.
    std::panic::set_hook(Box::new(|info| {
        eprintln!("{info}");
        // SAFETY: runs nothing more.
        unsafe { nix::libc::_exit(101) }
    }));
    let pool = PoolOptions::new(32 << 20).build().unwrap();
    assert!(pool.uses_rseq(), "this test is about restartable sequences");
    let id = pool.add_adapter("disk").unwrap();
    ADAPTER.store(id.raw(), Ordering::Relaxed);
    POOL.store((&raw const pool).cast_mut(), Ordering::Release);
    // SAFETY: the handler calls the pool, and touches atomics, its thread's cell and its own block.
    unsafe { timer::handle(interrupt) };

    let allowed = sched_getaffinity(Pid::this()).unwrap();
    let allowed: Vec<usize> = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap()).collect();
    assert!(allowed.len() > 1, "migration needs two CPUs");
    let threads = [const { AtomicI32::new(0) }; WORKERS];
    let baskets: Vec<Mutex<Vec<Block>>> = (0..WORKERS).map(|_| Mutex::default()).collect();
    let stop = AtomicBool::new(false);
    let (mut forks, mut moves) = (0u64, 0u64);
    let got: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|me| {
                let (pool, thread, baskets, stop) = (&pool, &threads[me], &baskets, &stop);
                scope.spawn(move || {
                    thread.store(nix::unistd::gettid().as_raw(), Ordering::Relaxed);
                    work(pool, id, me, baskets, stop)
                })
            })
            .collect();
        let start = Instant::now();
        while aborts().iter().any(|&(_, count)| count < ABORTS) && start.elapsed() < PATIENCE {
            for thread in &threads {
                let mut set = CpuSet::new();
                set.set(allowed[moves as usize % allowed.len()]).unwrap();
                moves += 1;
                let thread = thread.load(Ordering::Relaxed);
                if thread != 0 {
                    sched_setaffinity(Pid::from_raw(thread), &set).unwrap();
                }
            }
            if moves.is_multiple_of(16) {
                fork_and_work(&pool, id);
                forks += 1;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    POOL.store(std::ptr::null_mut(), Ordering::Release);

    for (section, count) in aborts() {
        println!("{section}: {count} aborts");
    }
    println!(
        "{moves} moves, {forks} forks, {} calls in handlers",
        2 * HANDLER_ALLOCS.load(Ordering::Relaxed)
    );
    assert!(aborts().iter().all(|&(_, count)| count >= ABORTS), "sections that are hardly ever aborted");
    assert!(forks > 0);
    let in_handlers = HANDLER_ALLOCS.load(Ordering::Relaxed);
    assert_eq!(REFUSED.load(Ordering::Relaxed), 0);
    assert_eq!(in_handlers, HANDLER_FREES.load(Ordering::Relaxed));
    for block in baskets.into_iter().flat_map(|basket| basket.into_inner().unwrap()) {
        block.free(&pool, id);
    }
    assert_eq!(totals(&pool.snapshot()), (got + in_handlers, got + in_handlers, 0));
    assert_eq!(pool.violations(), 0);
    pool.trim().unwrap();
    assert_eq!(pool.snapshot().free_bytes, pool.range().1, "nothing is lost");
}
