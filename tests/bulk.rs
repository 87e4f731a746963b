//! The bulk calls: what single calls would answer, block by block.

mod common;

use std::sync::{Arc, Mutex, Weak};

use common::blocks::{Block, Random};
use common::*;
use storport_pool::{AdapterId, Irql, Platform, Pool, PoolOptions, Status, ViolationKind};

/// Frees at once; the statuses.
fn free_all<P: Platform>(pool: &Pool<P>, id: AdapterId, addresses: &[u64]) -> Vec<Status> {
    let mut statuses = vec![Status::UNSUCCESSFUL; addresses.len()];
    // SAFETY: the tests touch no block.
    let freed = unsafe { pool.free_bulk(id, addresses, &mut statuses) };
    assert_eq!(freed, statuses.iter().filter(|status| status.is_success()).count());
    statuses
}

fn some<P: Platform>(pool: &Pool<P>, id: AdapterId, bytes: u32, count: usize) -> Vec<u64> {
    let mut blocks = vec![0; count];
    assert_eq!(pool.allocate_bulk(id, bytes, TAG, &mut blocks), Status::SUCCESS);
    blocks
}

fn all_sizes_and_counts<W: Way>() {
    let pool = W::build(PoolOptions::new(16 << 20));
    let id = pool.add_adapter("disk").unwrap();
    for bytes in [1, 16, 100, 4096, 4097, 32_768, 32_769, 70_000] {
        for count in [0, 1, 2, 31, 32, 33, 70] {
            let mut blocks = some(&pool, id, bytes, count);
            assert_eq!(totals(&pool.snapshot()).2, count as u64, "{count} times {bytes}");
            blocks.sort_unstable();
            assert!(blocks.windows(2).all(|pair| pair[1] - pair[0] >= u64::from(bytes)));
            assert!(blocks.iter().all(|&block| block % 16 == 0 && (bytes < 4096 || block % 4096 == 0)));
            assert_eq!(free_all(&pool, id, &blocks), vec![Status::SUCCESS; count]);
        }
    }
    assert_eq!(totals(&pool.snapshot()).2, 0);
    pool.trim().unwrap();
    assert_eq!(pool.snapshot().free_bytes, pool.range().1);
}

/// Blocks of all sizes in any order, from single calls and bulk calls, into single calls and bulk calls.
fn mixed_with_single_calls<W: Way>() {
    let pool = W::build(PoolOptions::new(16 << 20));
    let id = pool.add_adapter("disk").unwrap();
    let mut blocks: Vec<u64> = Vec::new();
    for round in 0..300_u32 {
        let bytes = 1 + round * 7919 % 5000;
        blocks.push(alloc(&pool, id, bytes).unwrap());
        blocks.extend(some(&pool, id, bytes / 2 + 1, round as usize % 9));
        let at = (round as usize * 31) % blocks.len();
        must_free(&pool, id, blocks.swap_remove(at));
        if blocks.len() > 600 {
            let out = blocks.split_off(blocks.len() / 3);
            assert!(free_all(&pool, id, &out).iter().all(|status| status.is_success()));
        }
    }
    assert!(free_all(&pool, id, &blocks).iter().all(|status| status.is_success()));
    assert_eq!(totals(&pool.snapshot()).2, 0);
}

/// Each refused address gets its own status and violation, and the others are freed.
fn refused_among_good<W: Way>() {
    let pool = W::build(PoolOptions::new(4 << 20));
    let id = pool.add_adapter("disk").unwrap();
    let other = pool.add_adapter("other").unwrap();
    let heard = Heard::of(&pool);
    let good = some(&pool, id, 200, 6);
    let theirs = alloc(&pool, other, 200).unwrap();
    let large = alloc(&pool, id, 100_000).unwrap();
    let stale = alloc(&pool, id, 512).unwrap();
    must_free(&pool, id, stale);
    let base = pool.range().0;
    let list = [
        good[0],
        0,
        good[1],
        good[1],
        theirs,
        large,
        good[2] + 16,
        good[3],
        stale,
        base - 16,
        good[4] + 1,
        good[5],
        u64::MAX,
        large,
    ];
    let bad = Status::INVALID_PARAMETER;
    let ok = Status::SUCCESS;
    assert_eq!(free_all(&pool, id, &list), [ok, bad, ok, bad, bad, ok, bad, ok, bad, bad, bad, ok, bad, bad]);
    let kinds: Vec<_> = heard.take().iter().map(|violation| (violation.kind, violation.address)).collect();
    use ViolationKind::{DoubleFree, Foreign, Interior, WrongOwner};
    assert_eq!(
        kinds,
        [
            (DoubleFree, good[1]),
            (WrongOwner, theirs),
            (Interior, good[2] + 16),
            (DoubleFree, stale),
            (Foreign, base - 16),
            (Interior, good[4] + 1),
            (Foreign, u64::MAX),
            (DoubleFree, large),
        ]
    );
    assert_eq!(totals(&pool.snapshot()).2, 3);
    assert_eq!(free_all(&pool, id, &[good[2], good[4]]), [ok, ok]);
    must_free(&pool, other, theirs);
}

fn statuses_may_be_fewer_or_more<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20));
    let id = pool.add_adapter("disk").unwrap();
    for room in [0, 1, 5, 8, 11] {
        let mut blocks = some(&pool, id, 64, 7);
        blocks.insert(5, 16);
        let mut statuses = vec![Status::BUSY; room];
        // SAFETY: nobody touches the blocks.
        assert_eq!(unsafe { pool.free_bulk(id, &blocks, &mut statuses) }, 7);
        for (n, &status) in statuses.iter().enumerate() {
            let want = match n {
                5 => Status::INVALID_PARAMETER,
                0..8 => Status::SUCCESS,
                _ => Status::BUSY,
            };
            assert_eq!(status, want, "{n} of {room}");
        }
    }
}

fn all_or_none<W: Way>() {
    let pool = W::build(PoolOptions::new(4 * SPAN));
    let id = pool.add_adapter("disk").unwrap();
    for bytes in [4096, 32_768, 50_000] {
        let fit = 4 * if bytes > 32_768 { 1 } else { (SPAN / u64::from(bytes)) as usize };
        let kept = alloc(&pool, id, bytes).unwrap();
        let mut out = vec![7; fit];
        assert_eq!(pool.allocate_bulk(id, bytes, TAG, &mut out), Status::INSUFFICIENT_RESOURCES);
        assert_eq!(out, vec![0; fit], "a failure leaves addresses");
        assert_eq!(totals(&pool.snapshot()).2, 1);
        let rest = some(&pool, id, bytes, fit - 1);
        assert_eq!(alloc(&pool, id, bytes), Err(Status::INSUFFICIENT_RESOURCES));
        free_all(&pool, id, &rest);
        must_free(&pool, id, kept);
        pool.trim().unwrap();
        assert_eq!(pool.snapshot().free_bytes, pool.range().1);
    }
}

fn refused_as_a_whole<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20));
    let id = pool.add_adapter("disk").unwrap();
    let heard = Heard::of(&pool);
    let blocks = some(&pool, id, 300, 5);
    let all = |status| vec![status; 5];
    let allocate = |id, bytes| {
        let mut out = [9; 3];
        let status = pool.allocate_bulk(id, bytes, TAG, &mut out);
        assert_eq!(out, [0; 3]);
        status
    };
    for level in [Irql::DEVICE, Irql::HIGH] {
        W::at(level, || {
            assert_eq!(free_all(&pool, id, &blocks), all(Status::INVALID_IRQL));
            assert_eq!(allocate(id, 300), Status::INVALID_IRQL);
            // A hint is legal at any level, for any address.
            for address in [0, 1, 16, blocks[0], blocks[0] + 1, u64::MAX, pool.range().0 + pool.range().1] {
                pool.hint_free(address);
            }
        });
    }
    pool.set_not_implemented(true);
    assert_eq!(free_all(&pool, id, &blocks), all(Status::NOT_IMPLEMENTED));
    assert_eq!(allocate(id, 300), Status::NOT_IMPLEMENTED);
    assert_eq!(allocate(id, 0), Status::NOT_IMPLEMENTED);
    pool.set_not_implemented(false);
    assert_eq!(allocate(AdapterId::from_raw(77_777), 300), Status::INVALID_PARAMETER);
    assert_eq!(free_all(&pool, AdapterId::from_raw(77_777), &blocks), all(Status::INVALID_PARAMETER));
    assert!(heard.take().is_empty());
    assert_eq!(allocate(id, 0), Status::INVALID_PARAMETER);
    assert_eq!(heard.one().kind, ViolationKind::ZeroSize);
    pool.remove_adapter(id).unwrap();
    heard.take();
    assert_eq!(free_all(&pool, id, &blocks), all(Status::INVALID_PARAMETER));
    assert_eq!(free_all(&pool, AdapterId::ORPHANS, &blocks), all(Status::SUCCESS));
    assert_eq!(totals(&pool.snapshot()).2, 0);
}

/// The hook frees the rest of the list, allocates, and sees a pool of which nothing is in anybody's hand.
fn a_hook_that_frees_the_rest<W: Way>() {
    let pool = Arc::new(W::build(PoolOptions::new(4 * SPAN)));
    let id = pool.add_adapter("disk").unwrap();
    let blocks = some(&pool, id, 4096, 20);
    let rest = blocks[10..].to_vec();
    let weak: Weak<Pool<W::P>> = Arc::downgrade(&pool);
    let lives = Arc::new(Mutex::new(Vec::new()));
    let seen = lives.clone();
    pool.on_violation(move |violation| {
        let pool = weak.upgrade().unwrap();
        seen.lock().unwrap().push(totals(&pool.snapshot()).2);
        if violation.address == 16 {
            rest.iter().for_each(|&block| must_free(&pool, id, block));
            let whole: Vec<u64> = std::iter::from_fn(|| alloc(&pool, id, 4096).ok()).collect();
            assert_eq!(whole.len(), 64, "something is in hand");
            whole.iter().for_each(|&block| must_free(&pool, id, block));
        }
    });
    let mut list = blocks.clone();
    list.insert(10, 16);
    let statuses = free_all(&pool, id, &list);
    assert!(statuses[..10].iter().all(|status| status.is_success()));
    assert!(statuses[10..].iter().all(|&status| status == Status::INVALID_PARAMETER));
    assert_eq!(lives.lock().unwrap()[0], 10);
    assert_eq!(totals(&pool.snapshot()).2, 0);
}

/// Several threads, each with bulk calls on blocks of others: nothing is lost, and nothing handed out twice.
fn threads_hand_over<W: Way>() {
    let pool = W::build(PoolOptions::new(8 << 20).cpus(2));
    let id = pool.add_adapter("disk").unwrap();
    let shelf = Mutex::new(Vec::<Block>::new());
    std::thread::scope(|scope| {
        for seed in 1..5_u64 {
            let (pool, shelf) = (&pool, &shelf);
            scope.spawn(move || {
                W::go_to_cpu(seed as u32 % 3);
                let mut random = Random(seed * 77);
                for _ in 0..400 {
                    let marks: Vec<u64> = (0..random.next() % 50).map(|_| random.next()).collect();
                    let bytes = 64 + random.next() as u32 % 6000;
                    shelf.lock().unwrap().extend(Block::many(pool, id, bytes, TAG, &marks));
                    let mut shelf = shelf.lock().unwrap();
                    let keep = shelf.len() / 2;
                    let mine = shelf.split_off(keep);
                    drop(shelf);
                    Block::free_many(mine, pool, id);
                }
            });
        }
    });
    Block::free_many(shelf.into_inner().unwrap(), &pool, id);
    assert_eq!(totals(&pool.snapshot()).2, 0);
    assert_eq!(pool.violations(), 0);
    pool.trim().unwrap();
    assert_eq!(pool.snapshot().free_bytes, pool.range().1);
}

on_every_platform!(
    all_sizes_and_counts,
    mixed_with_single_calls,
    refused_among_good,
    statuses_may_be_fewer_or_more,
    all_or_none,
    refused_as_a_whole,
    a_hook_that_frees_the_rest,
    threads_hand_over,
);
