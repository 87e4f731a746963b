//! Alignments of the caller's choice, what a block is at an address, and blocks that are resized where they are.

mod common;

use common::*;
use storport_pool::{AdapterId, Irql, PoolOptions, Status, ViolationKind, tag};

on_every_platform!(
    every_alignment_and_size,
    a_block_of_a_larger_size_is_aligned_too,
    statuses_of_an_alignment,
    the_block_at_each_address,
    resized_within_its_room,
    statuses_of_a_resize,
);

/// Pools of both kinds of spans.
const POOLS: [u64; 2] = [4 << 20, 16 << 20];

fn aligned<W: Way>(room: &Built<W>, bytes: u32, alignment: u32) -> Result<u64, Status> {
    let mut address = 1;
    let status = room.pool.allocate_aligned(room.id, bytes, alignment, TAG, Some(&mut address));
    assert_eq!(status.is_success(), address != 0);
    if status.is_success() { Ok(address) } else { Err(status) }
}

struct Built<W: Way> {
    pool: storport_pool::Pool<W::P>,
    id: AdapterId,
}

fn build<W: Way>(bytes: u64) -> Built<W> {
    let pool = W::build(PoolOptions::new(bytes));
    let id = pool.add_adapter("disk").unwrap();
    Built { pool, id }
}

fn every_alignment_and_size<W: Way>() {
    for bytes in POOLS {
        let room = build::<W>(bytes);
        for alignment in (0..=20).map(|power| 1 << power) {
            let mut held = Vec::new();
            for size in
                [1, 15, 16, 17, 48, 100, 255, 256, 1000, 1360, 4095, 4096, 4097, 12288, 33_000, 70_000]
            {
                let address = aligned(&room, size, alignment).unwrap();
                assert_eq!(address % u64::from(alignment.max(16)), 0, "{size} at {alignment}");
                let found = room.pool.block_at(address).unwrap();
                assert_eq!((found.address, found.bytes, found.live), (address, size, true));
                assert!(found.capacity >= u64::from(size));
                // A large alignment leaves few places for so many blocks.
                if u64::from(alignment) < bytes / 64 {
                    held.push((address, found.capacity));
                } else {
                    must_free(&room.pool, room.id, address);
                }
            }
            held.sort_unstable();
            for pair in held.windows(2) {
                assert!(pair[0].0 + pair[0].1 <= pair[1].0, "they overlap");
            }
            for (address, _) in held {
                must_free(&room.pool, room.id, address);
            }
        }
        room.pool.trim().unwrap();
        let snapshot = room.pool.snapshot();
        assert_eq!((snapshot.free_bytes, snapshot.violations), (bytes, 0));
    }
}

/// When its own size has none, a request gets a free block of a larger size, if the blocks of that are aligned, too.
fn a_block_of_a_larger_size_is_aligned_too<W: Way>() {
    for (bytes, size) in POOLS.into_iter().flat_map(|bytes| [80, 192].map(|size| (bytes, size))) {
        let room = build::<W>(bytes);
        // All memory is blocks of this size; then every other one is free.
        let mut held = Vec::new();
        fill(&room.pool, room.id, size, &mut held);
        held.sort_unstable();
        let freed: Vec<u64> = held.iter().copied().step_by(2).collect();
        for &address in &freed {
            must_free(&room.pool, room.id, address);
        }
        let before = totals(&room.pool.snapshot());
        let got: Vec<u64> = core::iter::from_fn(|| aligned(&room, 50, 64).ok()).take(1000).collect();
        assert!(got.iter().all(|address| address % 64 == 0));
        assert_eq!(got.len(), if size == 192 { 1000 } else { 0 }, "{size}");
        let after = totals(&room.pool.snapshot());
        assert_eq!(
            after,
            (before.0 + got.len() as u64, before.1, before.2 + got.len() as u64),
            "nothing else counts"
        );
        for address in got.into_iter().chain(held.into_iter().skip(1).step_by(2)) {
            must_free(&room.pool, room.id, address);
        }
        room.pool.trim().unwrap();
        assert_eq!(room.pool.snapshot().free_bytes, bytes);
    }
}

fn statuses_of_an_alignment<W: Way>() {
    let room = build::<W>(4 << 20);
    for alignment in [0, 3, 24, 48, u32::MAX] {
        assert_eq!(aligned(&room, 100, alignment), Err(Status::INVALID_PARAMETER));
    }
    assert_eq!(aligned(&room, 0, 64), Err(Status::INVALID_PARAMETER));
    assert_eq!(aligned(&room, u32::MAX, 64), Err(Status::INSUFFICIENT_RESOURCES));
    let nobody = AdapterId::from_raw(0);
    for alignment in [64, 1 << 20] {
        W::at(Irql::HIGH, || assert_eq!(aligned(&room, 100, alignment), Err(Status::INVALID_IRQL)));
        assert_eq!(room.pool.allocate_aligned(room.id, 8, alignment, TAG, None), Status::INVALID_PARAMETER);
        let mut out = 1;
        let status = room.pool.allocate_aligned(nobody, 8, alignment, TAG, Some(&mut out));
        assert_eq!((status, out), (Status::INVALID_PARAMETER, 0));
    }
    // The only multiple of 2 GiB is outside, unless the range has it.
    let outside = aligned(&room, 8, 1 << 31);
    assert!(
        outside.is_err_and(|status| status == Status::INSUFFICIENT_RESOURCES)
            || room.pool.range().0 >> 31 != (room.pool.range().0 + room.pool.range().1) >> 31
    );
    room.pool.set_not_implemented(true);
    for alignment in [3, 64, 1 << 20] {
        assert_eq!(aligned(&room, 100, alignment), Err(Status::NOT_IMPLEMENTED));
    }
}

fn the_block_at_each_address<W: Way>() {
    for bytes in POOLS {
        let room = build::<W>(bytes);
        let (pool, id) = (&room.pool, room.id);
        let (start, len) = pool.range();
        for nowhere in [0, 1, start - 1, start + len, u64::MAX] {
            assert_eq!(pool.block_at(nowhere), None);
        }
        assert_eq!(pool.block_at(start), None, "nothing was allocated yet");
        for size in [1, 100, 4096, 5000, 100_000] {
            let address = alloc_tag(pool, id, size, tag!("Some")).unwrap();
            let found = pool.block_at(address).unwrap();
            for at in [0, 1, u64::from(size) - 1, found.capacity - 1] {
                assert_eq!(pool.block_at(address + at), Some(found), "{size}, {at}");
            }
            assert_eq!((found.owner, found.tag, found.live), (id, Some(tag!("Some")), true));
            let before = pool.block_at(address - 1);
            assert!(before.is_none_or(|before| before.address != address));
            must_free(pool, id, address);
            let after = pool.block_at(address + 1).unwrap();
            assert!(!after.live && (after.address, after.owner, after.bytes) == (address, id, size));
        }
        let left = alloc(pool, id, 48).unwrap();
        pool.remove_adapter(id).unwrap();
        let found = pool.block_at(left).unwrap();
        assert_eq!((found.owner, found.tag, found.live), (AdapterId::ORPHANS, Some(TAG), true));
    }
}

fn resized_within_its_room<W: Way>() {
    for bytes in POOLS {
        let room = build::<W>(bytes);
        let (pool, id) = (&room.pool, room.id);
        for size in [1, 100, 4000, 5000, 20_000, 100_000] {
            let address = alloc(pool, id, size).unwrap();
            let capacity = pool.block_at(address).unwrap().capacity as u32;
            let run = capacity > max_slab(bytes);
            let least = if run { capacity - span_of(bytes) as u32 + 1 } else { 1 };
            for now in [least, size, capacity] {
                assert_eq!(pool.resize(id, address, now), Status::SUCCESS, "{size} to {now} of {capacity}");
                let snapshot = pool.snapshot();
                assert_eq!(snapshot.tags[0].totals.bytes_requested, u64::from(now));
                assert_eq!(snapshot.tags[0].totals.bytes_occupied, u64::from(capacity));
                assert_eq!(pool.block_at(address).unwrap().bytes, now);
            }
            assert_eq!(pool.resize(id, address, capacity + 1), Status::INSUFFICIENT_RESOURCES);
            if run {
                assert_eq!(pool.resize(id, address, least - 1), Status::INSUFFICIENT_RESOURCES);
            }
            assert_eq!(pool.block_at(address).unwrap().bytes, capacity, "nothing has changed");
            must_free(pool, id, address);
        }
        let address = alloc(pool, id, 100).unwrap();
        assert_eq!(pool.resize(id, address, 7), Status::SUCCESS);
        let removal = pool.remove_adapter(id).unwrap();
        assert_eq!((removal.blocks(), removal.bytes()), (1, 7));
        assert_eq!(pool.resize(AdapterId::ORPHANS, address, 9), Status::SUCCESS, "as free allows it");
        assert_eq!(pool.block_at(address).unwrap().bytes, 9);
    }
}

fn statuses_of_a_resize<W: Way>() {
    let room = build::<W>(4 << 20);
    let (pool, id) = (&room.pool, room.id);
    let other = pool.add_adapter("other").unwrap();
    let (block, gone) = (alloc(pool, id, 100).unwrap(), alloc(pool, id, 100).unwrap());
    must_free(pool, id, gone);
    let heard = Heard::of(pool);
    let bad = [
        (id, gone, 10, Some(ViolationKind::DoubleFree)),
        (id, block + 16, 10, Some(ViolationKind::Interior)),
        (other, block, 10, Some(ViolationKind::WrongOwner)),
        (id, 16, 10, Some(ViolationKind::Foreign)),
        (id, block, 0, Some(ViolationKind::ZeroSize)),
        (id, 0, 10, None),
        (AdapterId::from_raw(0), block, 10, None),
    ];
    for (n, (id, address, bytes, kind)) in bad.into_iter().enumerate() {
        assert_eq!(pool.resize(id, address, bytes), Status::INVALID_PARAMETER, "case {n}");
        assert_eq!(heard.take().pop().map(|violation| violation.kind), kind, "case {n}");
    }
    W::at(Irql::DISPATCH, || assert_eq!(pool.resize(id, block, 101), Status::SUCCESS));
    W::at(Irql::DEVICE, || assert_eq!(pool.resize(id, block, 102), Status::INVALID_IRQL));
    pool.set_not_implemented(true);
    assert_eq!(pool.resize(id, block, 103), Status::NOT_IMPLEMENTED);
    pool.set_not_implemented(false);
    assert_eq!(pool.block_at(block).unwrap().bytes, 101);
}
