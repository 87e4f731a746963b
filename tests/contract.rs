//! What the two routines promise: statuses, the order of checks, layout.

mod common;

use common::*;
use storport_pool::{
    AdapterError, AdapterId, Config, CreateError, Irql, PoolOptions, PoolTag, Status, ViolationKind, tag,
};

on_every_platform!(
    statuses_of_allocate,
    statuses_of_free,
    every_level,
    every_size_keeps_the_layout_rules,
    sizes_around_every_class_boundary,
    the_smallest_block_can_be_larger,
    larger_than_the_pool_fails_at_once,
    a_range_that_is_no_memory,
    adapters_come_and_go,
);

const NOBODY: AdapterId = AdapterId::from_raw(0);

/// Every combination of faults earns the status of the first one in the contract's order.
fn statuses_of_allocate<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20).strict_tags(true));
    let id = pool.add_adapter("disk").unwrap();
    let removed = pool.add_adapter("gone").unwrap();
    pool.remove_adapter(removed).unwrap();
    let known_tag = alloc(&pool, id, 16).unwrap();
    let good = [(id, 100, TAG), (id, 100, tag!("New1")), (id, 5000, TAG), (id, 40_000, TAG)];
    let bad = [
        (id, 0, TAG),
        (NOBODY, 100, TAG),
        (removed, 100, TAG),
        (AdapterId::ORPHANS, 100, TAG),
        (AdapterId::from_raw(u32::MAX), 100, TAG),
        (AdapterId::from_raw(id.raw() ^ 1), 5000, TAG),
        (id, 100, PoolTag::from_raw(0)),
        (id, 100, tag!("BIG")),
        (id, 100, tag!("BIG ")),
        (id, 100, tag!("..-!")),
        (NOBODY, 0, PoolTag::from_raw(0)),
        // What an unused account's word, and an adapter's *other* one, might be taken for.
        (NOBODY, 100, PoolTag::from_raw(0)),
        (id, 100, PoolTag::from_raw(u32::MAX)),
        (AdapterId::ORPHANS, 100, PoolTag::from_raw(u32::MAX)),
    ];
    let too_large = (id, u32::MAX, TAG);
    for not_implemented in [false, true] {
        pool.set_not_implemented(not_implemented);
        for irql in [Irql::PASSIVE, Irql::DISPATCH, Irql::DEVICE, Irql::HIGH] {
            let call = |(id, bytes, tag): (AdapterId, u32, PoolTag)| {
                W::at(irql, || match alloc_tag(&pool, id, bytes, tag) {
                    Ok(address) => {
                        must_free(&pool, id, address);
                        Status::SUCCESS
                    }
                    Err(status) => status,
                })
            };
            let null = W::at(irql, || [pool.allocate(id, 1, TAG, None), pool.allocate(NOBODY, 0, TAG, None)]);
            let expect = |otherwise| if not_implemented { Status::NOT_IMPLEMENTED } else { otherwise };
            let above = irql > Irql::DISPATCH;
            assert_eq!(null, [expect(Status::INVALID_PARAMETER); 2]);
            for request in good {
                let want = if above { Status::INVALID_IRQL } else { Status::SUCCESS };
                assert_eq!(call(request), expect(want), "{request:?} at {irql}");
            }
            for request in bad {
                assert_eq!(call(request), expect(Status::INVALID_PARAMETER), "{request:?} at {irql}");
            }
            let want = if above { Status::INVALID_IRQL } else { Status::INSUFFICIENT_RESOURCES };
            assert_eq!(call(too_large), expect(want));
        }
    }
    pool.set_not_implemented(false);
    must_free(&pool, id, known_tag);
    let (allocs, frees, live) = totals(&pool.snapshot());
    assert_eq!((allocs, frees, live), (1 + 8, 1 + 8, 0));
}

fn statuses_of_free<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20));
    let id = pool.add_adapter("disk").unwrap();
    let removed = pool.add_adapter("gone").unwrap();
    pool.remove_adapter(removed).unwrap();
    let blocks =
        [alloc(&pool, id, 100).unwrap(), alloc(&pool, id, 9000).unwrap(), alloc(&pool, id, 70_000).unwrap()];
    let before = picture(&pool);
    let outside = pool.range().0.wrapping_sub(16);
    for not_implemented in [false, true] {
        pool.set_not_implemented(not_implemented);
        for irql in [Irql::PASSIVE, Irql::APC, Irql::DISPATCH, Irql::DEVICE, Irql::CLOCK, Irql::HIGH] {
            let call = |id, address| W::at(irql, || free(&pool, id, address));
            let expect = |otherwise| if not_implemented { Status::NOT_IMPLEMENTED } else { otherwise };
            let above = irql > Irql::DISPATCH;
            // Parameters come before the level, and the level before the look at the pointer.
            for address in [0, blocks[0], outside] {
                for stranger in [NOBODY, removed, AdapterId::from_raw(u32::MAX)] {
                    assert_eq!(call(stranger, address), expect(Status::INVALID_PARAMETER));
                }
            }
            assert_eq!(call(id, 0), expect(Status::INVALID_PARAMETER));
            let want = if above { Status::INVALID_IRQL } else { Status::INVALID_PARAMETER };
            for address in [outside, blocks[0] + 1, blocks[2] + 4096] {
                assert_eq!(call(id, address), expect(want));
            }
            if above || not_implemented {
                for address in blocks {
                    assert_eq!(call(id, address), expect(Status::INVALID_IRQL));
                }
            }
        }
    }
    pool.set_not_implemented(false);
    assert_eq!(picture(&pool), before);
    for address in blocks {
        W::at(Irql::DISPATCH, || must_free(&pool, id, address));
    }
    assert_eq!(totals(&pool.snapshot()), (3, 3, 0));
}

fn every_level<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20));
    let id = pool.add_adapter("disk").unwrap();
    let heard = Heard::of(&pool);
    for level in 0..=15 {
        let irql = Irql::new(level).unwrap();
        W::at(irql, || match alloc(&pool, id, 64) {
            Ok(address) => {
                assert!(level <= 2);
                must_free(&pool, id, address);
            }
            Err(status) => {
                assert!(level > 2);
                assert_eq!(status, Status::INVALID_IRQL);
            }
        });
    }
    assert!(heard.take().is_empty(), "a bad level is a status, not a violation");
    // The level is the caller's at each call, and no call changes it.
    W::at(Irql::DISPATCH, || {
        assert_eq!(free(&pool, id, 7), Status::INVALID_PARAMETER);
        assert_eq!(heard.one().irql, Irql::DISPATCH);
    });
}

fn check_layout(address: u64, bytes: u32, range: (u64, u64)) {
    assert!(address >= range.0 && address + u64::from(bytes) <= range.0 + range.1);
    assert_eq!(address % 16, 0, "{bytes} bytes");
    if bytes >= 4096 {
        assert_eq!(address % 4096, 0, "{bytes} bytes");
    } else {
        assert_eq!(address / 4096, (address + u64::from(bytes) - 1) / 4096, "{bytes} bytes");
    }
}

fn every_size_keeps_the_layout_rules<W: Way>() {
    let pool = W::build(PoolOptions::new(32 << 20));
    let id = pool.add_adapter("disk").unwrap();
    let range = pool.range();
    let mut live: Vec<(u64, u32)> = Vec::new();
    let more = [
        8193,
        12_288,
        12_289,
        20_000,
        32_767,
        32_768,
        32_769,
        65_535,
        65_536,
        65_537,
        100_000,
        1 << 20,
        3_000_001,
    ];
    let pages = (1..=20).flat_map(|page| [page * 4096 - 1, page * 4096, page * 4096 + 1]);
    // Several of each size, so that blocks at other places of a slab are seen too.
    for bytes in (1..=8192).chain(more).chain(pages) {
        let copies = if bytes <= 8193 { 3 } else { 1 };
        for _ in 0..copies {
            let address = alloc(&pool, id, bytes).unwrap();
            check_layout(address, bytes, range);
            live.push((address, bytes));
        }
        if live.len() > 1500 {
            no_overlap(&mut live);
            for (address, _) in live.drain(..) {
                must_free(&pool, id, address);
            }
        }
    }
    // Whole slabs of each size.
    for size in SIZES {
        for (address, bytes) in live.drain(..) {
            check_layout(address, bytes, range);
            must_free(&pool, id, address);
        }
        for _ in 0..per_slab(size) {
            live.push((alloc(&pool, id, size).unwrap(), size));
        }
        no_overlap(&mut live);
    }
}

fn no_overlap(live: &mut [(u64, u32)]) {
    live.sort_unstable();
    for pair in live.windows(2) {
        assert!(pair[0].0 + u64::from(pair[0].1) <= pair[1].0, "{pair:?}");
    }
}

fn sizes_around_every_class_boundary<W: Way>() {
    [1 << 20, LARGE_POOL].into_iter().for_each(sizes_around_every_class_boundary_of::<W>);
}

fn sizes_around_every_class_boundary_of<W: Way>(range: u64) {
    let pool = W::build(PoolOptions::new(range));
    let id = pool.add_adapter("disk").unwrap();
    let large = (1..=3).map(|spans| spans * SPAN as u32);
    let boundaries = SIZES.into_iter().chain(large);
    for bytes in boundaries.flat_map(|size| [size - 1, size, size + 1]) {
        let address = alloc(&pool, id, bytes).unwrap();
        check_layout(address, bytes, pool.range());
        let row = &pool.snapshot().tags[0];
        assert_eq!(row.totals.live, 1);
        assert_eq!(row.totals.bytes_requested, u64::from(bytes));
        let differ = "src/layout/classes.rs has other sizes than the rule in tests/common/mod.rs";
        assert_eq!(row.totals.bytes_occupied, occupied(range, bytes), "{bytes} bytes: {differ}");
        must_free(&pool, id, address);
    }
}

fn the_smallest_block_can_be_larger<W: Way>() {
    for min_block in [16, 32, 64, 256, 1024, 4096] {
        let pool = W::build(PoolOptions::new(512 << 10).min_block(min_block));
        let id = pool.add_adapter("disk").unwrap();
        for bytes in [1, 15, 16, 17, 63, 65, 300, 1000, 2000, 4096, 5000] {
            let address = alloc(&pool, id, bytes).unwrap();
            check_layout(address, bytes, pool.range());
            assert_eq!(
                pool.snapshot().tags[0].totals.bytes_occupied,
                occupied(512 << 10, bytes.max(min_block))
            );
            assert_eq!(free(&pool, id, address + 1), Status::INVALID_PARAMETER);
            assert_eq!(free(&pool, id, address + 16), Status::INVALID_PARAMETER);
            must_free(&pool, id, address);
            assert_eq!(free(&pool, id, address), Status::INVALID_PARAMETER);
        }
    }
}

fn larger_than_the_pool_fails_at_once<W: Way>() {
    let pool = W::build(PoolOptions::new(256 << 10));
    let id = pool.add_adapter("disk").unwrap();
    let (_, bytes) = pool.range();
    assert_eq!(bytes, 256 << 10);
    let whole = alloc(&pool, id, bytes as u32).unwrap();
    assert_eq!(whole, pool.range().0);
    assert_eq!(alloc(&pool, id, 1), Err(Status::INSUFFICIENT_RESOURCES));
    must_free(&pool, id, whole);
    let small = alloc(&pool, id, 1).unwrap();
    let before = picture(&pool);
    for bytes in [bytes as u32 + 1, 1 << 30, u32::MAX - 65_535, u32::MAX] {
        assert_eq!(alloc(&pool, id, bytes), Err(Status::INSUFFICIENT_RESOURCES));
    }
    assert_eq!(picture(&pool), before, "what failed is not counted and takes nothing");
    must_free(&pool, id, small);
}

/// The pool never touches the range, wherever that lies.
fn a_range_that_is_no_memory<W: Way>() {
    for base in
        [0, 1, 0x8000_0000, 0x1234_5678_9000, 0xFFFF_8000_0000_0000, u64::MAX - (1 << 20) + 1 - 65_536]
    {
        let pool = W::over(&Config::new(base, 1 << 20).cpus(2));
        let id = pool.add_adapter("guest").unwrap();
        let range = pool.range();
        assert!(range.0 >= base && range.0 != 0 && range.0.is_multiple_of(SPAN));
        assert!(range.1 + SPAN >= 1 << 20);
        let mut blocks = Vec::new();
        for bytes in [1, 48, 100, 4096, 5000, 32_768, 65_537] {
            let address = alloc(&pool, id, bytes).unwrap();
            check_layout(address, bytes, range);
            blocks.push(address);
        }
        for offset in [0, 1, 16, 4096] {
            assert_eq!(
                free(&pool, id, range.0.wrapping_sub(16).wrapping_sub(offset)),
                Status::INVALID_PARAMETER
            );
            let end = range.0.wrapping_add(range.1).wrapping_add(offset);
            assert_eq!(free(&pool, id, end), Status::INVALID_PARAMETER);
        }
        for address in blocks {
            must_free(&pool, id, address);
        }
        assert_eq!(pool.trim().unwrap().bytes, 0);
        assert_eq!(pool.snapshot().free_bytes, range.1);
    }
}

fn adapters_come_and_go<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20).adapters(2));
    let first = pool.add_adapter("first").unwrap();
    let second = pool.add_adapter("an adapter with a name of more than 32 bytes, äöü").unwrap();
    assert_ne!(first, second);
    assert_eq!(pool.add_adapter("third"), Err(AdapterError::TooMany));
    assert_eq!(pool.adapter_name(first).unwrap().as_str(), "first");
    assert_eq!(pool.adapter_name(second).unwrap().as_str(), "an adapter with a name of more t");
    assert_eq!(pool.adapters().iter().map(|&(id, _)| id).collect::<Vec<_>>(), [first, second]);
    assert_eq!(pool.remove_adapter(first).unwrap().blocks(), 0);
    assert_eq!(pool.remove_adapter(first), Err(Status::INVALID_PARAMETER));
    assert_eq!(pool.remove_adapter(AdapterId::ORPHANS), Err(Status::INVALID_PARAMETER));
    assert_eq!(pool.remove_adapter(NOBODY), Err(Status::INVALID_PARAMETER));
    // The place is taken again, under another handle.
    for round in 0..100 {
        let next = pool.add_adapter(&format!("round {round}")).unwrap();
        assert_ne!(next, first);
        let address = alloc(&pool, next, 100).unwrap();
        assert_eq!(free(&pool, first, address), Status::INVALID_PARAMETER);
        assert_eq!(alloc(&pool, first, 100), Err(Status::INVALID_PARAMETER));
        must_free(&pool, next, address);
        pool.remove_adapter(next).unwrap();
    }
    assert_eq!(totals(&pool.snapshot()), (100, 100, 0));
    // While the switch is down, adapters can still be added; they work when it is up again.
    pool.set_not_implemented(true);
    let late = pool.add_adapter("late").unwrap();
    assert_eq!(alloc(&pool, late, 1), Err(Status::NOT_IMPLEMENTED));
    pool.set_not_implemented(false);
    let address = alloc(&pool, late, 1).unwrap();
    must_free(&pool, late, address);
}

#[test]
fn bad_options_are_refused() {
    let good = Config::new(1 << 32, 1 << 20);
    assert!(good.metadata_bytes().is_ok());
    let bad = [
        (Config::new(1 << 32, 0), CreateError::RangeTooSmall { bytes: 0 }),
        (Config::new(1 << 32, 65_535), CreateError::RangeTooSmall { bytes: 65_535 }),
        (Config::new((1 << 32) + 1, 65_536), CreateError::RangeTooSmall { bytes: 65_536 }),
        (Config::new(0, 65_536), CreateError::RangeTooSmall { bytes: 65_536 }),
        (Config::new(1 << 32, (64 << 30) + 1), CreateError::RangeTooLarge { bytes: (64 << 30) + 1 }),
        (Config::new(1 << 32, u64::MAX / 2), CreateError::RangeTooLarge { bytes: u64::MAX / 2 }),
        (Config::new(u64::MAX, 1 << 20), CreateError::RangePastEnd { base: u64::MAX, bytes: 1 << 20 }),
        (
            Config::new(u64::MAX - (1 << 19), 1 << 20),
            CreateError::RangePastEnd { base: u64::MAX - (1 << 19), bytes: 1 << 20 },
        ),
        (good.cpus(0), CreateError::Cpus(0)),
        (good.cpus(513), CreateError::Cpus(513)),
        (good.accounts(0), CreateError::Accounts(0)),
        (good.accounts(8), CreateError::Accounts(8)),
        (good.accounts(24), CreateError::Accounts(24)),
        (good.accounts(1 << 16), CreateError::Accounts(1 << 16)),
        (good.adapters(0), CreateError::Adapters(0)),
        (good.adapters(1024), CreateError::Adapters(1024)),
        (good.min_block(0), CreateError::MinBlock(0)),
        (good.min_block(8), CreateError::MinBlock(8)),
        (good.min_block(48), CreateError::MinBlock(48)),
        (good.min_block(8192), CreateError::MinBlock(8192)),
    ];
    for (config, error) in bad {
        assert_eq!(config.metadata_bytes(), Err(error), "{config:?}");
        // Each sentence has the figure that was asked for.
        let figure = match error {
            CreateError::Cpus(n)
            | CreateError::Accounts(n)
            | CreateError::Adapters(n)
            | CreateError::MinBlock(n) => n.into(),
            CreateError::RangeTooSmall { bytes }
            | CreateError::RangeTooLarge { bytes }
            | CreateError::RangePastEnd { bytes, .. } => bytes,
            other => panic!("{other}"),
        };
        assert!(error.to_string().contains(&format!("{figure} ")), "{error}");
    }
    let refused = |options: PoolOptions| options.build().map(|_| ()).unwrap_err();
    assert_eq!(
        refused(PoolOptions::new((64 << 30) + 1)),
        CreateError::RangeTooLarge { bytes: (64 << 30) + 1 }
    );
    assert_eq!(refused(PoolOptions::new(u64::MAX)), CreateError::RangeTooLarge { bytes: u64::MAX });
    assert_eq!(refused(PoolOptions::new(65_535)), CreateError::RangeTooSmall { bytes: 65_535 });
    assert_eq!(refused(PoolOptions::new(1 << 20).cpus(0)), CreateError::Cpus(0));
    assert_eq!(refused(PoolOptions::new(1 << 20).accounts(17)), CreateError::Accounts(17));
    assert_eq!(refused(PoolOptions::new(1 << 20).adapters(0)), CreateError::Adapters(0));
    assert_eq!(refused(PoolOptions::new(1 << 20).min_block(3)), CreateError::MinBlock(3));
}

#[test]
fn the_limits_are_accepted() {
    let good = Config::new(1 << 40, 1 << 20);
    for config in [
        Config::new(1 << 40, 64 << 30),
        good.cpus(512),
        good.accounts(16),
        good.accounts(1 << 15),
        good.adapters(1023),
        good.min_block(4096),
        Config::new(0, 2 * 65_536),
    ] {
        assert!(config.metadata_bytes().is_ok(), "{config:?}");
    }
    let pool = PoolOptions::new(64 << 30).build().unwrap();
    let id = pool.add_adapter("disk").unwrap();
    let address = alloc(&pool, id, u32::MAX).unwrap();
    assert_eq!(pool.snapshot().tags[0].totals.bytes_occupied, 1 << 32);
    must_free(&pool, id, address);
    assert!(pool.range().1 >= (64 << 30) - SPAN);
}

#[test]
fn strict_tags_say_what_windows_holds_against_them() {
    let pool = PoolOptions::new(1 << 20).strict_tags(true).build().unwrap();
    let lenient = PoolOptions::new(1 << 20).build().unwrap();
    let heard = Heard::of(&pool);
    let id = pool.add_adapter("disk").unwrap();
    let other = lenient.add_adapter("disk").unwrap();
    for (tag, kind, p1) in [
        (PoolTag::from_raw(0), ViolationKind::ZeroTag, 0x9B),
        (tag!("BIG"), ViolationKind::BigTag, 0x9C),
        (tag!(" ,;."), ViolationKind::UnreadableTag, 0x9D),
    ] {
        assert_eq!(alloc_tag(&pool, id, 10, tag), Err(Status::INVALID_PARAMETER));
        let violation = heard.one();
        assert_eq!((violation.kind, violation.tag, violation.bytes), (kind, Some(tag), 10));
        assert_eq!((violation.bug_check().code, violation.bug_check().parameters[0]), (0xC2, p1));
        let address = alloc_tag(&lenient, other, 10, tag).unwrap();
        must_free(&lenient, other, address);
    }
    assert_eq!(lenient.violations(), 0);
    // A large request is judged the same.
    assert_eq!(alloc_tag(&pool, id, 100_000, PoolTag::from_raw(0)), Err(Status::INVALID_PARAMETER));
}
