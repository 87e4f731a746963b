//! Many threads: patterns stay intact, and at the end everything is accounted for.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

use common::blocks::{Block, Random};
use common::*;
use storport_pool::{AdapterId, Pool, PoolOptions, Status, ViolationKind, tag};

on_every_platform!(
    patterns_survive,
    frees_from_other_threads,
    threads_come_and_go,
    everything_at_once,
    a_crowd_on_one_cpu,
    an_adapter_goes_while_others_allocate,
);

const THREADS: u64 = 8;

fn churn<W: Way>(pool: &Pool<W::P>, id: AdapterId, seed: u64, rounds: u64) -> u64 {
    let mut random = Random(seed * 2 + 1);
    let mut held: Vec<Block> = Vec::new();
    let mut got = 0;
    for round in 0..rounds {
        if random.next().is_multiple_of(64) {
            W::go_to_cpu(random.next() as u32 % 5);
        }
        if random.next().is_multiple_of(2) || held.is_empty() {
            let size = random.size();
            if let Some(block) = Block::new(pool, id, size, TAG, seed << 32 | round) {
                held.push(block);
                got += 1;
            }
        }
        if held.len() > 60 || random.next().is_multiple_of(2) {
            let n = random.next() as usize % held.len().max(1);
            if n < held.len() {
                held.swap_remove(n).free(pool, id);
            }
        }
    }
    for block in held {
        block.free(pool, id);
    }
    got
}

/// Nothing is live, all of the range comes back, and as much was counted as was had.
fn all_accounted_for<W: Way>(pool: &Pool<W::P>, heard: &Heard, allocs: u64) {
    let snapshot = pool.snapshot();
    assert_eq!(totals(&snapshot), (allocs, allocs, 0));
    assert_eq!(snapshot.changing, 0);
    assert!(heard.take().iter().all(|violation| violation.kind == ViolationKind::Leak));
    pool.trim().unwrap();
    let after = pool.snapshot();
    if after.free_bytes != after.range_bytes {
        // To tell what was lost from what was only missed.
        pool.trim().unwrap();
        panic!("something is lost: {:?}, then {:?}", after.classes, pool.snapshot().classes);
    }
}

fn patterns_survive<W: Way>() {
    let pool = W::build(PoolOptions::new(16 << 20).cpus(4));
    let heard = Heard::of(&pool);
    let id = pool.add_adapter("disk").unwrap();
    let allocs = std::thread::scope(|scope| {
        let workers: Vec<_> = (1..=THREADS)
            .map(|seed| {
                let pool = &pool;
                scope.spawn(move || churn::<W>(pool, id, seed, 20_000))
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    all_accounted_for::<W>(&pool, &heard, allocs);
}

fn frees_from_other_threads<W: Way>() {
    let pool = W::build(PoolOptions::new(8 << 20).cpus(4));
    let heard = Heard::of(&pool);
    let id = pool.add_adapter("disk").unwrap();
    let allocs = AtomicU64::new(0);
    std::thread::scope(|scope| {
        // A ring: each thread frees what the one before it allocated.
        let (ends, mut entries): (Vec<_>, Vec<_>) =
            (0..THREADS).map(|_| mpsc::sync_channel::<Block>(64)).unzip();
        entries.rotate_left(1);
        for (n, (send, receive)) in ends.into_iter().zip(entries).enumerate() {
            let (pool, allocs) = (&pool, &allocs);
            scope.spawn(move || {
                W::go_to_cpu(n as u32);
                let mut random = Random(n as u64 + 77);
                let mut count = 0;
                for round in 0..8_000 {
                    let size = random.size();
                    if let Some(block) = Block::new(pool, id, size, TAG, round) {
                        count += 1;
                        match send.try_send(block) {
                            Ok(()) => {}
                            Err(
                                mpsc::TrySendError::Full(block) | mpsc::TrySendError::Disconnected(block),
                            ) => {
                                block.free(pool, id);
                            }
                        }
                    }
                    for block in receive.try_iter().take(2) {
                        block.free(pool, id);
                    }
                }
                allocs.fetch_add(count, Ordering::Relaxed);
                drop(send);
                for block in receive {
                    block.free(pool, id);
                }
            });
        }
    });
    all_accounted_for::<W>(&pool, &heard, allocs.into_inner());
}

fn threads_come_and_go<W: Way>() {
    let pool = W::build(PoolOptions::new(2 << 20).cpus(4));
    let heard = Heard::of(&pool);
    let id = pool.add_adapter("disk").unwrap();
    let mut allocs = 0;
    let mut inherited: Vec<Block> = Vec::new();
    for generation in 0..60 {
        let (left, got) = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..5)
                .map(|n| {
                    let (pool, take) = (&pool, inherited.split_off(inherited.len() * 4 / 5));
                    scope.spawn(move || {
                        W::go_to_cpu(n);
                        for block in take {
                            block.free(pool, id);
                        }
                        let got = churn::<W>(pool, id, generation * 8 + u64::from(n), 100);
                        let left: Vec<_> =
                            (1..40).filter_map(|n| Block::new(pool, id, n * 50, TAG, generation)).collect();
                        let made = left.len() as u64;
                        (left, got + made)
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).fold(
                (Vec::new(), 0),
                |mut sum, (left, got)| {
                    sum.0.extend(left);
                    (sum.0, sum.1 + got)
                },
            )
        });
        allocs += got;
        inherited.extend(left);
    }
    for block in inherited {
        block.free(&pool, id);
    }
    all_accounted_for::<W>(&pool, &heard, allocs);
}

fn everything_at_once<W: Way>() {
    let pool = W::build(PoolOptions::new(8 << 20).cpus(4).adapters(8));
    let heard = Heard::of(&pool);
    let id = pool.add_adapter("disk").unwrap();
    let stop = AtomicBool::new(false);
    let mut allocs = 0;
    std::thread::scope(|scope| {
        let trimmer = scope.spawn(|| {
            let mut trims = 0;
            while !stop.load(Ordering::Relaxed) {
                W::go_to_cpu(trims % 4);
                trims += u32::from(pool.trim().is_ok());
                std::thread::yield_now();
            }
        });
        let watcher = scope.spawn(|| {
            let mut last = 0;
            while !stop.load(Ordering::Relaxed) {
                // Of the adapter that stays: a row of one that goes may be taken apart meanwhile.
                let snapshot = pool.snapshot();
                let Some(row) = snapshot.accounts.iter().find(|row| row.adapter == Some(id)) else {
                    continue;
                };
                let (allocs, frees, live) = (row.totals.allocs, row.totals.frees, row.totals.live);
                assert_eq!(allocs, frees + live);
                assert!(allocs >= last, "totals never fall: {last} -> {allocs}");
                last = allocs;
                std::thread::yield_now();
            }
        });
        let changer = scope.spawn(|| {
            let mut allocs = 0;
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                round += 1;
                let guest = pool.add_adapter("guest").unwrap();
                let blocks: Vec<_> =
                    (1..20).filter_map(|n| Block::new(&pool, guest, n * 100, tag!("Gues"), round)).collect();
                allocs += blocks.len() as u64;
                if round % 2 == 0 && round < 500 {
                    let count = blocks.len() as u64;
                    assert_eq!(pool.remove_adapter(guest).unwrap().blocks(), count);
                    for block in blocks {
                        block.free(&pool, AdapterId::ORPHANS);
                    }
                } else {
                    blocks.iter().for_each(Block::check);
                    // SAFETY: the blocks are used no more.
                    let removal = unsafe { pool.release_adapter(guest) }.unwrap();
                    assert_eq!(removal.blocks(), blocks.len() as u64);
                }
            }
            allocs
        });
        let workers: Vec<_> = (1..=4)
            .map(|seed| {
                let pool = &pool;
                scope.spawn(move || churn::<W>(pool, id, seed, 15_000))
            })
            .collect();
        allocs += workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u64>();
        stop.store(true, Ordering::Relaxed);
        trimmer.join().unwrap();
        watcher.join().unwrap();
        allocs += changer.join().unwrap();
    });
    all_accounted_for::<W>(&pool, &heard, allocs);
}

/// All threads share one CPU's cache, and some have a CPU number without one.
fn a_crowd_on_one_cpu<W: Way>() {
    let pool = W::build(PoolOptions::new(4 << 20).cpus(1));
    let heard = Heard::of(&pool);
    let id = pool.add_adapter("disk").unwrap();
    let mut allocs = 0;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|n| {
                let pool = &pool;
                scope.spawn(move || {
                    W::go_to_cpu(n as u32 / 4);
                    let mut held: Vec<Block> = Vec::new();
                    let mut got = 0;
                    for round in 0..20_000 {
                        if let Some(block) = Block::new(pool, id, 64, TAG, n << 32 | round) {
                            got += 1;
                            held.push(block);
                        }
                        if held.len() > 70 {
                            for block in held.drain(10..) {
                                block.free(pool, id);
                            }
                        }
                    }
                    for block in held {
                        block.free(pool, id);
                    }
                    got
                })
            })
            .collect();
        allocs += workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u64>();
    });
    all_accounted_for::<W>(&pool, &heard, allocs);
}

/// From the start of a removal the adapter gets nothing more; all that it got is reported.
fn an_adapter_goes_while_others_allocate<W: Way>() {
    let pool = W::build(PoolOptions::new(4 << 20).cpus(4));
    let heard = Heard::of(&pool);
    let mut allocs = 0;
    for round in 0..150 {
        let id = pool.add_adapter("going").unwrap();
        let (reported, kept) = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..3)
                .map(|n| {
                    let pool = &pool;
                    scope.spawn(move || {
                        W::go_to_cpu(n);
                        let mut got = Vec::new();
                        loop {
                            match alloc(pool, id, 16 + 16 * n) {
                                Ok(address) => got.push(address),
                                Err(Status::INVALID_PARAMETER) => return got,
                                Err(Status::INSUFFICIENT_RESOURCES) => std::thread::yield_now(),
                                Err(other) => panic!("{other}"),
                            }
                        }
                    })
                })
                .collect();
            for _ in 0..round * 10 {
                std::hint::spin_loop();
            }
            let reported = pool.remove_adapter(id).unwrap().blocks();
            let kept: Vec<u64> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
            (reported, kept)
        });
        // A call that was under way when the removal began may be seen before it undoes itself.
        let sure = kept.len() as u64;
        assert!((sure..=sure + 3).contains(&reported), "round {round}: {reported} of {sure}");
        allocs += sure;
        for address in kept {
            must_free(&pool, AdapterId::ORPHANS, address);
        }
    }
    // Allocations that were undone count as allocated and freed.
    let (counted, freed, live) = totals(&pool.snapshot());
    assert!(counted >= allocs && counted == freed && live == 0, "{counted} {freed} {live}");
    all_accounted_for::<W>(&pool, &heard, counted);
}
