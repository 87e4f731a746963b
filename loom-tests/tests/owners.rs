//! Adapters and accounts: added, used and removed by several threads.
#![cfg(storport_pool_loom)]

use loom::sync::Arc;
use loom::thread;
use loom_tests::{Caller, SMALL, Threads, config, model, pool, run_on, settle};
use storport_pool::{AdapterId, Portable, Status};

/// Two CPUs allocate the first block of a tag at once: both are counted.
#[test]
fn interning_by_two_cpus() {
    model(|| {
        let pool = Arc::new(pool(&config(3, 2), Portable::new(Threads)));
        let adapter = pool.add_adapter("disk").unwrap();
        let other = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                run_on(1);
                Caller { pool: &pool, adapter }.allocate(SMALL)
            }
        });
        let mine = Caller { pool: &pool, adapter }.allocate(SMALL);
        let its = other.join().unwrap();
        assert_ne!(mine, its);
        assert_eq!(pool.snapshot().other, 0);
        settle(&pool, &[(adapter, mine), (adapter, its)]);
    });
}

/// An adapter is removed, its blocks kept, while another CPU allocates in its name. What was allocated is
/// reported or refused, and all of it belongs to the orphans.
#[test]
fn removal_against_allocate() {
    model(|| {
        let pool = Arc::new(pool(&config(1, 2), Portable::new(Threads)));
        let adapter = pool.add_adapter("disk").unwrap();
        let caller = Caller { pool: &pool, adapter };
        let first = caller.allocate(SMALL);
        let other = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                run_on(1);
                Caller { pool: &pool, adapter }.try_allocate(SMALL)
            }
        });
        let mut reported = 0;
        pool.remove_adapter_with(adapter, |row| reported += row.blocks).unwrap();
        let second = other.join().unwrap();
        let live: Vec<_> = std::iter::once(first)
            .chain(second.inspect_err(|&status| assert_eq!(status, Status::INVALID_PARAMETER)))
            .map(|block| (AdapterId::ORPHANS, block))
            .collect();
        // An allocation that was overtaken may be reported although it undoes itself.
        assert!(reported >= live.len() as u64 && reported <= 2, "{reported} of {}", live.len());
        assert_eq!(caller.try_free(first), Status::INVALID_PARAMETER);
        settle(&pool, &live);
    });
}

/// The same, with the blocks released: reported equals what was allocated.
#[test]
fn release_against_allocate() {
    model(|| {
        let pool = Arc::new(pool(&config(1, 2), Portable::new(Threads)));
        let adapter = pool.add_adapter("disk").unwrap();
        Caller { pool: &pool, adapter }.allocate(SMALL);
        let other = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                run_on(1);
                Caller { pool: &pool, adapter }.try_allocate(SMALL).is_ok()
            }
        });
        let mut released = 0;
        // SAFETY: nobody uses the blocks, and no free is in flight.
        unsafe { pool.release_adapter_with(adapter, |row| released += row.blocks) }.unwrap();
        let second = other.join().unwrap();
        assert!(released == 1 + u64::from(second) || !second && released == 2, "{released}");
        settle(&pool, &[]);
    });
}

/// Three threads: one adds an adapter, one uses it as soon as it is there, one removes it.
#[test]
fn added_used_and_removed() {
    model(|| {
        let pool = Arc::new(pool(&config(1, 2), Portable::new(Threads)));
        let adapter = pool.add_adapter("disk").unwrap();
        let adder = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.add_adapter("other").unwrap()
        });
        let user = thread::spawn({
            let pool = Arc::clone(&pool);
            move || {
                run_on(1);
                let caller = Caller { pool: &pool, adapter };
                if let Ok(block) = caller.try_allocate(SMALL) {
                    // Its owner's, or the orphans' already.
                    match caller.try_free(block) {
                        Status::SUCCESS => None,
                        status => {
                            assert_eq!(status, Status::INVALID_PARAMETER);
                            Some(block)
                        }
                    }
                } else {
                    None
                }
            }
        });
        pool.remove_adapter_with(adapter, |_| {}).unwrap();
        let added = adder.join().unwrap();
        assert_ne!(added, adapter);
        let live: Vec<_> = user.join().unwrap().into_iter().map(|b| (AdapterId::ORPHANS, b)).collect();
        settle(&pool, &live);
    });
}
