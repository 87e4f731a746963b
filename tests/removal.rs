//! A hundred thousand adapters are removed while others allocate in their names: what is reported is what they
//! had, each time.

mod common;

use std::io::Write;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};

use common::*;
use storport_pool::{AdapterId, PoolOptions, Status};

/// Of all four platforms together.
/// Adapters that come and go.
fn removed() -> u32 {
    rounds(20_000, 100_000)
}
const THREADS: usize = 2;

on_every_platform!(removals);

/// Ends the process when its thread panics: the others would wait for it for ever.
struct NobodyWaits;

impl Drop for NobodyWaits {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Past the test harness, which captures what is printed.
            let _ = std::io::stderr().write_all(b"a removal went wrong; --nocapture shows which\n");
            std::process::exit(101);
        }
    }
}

/// What a thread did in one adapter's life.
#[derive(Default)]
struct Did {
    /// Blocks it has.
    kept: Vec<u64>,
    /// What its last allocation was refused with: it may have been overtaken.
    refused: Option<Status>,
}

/// Allocates in the adapter's name until it is refused; frees some of it, if it may.
fn use_up<P: storport_pool::Platform>(pool: &storport_pool::Pool<P>, id: AdapterId, free_some: bool) -> Did {
    let mut did = Did::default();
    for round in 0u32.. {
        match alloc(pool, id, [80, 4096][round as usize % 2]) {
            Ok(address) => did.kept.push(address),
            // Full: wait for the removal.
            Err(Status::INSUFFICIENT_RESOURCES) => std::thread::yield_now(),
            Err(status) => {
                did.refused = Some(status);
                break;
            }
        }
        if free_some && round % 4 == 3 && !did.kept.is_empty() {
            let address = did.kept.swap_remove(round as usize % did.kept.len());
            // Refused when the block is the orphans' already.
            if free(pool, id, address) != Status::SUCCESS {
                did.kept.push(address);
            }
        }
    }
    did
}

fn removals<W: Way>() {
    let pool = W::build(PoolOptions::new(4 * SPAN).adapters(4));
    let handle = AtomicU32::new(0);
    let (begin, end) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    let done = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..THREADS as u32 {
            let (pool, handle, begin, end, done) = (&pool, &handle, &begin, &end, &done);
            scope.spawn(move || {
                let _nobody_waits = NobodyWaits;
                W::go_to_cpu(thread);
                for round in 0..removed() / 4 {
                    begin.wait();
                    let id = AdapterId::from_raw(handle.load(Ordering::Relaxed));
                    let did = use_up(pool, id, keeps(round));
                    done.lock().unwrap().push(did);
                    end.wait();
                }
            });
        }
        let _nobody_waits = NobodyWaits;
        for round in 0..removed() / 4 {
            let id = pool.add_adapter("short-lived").unwrap();
            handle.store(id.raw(), Ordering::Relaxed);
            begin.wait();
            for _ in 0..round % 64 * 8 {
                std::hint::spin_loop();
            }
            let mut reported = 0;
            if keeps(round) {
                pool.remove_adapter_with(id, |row| reported += row.blocks).unwrap();
            } else {
                // SAFETY: nobody uses the blocks, and in this round nobody frees.
                unsafe { pool.release_adapter_with(id, |row| reported += row.blocks) }.unwrap();
            }
            end.wait();
            let did = std::mem::take(&mut *done.lock().unwrap());
            let kept: u64 = did.iter().map(|did| did.kept.len() as u64).sum();
            assert!(did.iter().all(|did| did.refused == Some(Status::INVALID_PARAMETER)), "round {round}");
            // A block whose allocation was overtaken may be among them; its thread was refused.
            let late = did.len() as u64;
            assert!((kept..=kept + late).contains(&reported), "round {round}: {reported}, {kept} are kept");
            for address in did.into_iter().flat_map(|did| did.kept) {
                let expected = if keeps(round) { Status::SUCCESS } else { Status::INVALID_PARAMETER };
                assert_eq!(free(&pool, AdapterId::ORPHANS, address), expected);
            }
            if round % 64 == 0 {
                assert_eq!(totals(&pool.snapshot()).2, 0, "round {round}");
            }
        }
    });
    assert_eq!(totals(&pool.snapshot()).2, 0);
    pool.trim().unwrap();
    assert_eq!(pool.snapshot().free_bytes, pool.range().1);
}

fn keeps(round: u32) -> bool {
    round.is_multiple_of(2)
}
