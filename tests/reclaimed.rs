//! Before each atomic operation of a trim, and of an allocation that takes back slabs, a handler allocates two blocks
//! and frees the second one: no block may be handed out twice, none be lost. On a CPU without a cache, so that each free
//! leaves a loose block. Needs `--cfg storport_pool_steps`.
#![cfg(storport_pool_steps)]

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use common::*;
use storport_pool::steps::{Step, install};
use storport_pool::{Commit, Host, Irql, Pool, PoolOptions, Portable};

struct NoCache;

impl Host for NoCache {
    fn cpu(&self) -> u32 {
        7
    }

    fn irql(&self) -> Irql {
        Irql::PASSIVE
    }
}

type Handler = Box<dyn FnOnce()>;

thread_local! {
    /// How many operations are left until the handler comes.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    /// The next handler is the last one; with each, how many operations later the one behind it comes.
    static HANDLERS: RefCell<Vec<(Handler, Option<u32>)>> = const { RefCell::new(Vec::new()) };
}

fn on_step(_: Step, _: usize) {
    match LEFT.get() {
        None => {}
        Some(0) => {
            LEFT.set(None);
            if let Some((handler, next)) = HANDLERS.with_borrow_mut(Vec::pop) {
                handler();
                LEFT.set(next);
            }
        }
        Some(left) => LEFT.set(Some(left - 1)),
    }
}

/// In a pool of so many bytes, by a trim or by a request for all of it; how many operations it was.
fn interrupted(bytes: u64, size: u32, by_trim: bool) -> u32 {
    install(on_step);
    for at in 0.. {
        let pool = Rc::new(PoolOptions::new(bytes).cpus(1).build_on(Portable::new(NoCache)).unwrap());
        let id = pool.add_adapter("disk").unwrap();
        must_free(&pool, id, alloc(&pool, id, size).unwrap());
        let kept = Rc::new(Cell::new(None));
        let (others, keep) = (pool.clone(), kept.clone());
        let handler = move || {
            let Ok(first) = alloc(&others, id, size) else { return };
            if let Ok(second) = alloc(&others, id, size) {
                must_free(&others, id, second);
            }
            keep.set(Some(first));
        };
        HANDLERS.set(vec![(Box::new(handler), None)]);
        LEFT.set(Some(at));
        if by_trim {
            let _ = pool.trim().unwrap();
        } else if let Ok(all) = alloc(&pool, id, bytes as u32) {
            must_free(&pool, id, all);
        }
        let ended = LEFT.take().is_some();
        HANDLERS.take();
        if ended {
            return at;
        }
        let Some(kept) = kept.get() else { continue };
        let more: Vec<u64> = (0..70).map_while(|_| alloc(&pool, id, size).ok()).collect();
        assert!(!more.contains(&kept), "operation {at}: {kept:#x} is handed out twice");
        more.into_iter().chain([kept]).for_each(|block| must_free(&pool, id, block));
        let all = alloc(&pool, id, bytes as u32);
        must_free(
            &pool,
            id,
            all.unwrap_or_else(|status| panic!("operation {at}, the whole range: {status}")),
        );
    }
    unreachable!()
}

#[test]
fn a_slab_that_is_taken_back() {
    for (bytes, size) in [(64 << 10, 64), (64 << 10, 2048), (8 << 20, 16), (8 << 20, 4096)] {
        for by_trim in [true, false] {
            let operations = interrupted(bytes, size, by_trim);
            println!("{size} bytes of {bytes}, trim {by_trim}: {operations} operations");
            assert!(operations > 100);
        }
    }
}

/// One handler carves on, so that the slab cannot be taken back; a later one frees that block, and gets a large run of the
/// span. The blocks that go back must not mark the run as freed.
#[test]
fn a_slab_that_becomes_a_large_run() {
    install(on_step);
    for bytes in [16, 32, 48] {
        let mut runs = 0;
        for at in 0.. {
            let mut reached = false;
            for later in 0..6 {
                let options =
                    PoolOptions::new(SPAN).cpus(1).adapters(7).accounts(64).commit(Commit::Portable);
                let pool: Rc<Pool> = Rc::new(options.build().unwrap());
                let id = pool.add_adapter("disk").unwrap();
                must_free(&pool, id, alloc(&pool, id, bytes).unwrap());
                let (held, run) = (Rc::new(Cell::new(None)), Rc::new(Cell::new(None)));
                let (first, hold) = (pool.clone(), held.clone());
                let carves = move || hold.set(alloc(&first, id, bytes).ok());
                let (second, got) = (pool.clone(), run.clone());
                let takes = move || {
                    held.take().into_iter().for_each(|block| must_free(&second, id, block));
                    got.set(alloc(&second, id, SPAN as u32).ok());
                };
                HANDLERS.set(vec![(Box::new(takes), None), (Box::new(carves), Some(later))]);
                LEFT.set(Some(at));
                let _ = pool.trim().unwrap();
                LEFT.set(None);
                reached |= HANDLERS.take().len() < 2;
                if let Some(run) = run.get() {
                    runs += 1;
                    let again = alloc(&pool, id, SPAN as u32).or_else(|_| alloc(&pool, id, bytes));
                    assert!(
                        again.is_err(),
                        "operations {at}, {later}: {run:#x} is live, and so is {again:x?}"
                    );
                }
            }
            if !reached {
                break;
            }
        }
        println!("{bytes} bytes: {runs} large runs");
        assert!(runs > 0);
    }
}
