//! Slabs that are retired and used anew while somebody frees into them, or walks them.
#![cfg(storport_pool_loom)]

use loom_tests::{
    Caller, LARGER, SMALL, SPAN, config, masked, model, on_cpu, pool, portable, run_on, settle_blocks,
};
use storport_pool::{Platform, Status};

/// A stale address is freed while its slab is retired and used by another class of the same k, in which a
/// block begins at the same place: it is refused, or frees that block, and never as one of the old class.
fn stale_free<P: Platform + Send + 'static>(platform: fn() -> P) {
    model(move || {
        let shared = pool(&config(1, 2), platform());
        let caller = Caller { pool: &shared.0, adapter: shared.1 };
        // So that CPU 1 has a magazine of the old class, which would take the block.
        run_on(1);
        let mut blocks = caller.drain(SMALL);
        run_on(0);
        // The range's first block, wherever the slab begins to be carved.
        blocks.sort_unstable();
        let stale = blocks[0];
        blocks.into_iter().for_each(|block| caller.free(block));
        let other = on_cpu(1, &shared, move |caller| caller.try_free(stale));
        let mut live = caller.drain(LARGER);
        if other.join().unwrap() == Status::SUCCESS {
            let reissued = live.iter().position(|&block| block == stale);
            live.swap_remove(reissued.expect("a free of what was not handed out again"));
            assert_eq!(shared.0.violations(), 0);
        }
        settle_blocks(&caller, live, LARGER);
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
        let shared = pool(&config(1, 2), portable());
        let caller = Caller { pool: &shared.0, adapter: shared.1 };
        let blocks = [caller.allocate(SMALL), caller.allocate(SMALL)];
        let other = on_cpu(1, &shared, move |caller| {
            blocks.into_iter().for_each(|block| caller.free(block));
        });
        let got = caller.try_allocate(SPAN);
        other.join().unwrap();
        settle_blocks(&caller, got.into_iter().collect(), SPAN);
    });
}

/// Two allocations want the span of one vacant slab at once: one of them gets it, or neither, but nothing is lost.
#[test]
fn two_retirements_of_one_slab() {
    model(|| {
        let shared = pool(&config(1, 1), portable());
        let caller = Caller { pool: &shared.0, adapter: shared.1 };
        let block = caller.allocate(SMALL);
        caller.free(block);
        let other = on_cpu(1, &shared, |caller| caller.try_allocate(LARGER).ok());
        let run = caller.try_allocate(SPAN).ok();
        let got = other.join().unwrap();
        assert!(run.is_none() || got.is_none(), "both");
        got.into_iter().chain(run).for_each(|block| caller.free(block));
        settle_blocks(&caller, Vec::new(), SMALL);
    });
}

/// Addresses that are no block's are refused while the slab comes and goes.
#[test]
fn bad_free_against_retirement() {
    model(|| {
        let shared = pool(&config(1, 2), masked());
        let caller = Caller { pool: &shared.0, adapter: shared.1 };
        let block = caller.allocate(SMALL);
        let other = on_cpu(1, &shared, move |caller| caller.try_free(block + 16));
        caller.free(block);
        let got = caller.try_allocate(SPAN);
        assert_eq!(other.join().unwrap(), Status::INVALID_PARAMETER);
        assert_eq!(shared.0.violations(), 1);
        settle_blocks(&caller, got.into_iter().collect(), SPAN);
    });
}

/// A snapshot walks while slabs are retired: live is never more than was allocated.
#[test]
fn walker_against_retirement() {
    model(|| {
        let shared = pool(&config(1, 2), portable());
        let caller = Caller { pool: &shared.0, adapter: shared.1 };
        let block = caller.allocate(SMALL);
        let walker = on_cpu(0, &shared, |caller| {
            for row in caller.pool.snapshot().tags {
                assert!(row.totals.live <= row.totals.allocs, "{row:?}");
                assert!(row.totals.frees <= row.totals.allocs, "{row:?}");
            }
        });
        // Beside the first one: a row shows only what was counted at all.
        let second = caller.allocate(SMALL);
        [block, second].into_iter().for_each(|block| caller.free(block));
        let got = caller.try_allocate(SPAN);
        walker.join().unwrap();
        settle_blocks(&caller, got.into_iter().collect(), SPAN);
    });
}
