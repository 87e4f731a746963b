//! Slabs that are retired and used anew while somebody frees into them, or walks them.
#![cfg(storport_pool_loom)]

use loom::sync::Arc;
use loom::thread;
use loom_tests::{
    Caller, LARGER, Masking, SMALL, SPAN, Threads, config, disjoint, model, pool, run_on, settle,
};
use storport_pool::{Masked, Platform, Portable, Status};

fn portable() -> Portable<Threads> {
    Portable::new(Threads)
}

fn masked() -> Masked<Masking> {
    Masked::new(Masking::new(2))
}

/// A stale address is freed while its slab is retired and used by another class of the same k, in which a
/// block begins at the same place: it is refused, or frees that block, and never as one of the old class.
fn stale_free<P: Platform + Send + 'static>(platform: fn() -> P) {
    model(move || {
        let pool = Arc::new(pool(&config(1, 2), platform()));
        let adapter = pool.add_adapter("disk").unwrap();
        let caller = Caller { pool: &pool, adapter };
        // So that CPU 1 has a magazine of the old class, which would take the block.
        run_on(1);
        let mut blocks = caller.drain(SMALL);
        run_on(0);
        // The range's first block, wherever the slab begins to be carved.
        blocks.sort_unstable();
        let stale = blocks[0];
        blocks.into_iter().for_each(|block| caller.free(block));
        let other = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                run_on(1);
                Caller { pool: &pool, adapter }.try_free(stale)
            }
        });
        let mut live = caller.drain(LARGER);
        if other.join().unwrap() == Status::SUCCESS {
            let reissued = live.iter().position(|&block| block == stale);
            live.swap_remove(reissued.expect("a free of what was not handed out again"));
            assert_eq!(pool.violations(), 0);
        }
        disjoint(live.iter().map(|&block| (block, LARGER)));
        let live: Vec<_> = live.into_iter().map(|block| (adapter, block)).collect();
        settle(&pool, &live);
    });
}

#[test]
fn stale_free_against_retirement_portable() {
    stale_free(portable);
}

#[test]
fn stale_free_against_retirement_masked() {
    stale_free(masked);
}

/// The live blocks of a slab are freed while an allocation of another class tries to retire it.
#[test]
fn free_against_retirement() {
    model(|| {
        let pool = Arc::new(pool(&config(1, 2), portable()));
        let adapter = pool.add_adapter("disk").unwrap();
        let caller = Caller { pool: &pool, adapter };
        let blocks = [caller.allocate(SMALL), caller.allocate(SMALL)];
        let other = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                run_on(1);
                blocks.map(|block| Caller { pool: &pool, adapter }.free(block));
            }
        });
        let got = caller.try_allocate(SPAN);
        other.join().unwrap();
        let live: Vec<_> = got.into_iter().map(|block| (adapter, block)).collect();
        settle(&pool, &live);
    });
}

/// Addresses that are no block's are refused while the slab comes and goes.
#[test]
fn bad_free_against_retirement() {
    model(|| {
        let pool = Arc::new(pool(&config(1, 2), masked()));
        let adapter = pool.add_adapter("disk").unwrap();
        let caller = Caller { pool: &pool, adapter };
        let block = caller.allocate(SMALL);
        let other = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                run_on(1);
                let caller = Caller { pool: &pool, adapter };
                assert_eq!(caller.try_free(block + 16), Status::INVALID_PARAMETER);
            }
        });
        caller.free(block);
        let got = caller.try_allocate(SPAN);
        other.join().unwrap();
        assert_eq!(pool.violations(), 1);
        let live: Vec<_> = got.into_iter().map(|block| (adapter, block)).collect();
        settle(&pool, &live);
    });
}

/// A snapshot walks while slabs are retired: live is never more than was allocated.
#[test]
fn walker_against_retirement() {
    model(|| {
        let pool = Arc::new(pool(&config(1, 2), portable()));
        let adapter = pool.add_adapter("disk").unwrap();
        let caller = Caller { pool: &pool, adapter };
        let block = caller.allocate(SMALL);
        let walker = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                for row in pool.snapshot().tags {
                    assert!(row.totals.live <= row.totals.allocs, "{row:?}");
                    assert!(row.totals.frees <= row.totals.allocs, "{row:?}");
                }
            }
        });
        caller.free(block);
        let got = caller.try_allocate(SPAN);
        walker.join().unwrap();
        let live: Vec<_> = got.into_iter().map(|block| (adapter, block)).collect();
        settle(&pool, &live);
    });
}
