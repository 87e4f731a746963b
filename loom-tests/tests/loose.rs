//! Loose blocks: put and taken by several CPUs at once, none of which has a cache, so that each free puts one.
#![cfg(storport_pool_loom)]

use loom::sync::Arc;
use loom::thread::JoinHandle;
use loom_tests::{
    Caller, SMALL, SPAN, Threads, config, model, on_cpu, pool, portable, run_on, settle_blocks,
};
use storport_pool::{AdapterId, Pool, Portable};

type Shared = (Arc<Pool<Portable<Threads>>>, AdapterId);

/// The first CPU of two that have no cache.
const WITHOUT: u32 = 1;

fn shared() -> Shared {
    run_on(WITHOUT);
    pool(&config(1, 1), portable())
}

fn beside<R: 'static>(
    shared: &Shared,
    work: impl FnOnce(Caller<'_, Portable<Threads>>) -> R + 'static,
) -> JoinHandle<R> {
    on_cpu(WITHOUT + 1, shared, work)
}

/// The only free block is put while somebody looks for one, and finds the mark that an earlier one left. Whether
/// found then or not, it is found afterwards.
#[test]
fn put_against_a_search() {
    model(|| {
        let shared = shared();
        let caller = Caller { pool: &shared.0, adapter: shared.1 };
        let mut live = caller.drain(SMALL);
        let freed = live.pop().unwrap();
        caller.free(live.pop().unwrap());
        live.push(caller.allocate(SMALL));
        let other = beside(&shared, move |caller| caller.free(freed));
        let got = caller.try_allocate(SMALL);
        other.join().unwrap();
        live.push(got.unwrap_or_else(|_| caller.allocate(SMALL)));
        settle_blocks(&caller, live, SMALL);
    });
}

/// A slab whose carved blocks are all loose is retired while one of them is allocated: either it stays, with the
/// other one still to be had, or the allocation looks elsewhere.
#[test]
fn a_search_against_retirement() {
    model(|| {
        let shared = shared();
        let caller = Caller { pool: &shared.0, adapter: shared.1 };
        let blocks = [caller.allocate(SMALL), caller.allocate(SMALL)];
        blocks.into_iter().for_each(|block| caller.free(block));
        let other = beside(&shared, |caller| caller.try_allocate(SMALL));
        if let Ok(run) = caller.try_allocate(SPAN) {
            caller.free(run);
        }
        let got = other.join().unwrap();
        settle_blocks(&caller, got.into_iter().collect(), SMALL);
    });
}
