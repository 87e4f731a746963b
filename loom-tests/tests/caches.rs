//! CPU caches and the depot: frees against refills and steals.
#![cfg(storport_pool_loom)]

use loom_tests::{
    Caller, LARGER, Masking, SMALL, SPAN, config, masked, model, on_cpu, pool, portable, run_on,
    settle_blocks,
};
use storport_pool::{Masked, Platform, Status};

/// Two CPUs without a cache put blocks to the loose ones while a third one, which has used up all others, refills
/// from there.
#[test]
fn two_remote_frees_against_a_refill() {
    model(|| {
        let shared = pool(&config(1, 1), portable());
        let caller = Caller { pool: &shared.0, adapter: shared.1 };
        let mut live = caller.drain(SMALL);
        let freed = [live.pop().unwrap(), live.pop().unwrap()];
        let threads =
            [1, 2].map(|cpu| on_cpu(cpu, &shared, move |caller| caller.free(freed[cpu as usize - 1])));
        // Fails when neither is there yet.
        let got = caller.try_allocate(SMALL);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(got.iter().all(|block| freed.contains(block)));
        live.extend(got);
        settle_blocks(&caller, live, SMALL);
    });
}

/// A free that finds its loaded magazine and its spare full publishes one, while another CPU refills.
fn overflow_against_a_refill<P: Platform + Send + 'static>(platform: fn() -> P) {
    model(move || {
        let shared = pool(&config(1, 2), platform());
        let caller = Caller { pool: &shared.0, adapter: shared.1 };
        // One block fits a magazine of this pool.
        let mut live = caller.drain(LARGER);
        caller.free(live.pop().unwrap());
        caller.free(live.pop().unwrap());
        let other = on_cpu(1, &shared, |caller| caller.try_allocate(LARGER));
        caller.free(live.pop().unwrap());
        live.extend(other.join().unwrap());
        settle_blocks(&caller, live, LARGER);
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
        let shared = pool(&config(1, 2), platform());
        let caller = Caller { pool: &shared.0, adapter: shared.1 };
        run_on(1);
        let mut live = caller.drain(SMALL);
        caller.free(live.pop().unwrap());
        let owner = on_cpu(1, &shared, |caller| {
            if let Ok(block) = caller.try_allocate(SMALL) {
                caller.free(block);
            }
        });
        run_on(0);
        live.extend(caller.try_allocate(SMALL));
        owner.join().unwrap();
        settle_blocks(&caller, live, SMALL);
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

/// The depot has one magazine, and two CPUs without a cache want it at once.
#[test]
fn two_refills_of_one_magazine() {
    model(|| {
        let shared = pool(&config(1, 1), portable());
        let caller = Caller { pool: &shared.0, adapter: shared.1 };
        // One block fits a magazine of this pool, so the third free publishes the first one's.
        let mut live = caller.drain(LARGER);
        (0..3).for_each(|_| caller.free(live.pop().unwrap()));
        let other = on_cpu(1, &shared, |caller| caller.try_allocate(LARGER));
        run_on(2);
        live.extend(caller.try_allocate(LARGER));
        live.extend(other.join().unwrap());
        settle_blocks(&caller, live, LARGER);
    });
}

/// All free memory sits in CPU 1's cache. Two CPUs without one steal it, while CPU 1 frees and allocates: a section of
/// CPU 1's may write over the first stealer's mark, and the second one stop the cursor again.
#[test]
fn two_stealers_against_the_owner() {
    model(|| {
        let shared = pool(&config(1, 2), Masked::new(Masking::new(4)));
        let caller = Caller { pool: &shared.0, adapter: shared.1 };
        run_on(1);
        let mut live = caller.drain(LARGER);
        caller.free(live.pop().unwrap());
        let freed = live.pop().unwrap();
        let stealers = [2, 3].map(|cpu| on_cpu(cpu, &shared, |caller| caller.try_allocate(LARGER)));
        caller.free(freed);
        live.extend(stealers.into_iter().filter_map(|stealer| stealer.join().unwrap().ok()));
        settle_blocks(&caller, live, LARGER);
    });
}

/// Two threads of one CPU: each is the other's interruption, at any step of allocate and free.
fn interrupted_owner<P: Platform + Send + 'static>(platform: fn() -> P) {
    model(move || {
        let shared = pool(&config(1, 2), platform());
        let caller = Caller { pool: &shared.0, adapter: shared.1 };
        let first = caller.allocate(SMALL);
        let second = caller.allocate(SMALL);
        let interrupt = on_cpu(0, &shared, move |caller| {
            caller.free(second);
            caller.try_allocate(SMALL)
        });
        caller.free(first);
        let mine = caller.try_allocate(SMALL);
        let its = interrupt.join().unwrap();
        settle_blocks(&caller, mine.into_iter().chain(its).collect(), SMALL);
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

/// One block is freed here, on CPU 0, and on another CPU: one of the two wins.
fn double_free<P: Platform + Send + 'static>(platform: fn() -> P, cpu: u32) {
    model(move || {
        let shared = pool(&config(1, 2), platform());
        let caller = Caller { pool: &shared.0, adapter: shared.1 };
        let block = caller.allocate(SMALL);
        let other = on_cpu(cpu, &shared, move |caller| caller.try_free(block));
        let mine = caller.try_free(block);
        let its = other.join().unwrap();
        assert!((mine == Status::SUCCESS) != (its == Status::SUCCESS), "{mine:?}, {its:?}");
        assert_eq!(shared.0.violations(), 1);
        settle_blocks(&caller, Vec::new(), SMALL);
    });
}

#[test]
fn double_free_from_two_cpus_portable() {
    double_free(portable, 1);
}

/// Without `checked`, two masked sections on two CPUs may both pass the compare in the same instant
/// (docs/CONCURRENCY.md, section 4): what holds then is that one CPU alone is exact.
#[test]
fn double_free_from_two_cpus_masked() {
    double_free(masked, u32::from(cfg!(feature = "checked")));
}

/// A large run is freed while another call coalesces its neighbour, which was freed before.
#[test]
fn a_large_free_against_coalescing() {
    model(|| {
        let shared = pool(&config(2, 1), portable());
        let caller = Caller { pool: &shared.0, adapter: shared.1 };
        let (left, right) = (caller.allocate(SPAN), caller.allocate(SPAN));
        caller.free(left);
        let other = on_cpu(1, &shared, move |caller| caller.free(right));
        let both = caller.try_allocate(2 * SPAN);
        other.join().unwrap();
        settle_blocks(&caller, both.into_iter().collect(), 2 * SPAN);
    });
}
