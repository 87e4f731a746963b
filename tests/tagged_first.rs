//! First use: it asks no allocator for memory, may interrupt another first use, and nobody waits for it.
#![cfg(target_os = "linux")]

#[path = "common/quiet.rs"]
mod quiet;
#[path = "common/timer.rs"]
mod timer;

use std::alloc::{GlobalAlloc, Layout};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use quiet::Quiet;
use storport_pool::{Pool, TaggedAlloc, tag};

#[global_allocator]
static GLOBAL: Quiet = Quiet;

const LAYOUT: Layout = Layout::new::<[u64; 6]>();

/// One test at a time: they count mappings, shut the allocator, and have the timer's signal.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fresh() -> &'static TaggedAlloc {
    Box::leak(Box::new(TaggedAlloc::new(tag!("Main"), 1 << 20).cpus(2)))
}

/// Bytes of address space that the process has.
fn address_space() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn asks_nobody_for_memory() {
    const CHILD: &str = "STORPORT_POOL_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let own: [&TaggedAlloc; 3] =
            [fresh(), fresh(), Box::leak(Box::new(TaggedAlloc::new(tag!("Main"), 1 << 20).min_block(64)))];
        let impossible: &TaggedAlloc = Box::leak(Box::new(TaggedAlloc::new(tag!("Main"), 1000)));
        GLOBAL.shut();
        for own in own {
            // SAFETY: the layout has a size.
            let block = unsafe { own.alloc(LAYOUT) };
            assert!(!block.is_null());
            // SAFETY: the block, once; then its address again, which changes nothing.
            unsafe {
                own.dealloc(block, LAYOUT);
                own.dealloc(block, LAYOUT);
            }
        }
        // SAFETY: null is what it answers.
        assert!(unsafe { impossible.alloc(LAYOUT) }.is_null());
        GLOBAL.open();
        return;
    }
    for (name, value) in [
        ("GLIBC_TUNABLES", ""),
        ("GLIBC_TUNABLES", "glibc.pthread.rseq=0"),
        ("STORPORT_POOL_COMMIT", "portable"),
    ] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "asks_nobody_for_memory"])
            .env(CHILD, "1")
            .env(name, value)
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}={value}: {output:?} (99: the allocator was asked)");
        // Why one of them has no memory is said, once.
        let said = String::from_utf8_lossy(&output.stderr);
        let why = "no pool for the program's memory: a range of 1000 bytes holds no whole 64 KiB";
        assert_eq!(said.matches(why).count(), 1, "{said}");
    }
}

/// All threads come at once; all get one pool, and the others' candidates are gone.
#[test]
fn of_many_threads_at_once() {
    let _turn = turn();
    const THREADS: usize = 8;
    for _ in 0..50 {
        let own = fresh();
        let start = Barrier::new(THREADS);
        let pools: Vec<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        // SAFETY: the layout has a size.
                        let block = unsafe { own.alloc(LAYOUT) };
                        assert!(!block.is_null());
                        // SAFETY: our block.
                        unsafe { own.dealloc(block, LAYOUT) };
                        std::ptr::from_ref::<Pool>(own.pool().unwrap()).addr()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(pools.iter().all(|&pool| pool == pools[0]));
        let usage = own.pool().unwrap().usage();
        assert_eq!((usage.allocs, usage.frees), (THREADS as u64, THREADS as u64));
        assert_eq!(own.pool().unwrap().violations(), 0);
    }
}

static CURRENT: AtomicPtr<TaggedAlloc> = AtomicPtr::new(std::ptr::null_mut());
/// Whether the code below is in its first use.
static INSIDE: AtomicBool = AtomicBool::new(false);
/// Handlers that were first, inside another first use.
static OVERTAKEN: AtomicU64 = AtomicU64::new(0);
static DAMAGE: AtomicU64 = AtomicU64::new(0);
static POOL_SEEN: AtomicU64 = AtomicU64::new(0);

extern "C" fn first_use(_: i32) {
    let own = CURRENT.load(Ordering::Acquire);
    // SAFETY: allocators are leaked.
    let Some(own) = (unsafe { own.as_ref() }).filter(|_| INSIDE.load(Ordering::Relaxed)) else { return };
    if POOL_SEEN.load(Ordering::Relaxed) != 0 {
        return;
    }
    // SAFETY: the layout has a size; the block is written and freed once.
    unsafe {
        let block = own.alloc(LAYOUT);
        if block.is_null() {
            DAMAGE.fetch_add(1, Ordering::Relaxed);
            return;
        }
        block.write_bytes(0x77, LAYOUT.size());
        own.dealloc(block, LAYOUT);
    }
    let pool = own.pool().map_or(0, |pool| std::ptr::from_ref(pool).addr() as u64);
    POOL_SEEN.store(pool, Ordering::Relaxed);
    OVERTAKEN.fetch_add(1, Ordering::Relaxed);
}

/// A handler that comes inside a first use makes the pool itself; the code below then takes that one.
#[test]
fn in_a_handler_that_interrupts_a_first_use() {
    let _turn = turn();
    // SAFETY: the handler calls the allocator, and touches atomics.
    unsafe { timer::handle(first_use) };
    let before = address_space();
    assert!(fresh().pool().is_some());
    let (mut made, each, before) = (0, address_space() - before, address_space());
    let timer = timer::every(150_000);
    while OVERTAKEN.load(Ordering::Relaxed) < 100 {
        assert!(made < 10_000, "no handler ever came inside");
        let own = fresh();
        POOL_SEEN.store(0, Ordering::Relaxed);
        CURRENT.store(std::ptr::from_ref(own).cast_mut(), Ordering::Release);
        INSIDE.store(true, Ordering::Relaxed);
        // SAFETY: the layout has a size.
        let block = unsafe { own.alloc(LAYOUT) };
        INSIDE.store(false, Ordering::Relaxed);
        assert!(!block.is_null());
        let pool = own.pool().unwrap();
        let seen = POOL_SEEN.load(Ordering::Relaxed);
        assert!(seen == 0 || seen == std::ptr::from_ref(pool).addr() as u64, "one pool for both");
        // SAFETY: our block.
        unsafe { own.dealloc(block, LAYOUT) };
        assert_eq!((pool.usage().live, pool.violations()), (0, 0));
        made += 1;
    }
    drop(timer);
    assert_eq!(DAMAGE.load(Ordering::Relaxed), 0);
    // Each handler that was first made one candidate too many. They would be a hundred; malloc's own growth is less than ten.
    let now = address_space();
    assert!(
        now < before + (made + 10) * each,
        "{made} pools of {each} bytes take {}: candidates were left",
        now - before
    );
}

/// The forked child of a program that has not allocated yet, and of one that has.
#[test]
fn in_a_forked_child() {
    let _turn = turn();
    for used in [false, true] {
        let own = fresh();
        // SAFETY: the layout has a size.
        let kept = used.then(|| unsafe { own.alloc(LAYOUT) });
        // SAFETY: the child calls the allocator and `_exit`.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let mut well = true;
                for n in 0..1000usize {
                    // SAFETY: blocks of ours, each freed once, the parent's too.
                    unsafe {
                        let block = own.alloc(LAYOUT);
                        well &= !block.is_null();
                        block.write_bytes(n as u8, LAYOUT.size());
                        let more = own.realloc(block, LAYOUT, 5000);
                        well &= !more.is_null() && *more == n as u8;
                        own.dealloc(more, Layout::from_size_align(5000, 8).unwrap());
                    }
                }
                if let Some(kept) = kept {
                    // SAFETY: as above.
                    unsafe { own.dealloc(kept, LAYOUT) };
                }
                let pool = own.pool().unwrap();
                well &= (pool.usage().live, pool.violations()) == (0, 0);
                // SAFETY: ends the process, without another call.
                unsafe { nix::libc::_exit(if well { 42 } else { 1 }) }
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 42), "{used}");
            }
        }
        assert_eq!(own.pool().unwrap().usage().live, u64::from(used));
    }
}
