//! CPU caches, the depot and the block queue: frees against refills and drains.
#![cfg(storport_pool_loom)]

use loom::sync::Arc;
use loom::thread;
use loom_tests::{
    Caller, LARGER, Masking, SMALL, SPAN, Threads, config, disjoint, model, pool, run_on, settle,
};
use storport_pool::{Config, Masked, Platform, Pool, Portable, Status};

fn portable() -> Portable<Threads> {
    Portable::new(Threads)
}

fn masked() -> Masked<Masking> {
    Masked::new(Masking::new(2))
}

/// A pool, its adapter, and what is live in it, as threads see them.
fn with_adapter<P: Platform>(config: &Config, platform: P) -> (Arc<Pool<P>>, storport_pool::AdapterId) {
    let pool = pool(config, platform);
    let adapter = pool.add_adapter("disk").unwrap();
    (Arc::new(pool), adapter)
}

/// Two CPUs without a cache put blocks into the queue while a third one, which has used up all others,
/// refills from it.
#[test]
fn two_remote_frees_against_a_refill() {
    model(|| {
        let (pool, adapter) = with_adapter(&config(1, 1), portable());
        let caller = Caller { pool: &pool, adapter };
        let mut live = caller.drain(SMALL);
        let freed = [live.pop().unwrap(), live.pop().unwrap()];
        let threads: Vec<_> = freed
            .into_iter()
            .enumerate()
            .map(|(n, block)| {
                let pool = Arc::clone(&pool);
                thread::spawn(move || {
                    run_on(1 + n as u32);
                    Caller { pool: &pool, adapter }.free(block);
                })
            })
            .collect();
        // Fails when neither is there yet, or one stands in a gap.
        let got = caller.try_allocate(SMALL);
        for thread in threads {
            thread.join().unwrap();
        }
        live.extend(got.iter());
        disjoint(live.iter().map(|&block| (block, SMALL)));
        assert!(got.iter().all(|block| freed.contains(block)));
        let live: Vec<_> = live.iter().map(|&block| (adapter, block)).collect();
        settle(&pool, &live);
    });
}

/// A free that finds its loaded magazine and its spare full publishes one, while another CPU refills.
fn overflow_against_a_refill<P: Platform + Send + 'static>(platform: fn() -> P) {
    model(move || {
        let (pool, adapter) = with_adapter(&config(1, 2), platform());
        let caller = Caller { pool: &pool, adapter };
        // One block fits a magazine of this pool.
        let live = caller.drain(LARGER);
        let (near, far) = live.split_at(2);
        caller.free(near[0]);
        caller.free(near[1]);
        let overflowing = far[0];
        let thread = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                run_on(1);
                Caller { pool: &pool, adapter }.try_allocate(LARGER)
            }
        });
        caller.free(overflowing);
        let got = thread.join().unwrap();
        let live: Vec<_> = far[1..].iter().copied().chain(got.ok()).collect();
        disjoint(live.iter().map(|&block| (block, LARGER)));
        let live: Vec<_> = live.into_iter().map(|block| (adapter, block)).collect();
        settle(&pool, &live);
    });
}

#[test]
fn overflow_against_a_refill_portable() {
    overflow_against_a_refill(portable);
}

#[test]
fn overflow_against_a_refill_masked() {
    overflow_against_a_refill(masked);
}

/// All free memory sits in CPU 1's cache; CPU 0 drains it while CPU 1 allocates and frees.
fn drain_against_the_owner<P: Platform + Send + 'static>(platform: fn() -> P) {
    model(move || {
        let (pool, adapter) = with_adapter(&config(1, 2), platform());
        let caller = Caller { pool: &pool, adapter };
        run_on(1);
        let mut live = caller.drain(SMALL);
        let parked = live.pop().unwrap();
        caller.free(parked);
        let owner = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                run_on(1);
                let caller = Caller { pool: &pool, adapter };
                let block = caller.try_allocate(SMALL);
                if let Ok(block) = block {
                    caller.free(block);
                }
            }
        });
        run_on(0);
        live.extend(caller.try_allocate(SMALL));
        owner.join().unwrap();
        disjoint(live.iter().map(|&block| (block, SMALL)));
        let live: Vec<_> = live.into_iter().map(|block| (adapter, block)).collect();
        settle(&pool, &live);
    });
}

#[test]
fn drain_against_the_owner_portable() {
    drain_against_the_owner(portable);
}

#[test]
fn drain_against_the_owner_masked() {
    drain_against_the_owner(masked);
}

/// Two threads of one CPU: each is the other's interruption, at any step of allocate and free.
fn interrupted_owner<P: Platform + Send + 'static>(platform: fn() -> P) {
    model(move || {
        let (pool, adapter) = with_adapter(&config(1, 2), platform());
        let caller = Caller { pool: &pool, adapter };
        let first = caller.allocate(SMALL);
        let second = caller.allocate(SMALL);
        let interrupt = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                run_on(0);
                let caller = Caller { pool: &pool, adapter };
                caller.free(second);
                caller.try_allocate(SMALL)
            }
        });
        caller.free(first);
        let mine = caller.try_allocate(SMALL);
        let its = interrupt.join().unwrap();
        let live: Vec<_> = mine.into_iter().chain(its).collect();
        disjoint(live.iter().map(|&block| (block, SMALL)));
        let live: Vec<_> = live.into_iter().map(|block| (adapter, block)).collect();
        settle(&pool, &live);
    });
}

#[test]
fn interrupted_owner_portable() {
    interrupted_owner(portable);
}

#[test]
fn interrupted_owner_masked() {
    interrupted_owner(masked);
}

/// Two CPUs free one block. The twin, and every platform of the profile `checked`, lets one win.
fn double_free<P: Platform + Send + 'static>(platform: fn() -> P) {
    model(move || {
        let (pool, adapter) = with_adapter(&config(1, 2), platform());
        let caller = Caller { pool: &pool, adapter };
        let block = caller.allocate(SMALL);
        let other = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                run_on(1);
                Caller { pool: &pool, adapter }.try_free(block)
            }
        });
        let mine = caller.try_free(block);
        let its = other.join().unwrap();
        assert!((mine == Status::SUCCESS) != (its == Status::SUCCESS), "{mine:?}, {its:?}");
        assert_eq!(pool.violations(), 1);
        settle(&pool, &[]);
    });
}

#[test]
fn double_free_from_two_cpus_portable() {
    double_free(portable);
}

/// Without `checked`, two masked sections on two CPUs may both pass the compare in the same instant
/// (docs/CONCURRENCY.md, section 4): what holds then is that one CPU alone is exact.
#[test]
fn double_free_from_two_cpus_masked() {
    if cfg!(feature = "checked") {
        double_free(masked);
        return;
    }
    model(|| {
        let (pool, adapter) = with_adapter(&config(1, 2), masked());
        let caller = Caller { pool: &pool, adapter };
        let block = caller.allocate(SMALL);
        let other = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                run_on(0);
                Caller { pool: &pool, adapter }.try_free(block)
            }
        });
        let mine = caller.try_free(block);
        let its = other.join().unwrap();
        assert!((mine == Status::SUCCESS) != (its == Status::SUCCESS), "{mine:?}, {its:?}");
        assert_eq!(pool.violations(), 1);
        settle(&pool, &[]);
    });
}

/// A large run is freed while another call coalesces its neighbour, which was freed before.
#[test]
fn a_large_free_against_coalescing() {
    model(|| {
        let (pool, adapter) = with_adapter(&config(2, 1), portable());
        let caller = Caller { pool: &pool, adapter };
        let (left, right) = (caller.allocate(SPAN), caller.allocate(SPAN));
        caller.free(left);
        let other = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                run_on(1);
                Caller { pool: &pool, adapter }.free(right);
            }
        });
        let both = caller.try_allocate(2 * SPAN);
        other.join().unwrap();
        let live: Vec<_> = both.into_iter().map(|block| (adapter, block)).collect();
        settle(&pool, &live);
    });
}
