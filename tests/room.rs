//! Only what lives counts: dead tags, and what removed adapters left, make room for live ones.

mod common;

use common::*;
use storport_pool::{AdapterError, AdapterId, Pool, PoolOptions, PoolTag};

on_every_platform!(dead_tags_make_room, orphans_make_room, as_many_adapters_as_the_pool_was_made_for,);

fn numbered(n: u32) -> PoolTag {
    PoolTag::from_raw(0x4141_4141 + ((n / 26 / 26 % 26) << 16) + ((n / 26 % 26) << 8) + n % 26)
}

/// A new adapter's eight tags are told apart, whatever was there before.
fn eight_tags_are_told_apart<W: Way>(pool: &Pool<W::P>) {
    let id = pool.add_adapter("late").unwrap();
    let mut live = Vec::new();
    for n in 0..8 {
        live.push(alloc_tag(pool, id, 100, numbered(10_000 + n)).unwrap());
        live.push(alloc_tag(pool, id, 100, numbered(10_000 + n)).unwrap());
    }
    let rows = pool.snapshot().accounts;
    let rows: Vec<_> = rows.iter().filter(|row| row.adapter == Some(id)).collect();
    assert_eq!(rows.len(), 8, "{rows:?}");
    assert!(
        rows.iter().all(|row| row.tag.is_some() && (row.totals.allocs, row.totals.live) == (2, 2)),
        "{rows:?}"
    );
    live.into_iter().for_each(|block| must_free(pool, id, block));
    pool.remove_adapter(id).unwrap();
}

/// Tags that nobody uses any more make room, at the first try.
fn dead_tags_make_room<W: Way>() {
    for accounts in [16, 64] {
        let pool = W::build(PoolOptions::new(1 << 20).cpus(2).accounts(accounts).adapters(4));
        let mut last = 0;
        for round in 1..=200u32 {
            let id = pool.add_adapter("disk").unwrap_or_else(|error| panic!("round {round}: {error}"));
            let tag = numbered(round);
            must_free(&pool, id, alloc_tag(&pool, id, 100, tag).unwrap());
            let snapshot = pool.snapshot();
            let row = snapshot.accounts.iter().find(|row| row.adapter == Some(id)).unwrap();
            assert_eq!((row.tag, row.totals.allocs, row.totals.frees), (Some(tag), 1, 1), "round {round}");
            // What went with its tag stays counted.
            assert!(snapshot.other >= last && snapshot.other < u64::from(round));
            last = snapshot.other;
            assert_eq!(totals(&snapshot), (u64::from(round), u64::from(round), 0));
            pool.remove_adapter(id).unwrap();
        }
        assert!(last >= 200 - u64::from(accounts), "{last}");
        eight_tags_are_told_apart::<W>(&pool);
        assert_eq!(totals(&pool.snapshot()), (216, 216, 0));
    }
}

/// Adapters that left blocks under many tags: all of those can be freed, and others' tags are told apart.
fn orphans_make_room<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20).cpus(2).accounts(64).adapters(4));
    let mut left = Vec::new();
    for round in 0..300u32 {
        let id = pool.add_adapter("disk").unwrap_or_else(|error| panic!("round {round}: {error}"));
        let bytes = if round % 50 == 0 { 40_000 } else { 100 };
        left.push((alloc_tag(&pool, id, bytes, numbered(round)).unwrap(), u64::from(bytes)));
        must_free(&pool, id, alloc_tag(&pool, id, 200, numbered(round)).unwrap());
        assert_eq!(pool.remove_adapter(id).unwrap().blocks(), 1, "round {round}");
        if round % 3 == 0 {
            must_free(&pool, AdapterId::ORPHANS, left.swap_remove(left.len() / 2).0);
        }
        let snapshot = pool.snapshot();
        let freed = u64::from(round) + 1 + u64::from(round / 3 + 1);
        assert_eq!(totals(&snapshot), (2 * u64::from(round) + 2, freed, left.len() as u64), "round {round}");
        let orphans = snapshot.accounts.iter().filter(|row| row.adapter == Some(AdapterId::ORPHANS));
        let bytes: u64 = orphans.map(|row| row.totals.bytes_requested).sum();
        assert_eq!(bytes, left.iter().map(|block| block.1).sum(), "round {round}");
        for row in &snapshot.accounts {
            assert_eq!(row.totals.histogram.iter().map(|bar| bar.allocs).sum::<u64>(), row.totals.allocs);
        }
    }
    eight_tags_are_told_apart::<W>(&pool);
    left.into_iter().for_each(|block| must_free(&pool, AdapterId::ORPHANS, block.0));
    assert_eq!(totals(&pool.snapshot()), (616, 616, 0));
    pool.trim().unwrap();
    assert_eq!(pool.snapshot().free_bytes, pool.range().1);
}

/// However few accounts there are, each adapter counts what it has.
fn as_many_adapters_as_the_pool_was_made_for<W: Way>() {
    for (adapters, accounts) in [(1023, 16), (1023, 1024), (15, 16), (64, 64)] {
        let pool = W::build(PoolOptions::new(1 << 20).cpus(1).accounts(accounts).adapters(adapters));
        // Dead tags and orphans have all accounts.
        let first = pool.add_adapter("first").unwrap();
        let tags = 0..2 * accounts;
        let left: Vec<_> = tags.map(|n| alloc_tag(&pool, first, 16, numbered(n)).unwrap()).collect();
        left[accounts as usize..].iter().for_each(|&block| must_free(&pool, first, block));
        pool.remove_adapter(first).unwrap();
        let ids: Vec<_> = (0..adapters).map(|_| pool.add_adapter("disk").unwrap()).collect();
        assert_eq!(pool.add_adapter("one too many"), Err(AdapterError::TooMany));
        let blocks: Vec<_> = ids.iter().map(|&id| alloc(&pool, id, 100).unwrap()).collect();
        let snapshot = pool.snapshot();
        for &id in &ids {
            let rows = snapshot.accounts.iter().filter(|row| row.adapter == Some(id));
            let rows: Vec<_> = rows.map(|row| (row.totals.allocs, row.totals.live)).collect();
            assert_eq!(rows, [(1, 1)], "{id}");
        }
        for (&id, block) in ids.iter().zip(blocks) {
            assert_eq!(pool.remove_adapter(id).unwrap().blocks(), 1);
            must_free(&pool, AdapterId::ORPHANS, block);
        }
        let all = 2 * u64::from(accounts) + u64::from(adapters);
        assert_eq!(totals(&pool.snapshot()), (all, all - u64::from(accounts), accounts.into()));
    }
}
