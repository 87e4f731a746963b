//! The hook: which one is called, what it may do, and what it is told when the pool goes.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::*;
use storport_pool::{HookRecord, Pool, PoolOptions, Status, ViolationKind, tag};

on_every_platform!(the_hook_may_allocate_and_free, the_last_hook_counts, blocks_left_when_the_pool_goes);

const OTHER_TAG: storport_pool::PoolTag = tag!("Othr");

fn the_hook_may_allocate_and_free<W: Way>() {
    let pool = Arc::new(W::build(PoolOptions::new(1 << 20)));
    let id = pool.add_adapter("disk").unwrap();
    let calls = Arc::new(AtomicU64::new(0));
    // Not a cycle: the hook must not keep its own pool alive.
    let (inner, count) = (Arc::downgrade(&pool), calls.clone());
    pool.on_violation(move |violation| {
        let pool = inner.upgrade().unwrap();
        count.fetch_add(1, Ordering::Relaxed);
        let address = alloc(&pool, violation.caller, 300).unwrap();
        must_free(&pool, violation.caller, address);
        if violation.kind == ViolationKind::DoubleFree {
            // A violation in the hook is one more call of it.
            assert_eq!(free(&pool, violation.caller, 3), Status::INVALID_PARAMETER);
        }
    });
    let address = alloc(&pool, id, 300).unwrap();
    must_free(&pool, id, address);
    assert_eq!(free(&pool, id, address), Status::INVALID_PARAMETER);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert_eq!(totals(&pool.snapshot()), (3, 3, 0));
}

static STATIC_HOOK_CALLS: AtomicU64 = AtomicU64::new(0);
// SAFETY: the function takes any call, from any thread; it does not use the context.
static HOOK: HookRecord = unsafe {
    HookRecord::new(
        |_, _| {
            STATIC_HOOK_CALLS.fetch_add(1, Ordering::Relaxed);
        },
        std::ptr::null_mut(),
    )
};

fn the_last_hook_counts<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20));
    let id = pool.add_adapter("disk").unwrap();
    let first = Heard::of(&pool);
    let second = Heard::of(&pool);
    assert_eq!(free(&pool, id, 3), Status::INVALID_PARAMETER);
    assert!(first.take().is_empty());
    second.one();
    let before = STATIC_HOOK_CALLS.load(Ordering::Relaxed);
    pool.set_violation_hook(Some(&HOOK));
    assert_eq!(free(&pool, id, 3), Status::INVALID_PARAMETER);
    assert!(STATIC_HOOK_CALLS.load(Ordering::Relaxed) > before);
    pool.set_violation_hook(None);
    assert_eq!(free(&pool, id, 3), Status::INVALID_PARAMETER);
    assert!(second.take().is_empty());
    assert_eq!((pool.violations(), pool.snapshot().violations), (3, 3));
}

fn blocks_left_when_the_pool_goes<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20));
    let heard = Heard::of(&pool);
    let (disk, tape) = (pool.add_adapter("disk").unwrap(), pool.add_adapter("tape").unwrap());
    for (id, bytes, tag) in [(disk, 10, TAG), (disk, 90_000, TAG), (disk, 5, OTHER_TAG), (tape, 7, TAG)] {
        alloc_tag(&pool, id, bytes, tag).unwrap();
    }
    assert!(heard.take().is_empty());
    drop(pool);
    let mut told: Vec<_> =
        heard.take().iter().map(|leak| (leak.owner, leak.tag, leak.blocks, leak.bytes)).collect();
    told.sort_unstable();
    let mut want = [
        (Some(disk), Some(TAG), 2, 90_010),
        (Some(disk), Some(OTHER_TAG), 1, 5),
        (Some(tape), Some(TAG), 1, 7),
    ];
    want.sort_unstable();
    assert_eq!(told, want);
}

/// In a child process the hook stops the program, as Windows would.
#[test]
fn the_hook_may_stop_the_program() {
    const CHILD: &str = "STORPORT_POOL_TEST_STOP";
    if std::env::var_os(CHILD).is_some() {
        let pool = Pool::new(1 << 20).unwrap();
        let id = pool.add_adapter("disk").unwrap();
        pool.on_violation(|violation| {
            eprintln!("{violation}");
            std::process::abort();
        });
        let address = alloc(&pool, id, 100).unwrap();
        must_free(&pool, id, address);
        let _ = free(&pool, id, address);
        unreachable!("the hook stops the program");
    }
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_hook_may_stop_the_program", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(!child.status.success());
    assert!(
        said.contains("double free") && said.contains("tag 'Test'") && said.contains("0xC2 (0x7"),
        "{said}"
    );
    assert!(!said.contains("unreachable"), "{said}");
    #[cfg(unix)]
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.status), Some(6));
}
