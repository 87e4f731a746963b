//! Snapshots, removal reports, the caller's own metadata, and the small types.

mod common;

use std::cell::UnsafeCell;
use std::collections::BTreeSet;
use std::ptr::NonNull;

use common::*;
use storport_pool::{
    AdapterId, BugCheck, Config, CreateError, Irql, Pool, PoolOptions, PoolTag, Portable, SingleCpu,
    SizeCount, Snapshot, Status, TagError, ViolationKind, tag,
};

on_every_platform!(
    a_snapshot_counts_everything,
    totals_outlive_frees_and_adapters,
    orphans_leave_no_accounts_behind,
    tags_without_an_account_share_the_other_row,
    removal_keeps_the_blocks,
    removal_releases_the_blocks,
    a_double_free_names_the_last_owner_though_it_is_gone,
    removal_while_not_implemented,
    a_resident_pool,
);

const ONE: PoolTag = tag!("One1");
const TWO: PoolTag = tag!("Two2");

fn a_snapshot_counts_everything<W: Way>() {
    let pool = W::build(PoolOptions::new(LARGE_POOL));
    let disk = pool.add_adapter("disk").unwrap();
    let tape = pool.add_adapter("tape").unwrap();
    let mut freed = Vec::new();
    for bytes in [1, 16, 17, 100, 4096, 4097, 40_000] {
        let address = alloc_tag(&pool, disk, bytes, ONE).unwrap();
        alloc_tag(&pool, disk, bytes, TWO).unwrap();
        alloc_tag(&pool, tape, bytes, ONE).unwrap();
        freed.push(address);
    }
    for &address in &freed[..4] {
        must_free(&pool, disk, address);
    }
    let snapshot = pool.snapshot();
    assert_eq!(snapshot.tags.iter().map(|row| row.tag).collect::<Vec<_>>(), [ONE, TWO]);
    check_tags(&pool, &snapshot);
    let requested = 1 + 16 + 17 + 100 + 4096 + 4097 + 40_000;
    let taken = 16 + 16 + 32 + 112 + 4096 + 8192 + 65_536;
    let one = &snapshot.tags[0].totals;
    assert_eq!((one.allocs, one.frees, one.live), (14, 4, 10));
    assert_eq!(one.bytes_requested, 2 * requested - 134);
    assert_eq!(one.bytes_occupied, 2 * taken - 176);
    assert_eq!(one.average(), one.bytes_requested / 10);
    let two = &snapshot.tags[1].totals;
    assert_eq!((two.allocs, two.frees, two.live), (7, 0, 7));
    assert_eq!((two.bytes_requested, two.bytes_occupied), (requested, taken));
    let bars: Vec<_> =
        two.histogram.iter().map(|&SizeCount { block_bytes, allocs, .. }| (block_bytes, allocs)).collect();
    assert_eq!(bars, [(16, 2), (32, 1), (112, 1), (4096, 1), (8192, 1), (0, 1)]);

    let rows: Vec<_> = snapshot
        .accounts
        .iter()
        .map(|row| {
            (row.adapter, row.tag, row.totals.allocs, row.totals.live, row.name.map(|name| name.to_string()))
        })
        .collect();
    let name = |name: &str| Some(name.to_owned());
    assert_eq!(
        rows,
        [
            (Some(disk), Some(ONE), 7, 3, name("disk")),
            (Some(disk), Some(TWO), 7, 7, name("disk")),
            (Some(tape), Some(ONE), 7, 7, name("tape")),
        ]
    );

    // Classes and spans add up to the range.
    assert_eq!(snapshot.range_bytes, LARGE_POOL);
    let slabs: u64 = snapshot.classes.iter().map(|row| u64::from(row.slabs)).sum();
    assert_eq!(slabs * SPAN + 3 * SPAN + snapshot.free_bytes, snapshot.range_bytes);
    for row in &snapshot.classes {
        assert_eq!(row.live + row.free, u64::from(row.slabs) * per_slab(row.block_bytes), "{row:?}");
        assert!(row.cached <= row.free, "{row:?}");
    }
    let live: u64 = snapshot.classes.iter().map(|row| row.live).sum();
    assert_eq!(live + 3, 17);
    let cached: u64 = snapshot.classes.iter().map(|row| row.cached).sum();
    assert_eq!(cached, snapshot.cpus.iter().map(|row| row.blocks).sum::<u64>());
    let bytes: u64 = snapshot.classes.iter().map(|row| row.cached * u64::from(row.block_bytes)).sum();
    assert_eq!(bytes, snapshot.cpus.iter().map(|row| row.bytes).sum::<u64>());
    assert_eq!((snapshot.changing, snapshot.contended, snapshot.other, snapshot.violations), (0, 0, 0, 0));
    // tests/sandbox.rs has one refused.
    assert!(!snapshot.fence_refused);
    every_field_is_looked_at(&snapshot);
}

/// A field that nobody fills is 0 for ever, and no test would tell: a new one is named here when this test checks it.
fn every_field_is_looked_at(snapshot: &Snapshot) {
    let text = format!("{snapshot:#?}");
    let fields: BTreeSet<_> =
        text.lines().filter_map(|line| line.trim().split_once(": ").map(|(field, _)| field)).collect();
    let known = "accounts adapter allocs block_bytes blocks bytes bytes_occupied bytes_requested cached \
                 changing classes contended cpu cpus fence_refused free free_bytes frees histogram live \
                 name other range_bytes slabs tag tags totals violations";
    let known: BTreeSet<_> = known.split_whitespace().collect();
    assert_eq!(fields, known);
}

fn totals_outlive_frees_and_adapters<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20).adapters(3));
    // More adapters come and go than there are accounts.
    for round in 1..=3000 {
        let id = pool.add_adapter("disk").unwrap();
        let address = alloc_tag(&pool, id, 100, ONE).unwrap();
        must_free(&pool, id, address);
        assert_eq!(pool.remove_adapter(id).unwrap().blocks(), 0);
        if round % 1000 == 0 {
            let snapshot = pool.snapshot();
            assert_eq!(totals(&snapshot), (round, round, 0));
            assert_eq!(snapshot.tags.len(), 1);
            assert_eq!((snapshot.accounts.len(), snapshot.accounts[0].adapter, snapshot.other), (1, None, 0));
        }
    }
}

/// Adapters that leave blocks behind do not use accounts up, once those blocks are freed.
fn orphans_leave_no_accounts_behind<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20).accounts(64));
    for round in 0..200 {
        let id = pool.add_adapter("disk").unwrap_or_else(|error| panic!("round {round}: {error}"));
        let address = alloc_tag(&pool, id, 100, ONE).unwrap();
        assert_eq!(pool.remove_adapter(id).unwrap().blocks(), 1);
        must_free(&pool, AdapterId::ORPHANS, address);
    }
    assert_eq!(totals(&pool.snapshot()), (200, 200, 0));
}

fn tags_without_an_account_share_the_other_row<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20).accounts(16));
    let id = pool.add_adapter("disk").unwrap();
    let heard = Heard::of(&pool);
    let tags = (0..40).map(|n| PoolTag::new(&format!("T{n:03}")).unwrap());
    let blocks: Vec<u64> = tags.map(|tag| alloc_tag(&pool, id, 100, tag).unwrap()).collect();
    let snapshot = pool.snapshot();
    assert_eq!(totals(&snapshot), (40, 0, 40));
    let other: Vec<_> = snapshot.accounts.iter().filter(|row| row.tag.is_none()).collect();
    assert_eq!(other.len(), 1);
    assert_eq!((other[0].adapter, other[0].totals.allocs), (Some(id), snapshot.other));
    assert!(snapshot.other >= 40 - 16 && snapshot.other < 40, "{}", snapshot.other);
    for address in blocks {
        must_free(&pool, id, address);
    }
    let snapshot = pool.snapshot();
    check_tags(&pool, &snapshot);
    assert_eq!(totals(&snapshot), (40, 40, 0));
    assert!(snapshot.other >= 24);
    assert!(heard.take().is_empty());
    // Such blocks are reported at removal like all others.
    let late = alloc_tag(&pool, id, 10, tag!("Late")).unwrap();
    assert_eq!(pool.remove_adapter(id).unwrap().blocks(), 1);
    must_free(&pool, AdapterId::ORPHANS, late);
}

fn blocks_of_two_tags<W: Way>(pool: &Pool<W::P>, id: AdapterId) -> Vec<u64> {
    let mut blocks = Vec::new();
    for bytes in [10, 200, 5000, 70_000] {
        blocks.push(alloc_tag(pool, id, bytes, ONE).unwrap());
    }
    for bytes in [20, 30] {
        blocks.push(alloc_tag(pool, id, bytes, TWO).unwrap());
    }
    let gone = alloc_tag(pool, id, 50, tag!("Gone")).unwrap();
    must_free(pool, id, gone);
    blocks
}

fn check_report(removal: &storport_pool::Removal) {
    let mut rows: Vec<_> = removal.outstanding.iter().map(|row| (row.tag, row.blocks, row.bytes)).collect();
    rows.sort_unstable();
    assert_eq!(rows, [(ONE, 4, 75_210), (TWO, 2, 50)]);
    assert_eq!((removal.blocks(), removal.bytes()), (6, 75_260));
}

fn removal_keeps_the_blocks<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20));
    let id = pool.add_adapter("disk").unwrap();
    let bystander = pool.add_adapter("other").unwrap();
    let theirs = alloc_tag(&pool, bystander, 77, ONE).unwrap();
    let blocks = blocks_of_two_tags::<W>(&pool, id);
    check_report(&pool.remove_adapter(id).unwrap());
    assert_eq!(pool.adapter_name(id), None);
    let snapshot = pool.snapshot();
    assert_eq!(totals(&snapshot), (8, 1, 7));
    let orphaned: u64 = snapshot
        .accounts
        .iter()
        .filter(|row| row.adapter == Some(AdapterId::ORPHANS))
        .map(|row| row.totals.live)
        .sum();
    assert_eq!(orphaned, 6);
    for &address in &blocks {
        assert_eq!(free(&pool, id, address), Status::INVALID_PARAMETER);
        assert_eq!(free(&pool, bystander, address), Status::INVALID_PARAMETER);
        must_free(&pool, AdapterId::ORPHANS, address);
    }
    must_free(&pool, bystander, theirs);
    assert_eq!(totals(&pool.snapshot()), (8, 8, 0));
    pool.trim().unwrap();
    assert_eq!(pool.snapshot().free_bytes, pool.range().1);
}

fn removal_releases_the_blocks<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20));
    let id = pool.add_adapter("disk").unwrap();
    let bystander = pool.add_adapter("other").unwrap();
    let theirs = alloc_tag(&pool, bystander, 77, ONE).unwrap();
    let heard = Heard::of(&pool);
    let blocks = blocks_of_two_tags::<W>(&pool, id);
    // SAFETY: the blocks are used no more.
    check_report(&unsafe { pool.release_adapter(id) }.unwrap());
    let mut told: Vec<_> =
        heard.take().iter().map(|leak| (leak.kind, leak.tag, leak.blocks, leak.bytes)).collect();
    told.sort_unstable_by_key(|row| row.1);
    assert_eq!(told, [(ViolationKind::Leak, Some(ONE), 4, 75_210), (ViolationKind::Leak, Some(TWO), 2, 50)]);
    assert_eq!(totals(&pool.snapshot()), (8, 7, 1));
    for &address in &blocks {
        assert_eq!(free(&pool, bystander, address), Status::INVALID_PARAMETER);
        assert_eq!(heard.one().kind, ViolationKind::DoubleFree);
    }
    must_free(&pool, bystander, theirs);
    pool.trim().unwrap();
    assert_eq!(pool.snapshot().free_bytes, pool.range().1);
    let again = pool.add_adapter("again").unwrap();
    let whole = alloc(&pool, again, 1 << 20).unwrap();
    must_free(&pool, again, whole);
}

/// However many adapters came since, and whatever became of its account: a freed block's last owner is told, or the
/// orphans if those had it, and never another adapter's tag.
fn a_double_free_names_the_last_owner_though_it_is_gone<W: Way>() {
    for (between, kept) in (0..40).flat_map(|between| [(between, false), (between, true)]) {
        let pool = W::build(PoolOptions::new(1 << 20).cpus(1).accounts(16).adapters(4));
        let heard = Heard::of(&pool);
        // The tag's totals have a keeper already.
        let first = pool.add_adapter("first").unwrap();
        must_free(&pool, first, alloc_tag(&pool, first, 100, ONE).unwrap());
        pool.remove_adapter(first).unwrap();
        let a = pool.add_adapter("A").unwrap();
        let block = alloc_tag(&pool, a, 100, ONE).unwrap();
        if !kept {
            must_free(&pool, a, block);
        }
        assert_eq!(pool.remove_adapter(a).unwrap().blocks(), u64::from(kept));
        if kept {
            must_free(&pool, AdapterId::ORPHANS, block);
        }
        for _ in 0..between {
            let id = pool.add_adapter("between").unwrap();
            pool.remove_adapter(id).unwrap();
        }
        // Of another size and tag: B never had anything to do with the block.
        let b = pool.add_adapter("B").unwrap();
        alloc_tag(&pool, b, 1000, TWO).unwrap();
        heard.take();
        assert_eq!(free(&pool, b, block), Status::INVALID_PARAMETER);
        let told = heard.one();
        assert_eq!((told.kind, told.address, told.caller), (ViolationKind::DoubleFree, block, b));
        let last = if kept { AdapterId::ORPHANS } else { a };
        assert!([None, Some(last)].contains(&told.owner), "after {between}, {kept}: {told:?}, not {last}");
        assert!([None, Some(ONE)].contains(&told.tag), "after {between}, {kept}: {told:?}");
    }
}

/// The host's switch stays down for the orphans too.
fn removal_while_not_implemented<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20));
    let id = pool.add_adapter("disk").unwrap();
    let address = alloc(&pool, id, 100).unwrap();
    pool.set_not_implemented(true);
    assert_eq!(pool.remove_adapter(id).unwrap().blocks(), 1);
    assert_eq!(free(&pool, AdapterId::ORPHANS, address), Status::NOT_IMPLEMENTED);
    pool.set_not_implemented(false);
    must_free(&pool, AdapterId::ORPHANS, address);
}

fn a_resident_pool<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20).min_block(256).resident(true));
    let id = pool.add_adapter("disk").unwrap();
    let mut blocks = Vec::new();
    fill(&pool, id, 1000, &mut blocks);
    assert_eq!(blocks.len() as u64, 16 * per_slab(1024));
    for address in blocks {
        must_free(&pool, id, address);
    }
    let trimmed = pool.trim().unwrap();
    assert_eq!((trimmed.slabs, trimmed.bytes), (256, 0));
}

const STATIC: Config = Config::new(0x9000_0000, 1 << 20).accounts(16).adapters(4).min_block(64);
const STATIC_BYTES: usize = match STATIC.metadata_bytes() {
    Ok(bytes) => bytes,
    Err(_) => panic!("the configuration is out of bounds"),
};

#[repr(C, align(4096))]
struct StaticMetadata(UnsafeCell<[u8; STATIC_BYTES]>);

// SAFETY: one test takes it, once.
unsafe impl Sync for StaticMetadata {}

static METADATA: StaticMetadata = StaticMetadata(UnsafeCell::new([0; STATIC_BYTES]));

#[test]
fn a_pool_in_static_memory() {
    let metadata =
        NonNull::slice_from_raw_parts(NonNull::new(METADATA.0.get()).unwrap().cast(), STATIC_BYTES);
    let short = NonNull::slice_from_raw_parts(metadata.cast::<u8>(), STATIC_BYTES - 1);
    // SAFETY: zeroed memory of this test alone; refused, so not used.
    let refused = unsafe { Pool::new_in(&STATIC, short, Portable::new(SingleCpu)) };
    assert_eq!(
        refused.err(),
        Some(CreateError::MetadataTooSmall { given: STATIC_BYTES - 1, needed: STATIC_BYTES })
    );
    // SAFETY: as above; 16 bytes further it is not aligned.
    let refused = unsafe {
        let askew = NonNull::slice_from_raw_parts(metadata.cast::<u8>().byte_add(16), STATIC_BYTES);
        Pool::new_in(&STATIC, askew, Portable::new(SingleCpu))
    };
    assert!(
        matches!(refused.err(), Some(CreateError::MetadataUnaligned { address }) if address % 4096 == 16)
    );
    // SAFETY: zeroed memory of this test alone; the range is made up and nobody touches it.
    let pool = unsafe { Pool::new_in(&STATIC, metadata, Portable::new(SingleCpu)) }.unwrap();
    assert_eq!(pool.range(), (0x9000_0000, 1 << 20));
    let id = pool.add_adapter("guest").unwrap();
    for bytes in SIZES {
        let mut blocks = Vec::new();
        fill(&pool, id, bytes, &mut blocks);
        assert_eq!(blocks.len() as u64, fitting(1 << 20, bytes.max(64)));
        for address in blocks {
            must_free(&pool, id, address);
        }
    }
    assert!(format!("{pool:?}").contains("0x90000000"));
}

#[test]
fn statuses_have_the_numbers_of_the_driver_kit() {
    for (status, code, name) in [
        (Status::SUCCESS, 0, "STOR_STATUS_SUCCESS"),
        (Status::UNSUCCESSFUL, 0xC100_0001, "STOR_STATUS_UNSUCCESSFUL"),
        (Status::NOT_IMPLEMENTED, 0xC100_0002, "STOR_STATUS_NOT_IMPLEMENTED"),
        (Status::INSUFFICIENT_RESOURCES, 0xC100_0003, "STOR_STATUS_INSUFFICIENT_RESOURCES"),
        (Status::INVALID_PARAMETER, 0xC100_0006, "STOR_STATUS_INVALID_PARAMETER"),
        (Status::INVALID_IRQL, 0xC100_0008, "STOR_STATUS_INVALID_IRQL"),
        (Status::BUSY, 0xC100_000C, "STOR_STATUS_BUSY"),
    ] {
        assert_eq!((status.code(), status.name(), status.to_string().as_str()), (code, Some(name), name));
        assert_eq!(Status::from_code(code), status);
        assert_eq!(status.is_success(), code == 0);
        assert_eq!(status.ok().is_ok(), code == 0);
    }
    let odd = Status::from_code(0x8000_1234);
    assert_eq!((odd.name(), odd.to_string().as_str()), (None, "STOR_STATUS 0x80001234"));
    assert!(!odd.is_success());
}

#[test]
fn tags_and_levels_are_checked() {
    assert_eq!(PoolTag::new("Ahci").unwrap().raw(), u32::from_le_bytes(*b"Ahci"));
    assert_eq!(tag!("Ab").raw(), u32::from_le_bytes(*b"Ab\0\0"));
    assert_eq!(PoolTag::new(""), Err(TagError::Length));
    assert_eq!(PoolTag::new("fiver"), Err(TagError::Length));
    assert_eq!(PoolTag::new("a\tb"), Err(TagError::Character));
    assert_eq!("é".parse::<PoolTag>(), Err(TagError::Character));
    assert_eq!(tag!("Ab").to_string(), "Ab  ");
    assert_eq!(PoolTag::from_raw(0x0141_FF20).to_string(), " .A.");
    assert_eq!(format!("{:?}", tag!("Ahci")), "'Ahci'");
    assert_eq!(PoolTag::from_raw(7).raw(), 7);
    assert_eq!(Irql::new(15), Some(Irql::HIGH));
    assert_eq!(Irql::new(16), None);
    assert_eq!(Irql::DISPATCH.to_string(), "DISPATCH_LEVEL");
    assert_eq!(Irql::new(5).unwrap().to_string(), "DIRQL 5");
    assert!(Irql::PASSIVE < Irql::APC && Irql::DISPATCH < Irql::DEVICE);
    let bug_check = BugCheck { code: 0xC2, parameters: [7, 0, 1, 2] };
    assert_eq!(bug_check.to_string(), "0xC2 (0x7, 0x0, 0x1, 0x2)");
}

#[test]
fn guards_nest() {
    assert_eq!(Irql::current(), Irql::PASSIVE);
    let outer = Irql::raise(Irql::CLOCK);
    {
        let _inner = Irql::raise(Irql::DISPATCH);
        assert_eq!(Irql::current(), Irql::CLOCK, "raising does not lower");
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(Irql::current(), Irql::PASSIVE, "each thread has its own"));
        });
    }
    assert_eq!(Irql::current(), Irql::CLOCK);
    drop(outer);
    assert_eq!(Irql::current(), Irql::PASSIVE);
}
