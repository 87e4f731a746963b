//! A sandbox that is entered after the pool was made and refuses membarrier: the pool goes on, with less memory, and
//! the host is told once.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::collections::BTreeSet;
use std::process::Command;

use common::*;
use nix::libc;
use storport_pool::{AdapterId, Commit, Pool, PoolOptions, Status, ViolationKind};

/// From now on, membarrier is not permitted to this thread.
fn enter_sandbox() {
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut steps = [
        // The call's number is the first word.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_membarrier as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the program outlives the calls.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
        assert_eq!(libc::syscall(libc::SYS_membarrier, 0, 0, 0), -1, "the sandbox refuses nothing");
    }
}

/// Runs a test's `work` in a process of its own: once entered, a sandbox is never left.
fn alone(test: &str, work: impl FnOnce()) {
    const ALONE: &str = "STORPORT_POOL_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return work();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let [said, complained] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{}\n{said}\n{complained}", output.status);
}

/// So many that spans are of 64 KiB.
const SPANS: u64 = 128;

fn pool() -> (Pool, AdapterId) {
    pin(0);
    let pool = PoolOptions::new(SPANS * SPAN).cpus(2).build().unwrap();
    let id = pool.add_adapter("disk").unwrap();
    (pool, id)
}

fn all<P: storport_pool::Platform>(pool: &Pool<P>, id: AdapterId, bytes: u32) -> Vec<u64> {
    let mut blocks = Vec::new();
    fill(pool, id, bytes, &mut blocks);
    blocks
}

/// How often the host heard of the refusal, and of nothing else but leaks.
fn told(heard: &Heard) -> usize {
    let all = heard.take();
    assert!(all.iter().all(|one| matches!(one.kind, ViolationKind::FenceRefused | ViolationKind::Leak)));
    all.iter().filter(|one| one.kind == ViolationKind::FenceRefused).count()
}

/// Whether this process has what is tried here.
fn has_rseq() -> bool {
    let has = pool().0.uses_rseq();
    if !has {
        println!("there are no restartable sequences");
    }
    has
}

#[test]
fn allocate_goes_on_with_what_it_reaches() {
    if !has_rseq() {
        return;
    }
    alone("allocate_goes_on_with_what_it_reaches", || {
        let (pool, id) = pool();
        let heard = Heard::of(&pool);
        // A slab of another size, all free: in this CPU's cache, from where it would have to be swept.
        let other = alloc(&pool, id, 64).unwrap();
        must_free(&pool, id, other);
        enter_sandbox();
        let blocks = all(&pool, id, 4096);
        assert_eq!(blocks.len() as u64, (SPANS - 1) * per_slab(4096), "all free spans serve");
        let distinct: BTreeSet<_> = blocks.iter().collect();
        assert_eq!(distinct.len(), blocks.len());
        assert_eq!(told(&heard), 1);
        // What is freed serves again, for as often as one likes; and the other size still has its slab.
        for _ in 0..3 {
            blocks.iter().for_each(|&block| must_free(&pool, id, block));
            let mut again = all(&pool, id, 4096);
            again.sort_unstable();
            assert!(again.iter().eq(distinct.iter().copied()));
            let small = all(&pool, id, 64);
            assert_eq!(small.len() as u64, per_slab(64));
            small.iter().for_each(|&block| must_free(&pool, id, block));
        }
        let mut large = 1;
        assert_eq!(pool.allocate(id, 1 << 17, TAG, Some(&mut large)), Status::INSUFFICIENT_RESOURCES);
        pool.trim().unwrap();
        pool.set_not_implemented(true);
        pool.set_not_implemented(false);
        assert_eq!(told(&heard), 0, "told again");
        let snapshot = pool.snapshot();
        assert!(snapshot.fence_refused && pool.fence_refused());
        assert_eq!((snapshot.violations, totals(&snapshot).2), (0, blocks.len() as u64));
    });
}

#[test]
fn a_removal_says_that_it_may_be_inexact() {
    if !has_rseq() {
        return;
    }
    alone("a_removal_says_that_it_may_be_inexact", || {
        // Made before the sandbox is entered.
        let pools = [pool(), pool()];
        for ((pool, id), release) in pools.into_iter().zip([false, true]) {
            let heard = Heard::of(&pool);
            let keeper = pool.add_adapter("keeper").unwrap();
            let kept = alloc(&pool, keeper, 64).unwrap();
            let before = pool.add_adapter("before").unwrap();
            assert_eq!(pool.remove_adapter(before).unwrap().exact, !release);
            let _ = told(&heard);
            if !release {
                enter_sandbox();
            }
            // More than have accounts, if none is given back; and each is told of what it left.
            let mut orphans = Vec::new();
            for round in 0..50 {
                let gone = pool.add_adapter("gone").unwrap();
                let block = alloc(&pool, gone, 64).unwrap();
                let removal = if release {
                    // SAFETY: nobody uses the block.
                    unsafe { pool.release_adapter(gone) }.unwrap()
                } else {
                    orphans.push(block);
                    pool.remove_adapter(gone).unwrap()
                };
                assert_eq!((removal.blocks(), removal.bytes(), removal.exact), (1, 64, false));
                assert_eq!(told(&heard), usize::from(round == 0 && !release));
                assert_eq!(free(&pool, gone, block), Status::INVALID_PARAMETER);
                let mut out = 1;
                assert_eq!(pool.allocate(gone, 64, TAG, Some(&mut out)), Status::INVALID_PARAMETER);
            }
            let others: Vec<_> = (0..50).map(|_| alloc(&pool, id, 64).unwrap()).collect();
            let distinct: BTreeSet<_> = others.iter().chain(&orphans).chain([&kept]).collect();
            assert_eq!(distinct.len(), others.len() + orphans.len() + 1, "a block has two owners");
            orphans.iter().for_each(|&block| must_free(&pool, AdapterId::ORPHANS, block));
            others.iter().for_each(|&block| must_free(&pool, id, block));
            let (allocs, frees, live) = totals(&pool.snapshot());
            assert_eq!((allocs, frees, live), (101, 100, 1));
        }
    });
}

/// An account in which a section may still count is nobody else's: the table fills with them, and then allocations count
/// in their adapters' *other* rows.
#[test]
fn accounts_stay_closed() {
    if !has_rseq() {
        return;
    }
    alone("accounts_stay_closed", || {
        let pool = PoolOptions::new(SPANS * SPAN).cpus(2).accounts(16).adapters(7).build().unwrap();
        let once = || {
            let id = pool.add_adapter("one").unwrap();
            let block = alloc(&pool, id, 64).unwrap();
            let other =
                pool.snapshot().accounts.iter().any(|row| row.adapter == Some(id) && row.tag.is_none());
            must_free(&pool, id, block);
            (pool.remove_adapter(id).unwrap().exact, other)
        };
        // In a thread of its own, which alone is in the sandbox.
        let full = std::thread::scope(|scope| {
            let sandboxed = scope.spawn(|| {
                enter_sandbox();
                let removals: Vec<_> = (0..200).map(|_| once()).collect();
                assert!(removals.iter().all(|&(exact, _)| !exact));
                removals.iter().filter(|&&(_, other)| other).count()
            });
            sandboxed.join().unwrap()
        });
        assert!(full >= 184, "accounts were handed on: {full}");
        // Here fences are not refused.
        (0..50).for_each(|_| assert!(once().0));
        assert_eq!(totals(&pool.snapshot()), (250, 250, 0));
    });
}

/// The portable commit needs no fence.
#[test]
fn the_twin_notices_nothing() {
    alone("the_twin_notices_nothing", || {
        let pool = PoolOptions::new(SPANS * SPAN).cpus(2).commit(Commit::Portable).build().unwrap();
        let heard = Heard::of(&pool);
        let id = pool.add_adapter("disk").unwrap();
        enter_sandbox();
        for bytes in [64, 4096, 1 << 17] {
            let blocks = all(&pool, id, bytes);
            assert_eq!(blocks.len() as u64, SPANS * SPAN / occupied(SPANS * SPAN, bytes));
            blocks.iter().for_each(|&block| must_free(&pool, id, block));
        }
        assert!(pool.remove_adapter(id).unwrap().exact);
        assert_eq!(told(&heard), 0);
        assert!(!pool.fence_refused());
    });
}
