//! Misuse: every bad free and allocation is refused, told to the hook, and changes nothing.

mod common;

use common::*;
use storport_pool::{AdapterId, Irql, Pool, PoolOptions, Status, Violation, ViolationKind, tag};

on_every_platform!(
    double_free,
    addresses_that_are_no_block,
    foreign_addresses,
    wrong_owner,
    a_made_up_adapter_frees_no_orphan,
    an_owner_of_long_ago,
    large_runs,
    a_trimmed_slab,
    a_slab_reused_by_another_class,
    a_reissued_address,
    a_removed_adapter,
    zero_bytes,
    the_first_call_of_a_thread,
    a_thread_that_only_frees,
);

const OTHER_TAG: storport_pool::PoolTag = tag!("Othr");

/// Frees what must be refused; checks the report, and that nothing else changed.
struct Trap<'a, W: Way> {
    pool: &'a Pool<W::P>,
    heard: Heard,
}

impl<'a, W: Way> Trap<'a, W> {
    fn new(pool: &'a Pool<W::P>) -> Self {
        Trap { pool, heard: Heard::of(pool) }
    }

    fn refused(&self, caller: AdapterId, address: u64) -> Violation {
        let before = picture(self.pool);
        let count = self.pool.violations();
        assert_eq!(free(self.pool, caller, address), Status::INVALID_PARAMETER, "{address:#x}");
        assert_eq!(self.pool.violations(), count + 1);
        assert_eq!(picture(self.pool), before, "a refused free changes nothing");
        let violation = self.heard.one();
        assert_eq!((violation.address, violation.caller), (address, caller));
        assert_eq!(violation.bug_check().code, 0xC2);
        assert!(!violation.to_string().is_empty());
        violation
    }

    fn expect(&self, caller: AdapterId, address: u64, kind: ViolationKind) -> Violation {
        let violation = self.refused(caller, address);
        let p1 = match kind {
            ViolationKind::DoubleFree => 0x07,
            ViolationKind::Wild => 0x46,
            ViolationKind::Foreign => 0x43,
            ViolationKind::Interior | ViolationKind::WrongOwner => 0x99,
            other => panic!("{other}"),
        };
        assert_eq!((violation.kind, violation.bug_check().parameters[0]), (kind, p1), "{address:#x}");
        assert_eq!(violation.irql, Irql::PASSIVE);
        violation
    }

    fn expect_of(&self, caller: AdapterId, address: u64, kind: ViolationKind, owner: AdapterId) -> Violation {
        let violation = self.expect(caller, address, kind);
        assert_eq!((violation.tag, violation.owner), (Some(TAG), Some(owner)), "{address:#x}");
        violation
    }
}

const SOME_SIZES: [u32; 12] = [1, 16, 17, 48, 100, 1000, 2048, 4096, 5000, 8192, 20_000, 32_768];

fn double_free<W: Way>() {
    let pool = W::build(PoolOptions::new(2 << 20));
    let id = pool.add_adapter("disk").unwrap();
    let trap = Trap::<W>::new(&pool);
    for bytes in SOME_SIZES {
        let address = alloc(&pool, id, bytes).unwrap();
        let neighbour = alloc(&pool, id, bytes).unwrap();
        must_free(&pool, id, address);
        for _ in 0..3 {
            let violation = trap.expect_of(id, address, ViolationKind::DoubleFree, id);
            let parameters = violation.bug_check().parameters;
            assert_eq!(parameters[2..], [u64::from(TAG.raw()), address]);
        }
        // The block is handed out once, not twice.
        let (a, b) = (alloc(&pool, id, bytes).unwrap(), alloc(&pool, id, bytes).unwrap());
        assert_ne!(a, b);
        for address in [a, b, neighbour] {
            must_free(&pool, id, address);
        }
    }
}

fn addresses_that_are_no_block<W: Way>() {
    [2 << 20, LARGE_POOL].into_iter().for_each(addresses_that_are_no_block_of::<W>);
}

fn addresses_that_are_no_block_of<W: Way>(range: u64) {
    let pool = W::build(PoolOptions::new(range));
    let id = pool.add_adapter("disk").unwrap();
    let trap = Trap::<W>::new(&pool);
    for bytes in SOME_SIZES {
        let address = alloc(&pool, id, bytes).unwrap();
        let size = occupied(range, bytes);
        for inside in
            (1..16).chain([size / 2, size - 16, size - 1]).filter(|&offset| offset > 0 && offset < size)
        {
            let violation = trap.expect_of(id, address + inside, ViolationKind::Interior, id);
            assert_eq!(violation.bytes, u64::from(bytes));
        }
        // Behind the block: another block or nothing, but never this one.
        for behind in [size, size + 1] {
            let violation = trap.refused(id, address + behind);
            assert_ne!(violation.kind, ViolationKind::Interior, "{bytes} bytes, {behind} behind");
        }
        must_free(&pool, id, address);
        assert_eq!(trap.refused(id, address + 1).kind, ViolationKind::Wild);
    }
    // Spans that were never used.
    let (base, len) = pool.range();
    for address in [base + len - 16, base + len - 1, base + len - SPAN] {
        assert_eq!(trap.expect(id, address, ViolationKind::Wild).tag, None);
    }
    // Blocks of a slab that were never handed out.
    let first = alloc(&pool, id, 2048).unwrap();
    let span = span_of(range);
    let slab = first / span * span;
    for n in 0..span / 2048 {
        if slab + n * 2048 != first {
            assert!(matches!(
                trap.refused(id, slab + n * 2048).kind,
                ViolationKind::Wild | ViolationKind::DoubleFree
            ));
        }
    }
    // The waste at the end of a page: 3 blocks of 1360 bytes leave 16.
    let thirds = alloc(&pool, id, 1360).unwrap();
    trap.expect(id, thirds / 4096 * 4096 + 4080, ViolationKind::Wild);
    must_free(&pool, id, thirds);
    must_free(&pool, id, first);
}

fn foreign_addresses<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20));
    let other = W::build(PoolOptions::new(1 << 20));
    let id = pool.add_adapter("disk").unwrap();
    let elsewhere = other.add_adapter("disk").unwrap();
    let trap = Trap::<W>::new(&pool);
    let block = alloc(&pool, id, 64).unwrap();
    let theirs = alloc(&other, elsewhere, 64).unwrap();
    let on_stack = 0u64;
    let on_heap = Box::new(0u64);
    let (base, len) = pool.range();
    let made_up = [
        1,
        15,
        16,
        0xDEAD_BEEF,
        u64::MAX,
        u64::MAX - 15,
        1 << 63,
        base - 1,
        base - 16,
        base + len,
        base + len + 16,
    ];
    // The pool's own metadata lies wherever the system put it: somewhere around the range.
    let around = (1..64).flat_map(|n| [base.wrapping_sub(n * SPAN), base + len + n * SPAN]);
    let pointers = [theirs, (&raw const on_stack).addr() as u64, (&raw const *on_heap).addr() as u64];
    let code = [(foreign_addresses::<W> as fn() as *const ()).addr() as u64, (&raw const pool).addr() as u64];
    for address in made_up.into_iter().chain(around).chain(pointers).chain(code) {
        let violation = trap.expect(id, address, ViolationKind::Foreign);
        assert_eq!((violation.tag, violation.owner, violation.bytes), (None, None, 0));
    }
    must_free(&pool, id, block);
    must_free(&other, elsewhere, theirs);
}

/// A pool over the caller's memory: its metadata is known, and just as foreign.
#[test]
fn pointers_into_the_metadata() {
    let config = storport_pool::Config::new(0x4000_0000, 1 << 20);
    let metadata = metadata(&config);
    let platform = storport_pool::Portable::new(Sim::new());
    // SAFETY: fresh zeroed memory; nobody touches the range.
    let pool = unsafe { Pool::new_in(&config, metadata, platform) }.unwrap();
    let id = pool.add_adapter("disk").unwrap();
    let trap = Trap::<SimPortable>::new(&pool);
    let block = alloc(&pool, id, 64).unwrap();
    let start = metadata.cast::<u8>().addr().get() as u64;
    for offset in (0..metadata.len() as u64).step_by(16 * 1021) {
        trap.expect(id, start + offset, ViolationKind::Foreign);
    }
    must_free(&pool, id, block);
}

fn wrong_owner<W: Way>() {
    let pool = W::build(PoolOptions::new(2 << 20));
    let id = pool.add_adapter("disk").unwrap();
    let thief = pool.add_adapter("thief").unwrap();
    let trap = Trap::<W>::new(&pool);
    for bytes in SOME_SIZES {
        let address = alloc(&pool, id, bytes).unwrap();
        for caller in [thief, AdapterId::ORPHANS] {
            let violation = trap.expect_of(caller, address, ViolationKind::WrongOwner, id);
            assert_eq!(violation.bytes, u64::from(bytes));
        }
        must_free(&pool, id, address);
        let violation = trap.expect_of(thief, address, ViolationKind::DoubleFree, id);
        assert_eq!(violation.bytes, u64::from(bytes));
    }
}

/// Whatever number a host makes up, what a removed adapter left is not freed by it.
fn a_made_up_adapter_frees_no_orphan<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20));
    let id = pool.add_adapter("disk").unwrap();
    let blocks = [alloc(&pool, id, 208).unwrap(), alloc(&pool, id, 70_000).unwrap()];
    pool.remove_adapter(id).unwrap();
    let words = (0..20).map(|bit| id.word() ^ 1 << (12 + bit)).map(AdapterId::from_word);
    let numbers = (0..1 << 19).map(AdapterId::from_raw);
    for caller in numbers.chain(words).filter(|&id| id != AdapterId::ORPHANS) {
        for block in blocks {
            assert_eq!(free(&pool, caller, block), Status::INVALID_PARAMETER, "{caller}");
        }
    }
    blocks.iter().for_each(|&block| must_free(&pool, AdapterId::ORPHANS, block));
}

/// A block of a slab that has been one of the same size before, but not in between: whoever freed it then is not its
/// last owner.
fn an_owner_of_long_ago<W: Way>() {
    // One span of 64 KiB, so that what follows gets the same memory.
    let [_, Room { pool, .. }] = rooms::<W>(1, |options| options.cpus(1));
    let trap = Trap::<W>::new(&pool);
    let [long_ago, last, now] = ["x", "y", "z"].map(|name| pool.add_adapter(name).unwrap());
    let mut small = Vec::new();
    fill(&pool, long_ago, 16, &mut small);
    small.iter().for_each(|&block| must_free(&pool, long_ago, block));
    let mut pages = Vec::new();
    fill(&pool, last, 4096, &mut pages);
    pages.iter().for_each(|&block| must_free(&pool, last, block));
    let one = alloc(&pool, now, 16).unwrap();
    for &page in pages.iter().filter(|&&page| page != one) {
        trap.expect(last, page, ViolationKind::Wild);
    }
    // And of a run that became a slab.
    must_free(&pool, now, one);
    let run = alloc(&pool, last, 65_536).unwrap();
    must_free(&pool, last, run);
    let page = alloc(&pool, now, 4096).unwrap();
    if page != run {
        trap.expect(last, run, ViolationKind::Wild);
    }
}

fn large_runs<W: Way>() {
    [2 << 20, LARGE_POOL].into_iter().for_each(large_runs_of::<W>);
}

fn large_runs_of<W: Way>(range: u64) {
    let pool = W::build(PoolOptions::new(range));
    let id = pool.add_adapter("disk").unwrap();
    let thief = pool.add_adapter("thief").unwrap();
    let trap = Trap::<W>::new(&pool);
    for bytes in [32_769, 65_536, 65_537, 300_000] {
        let address = alloc(&pool, id, bytes).unwrap();
        for page in 1..occupied(range, bytes) / 4096 {
            let violation = trap.expect_of(id, address + page * 4096, ViolationKind::Interior, id);
            assert_eq!(violation.bytes, u64::from(bytes));
        }
        for offset in [1, 8, 15, 16, u64::from(bytes) - 1] {
            trap.expect_of(id, address + offset, ViolationKind::Interior, id);
        }
        trap.expect_of(thief, address, ViolationKind::WrongOwner, id);
        must_free(&pool, id, address);
        let violation = trap.expect_of(id, address, ViolationKind::DoubleFree, id);
        assert_eq!(violation.bytes, u64::from(bytes));
        trap.expect(id, address + 4096, ViolationKind::Wild);
        // Taken back and given out as something else, the address is nobody's any more.
        pool.trim().unwrap();
        trap.expect(id, address, ViolationKind::Wild);
    }
    let whole = alloc(&pool, id, range as u32).unwrap();
    must_free(&pool, id, whole);
}

fn a_trimmed_slab<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20));
    let id = pool.add_adapter("disk").unwrap();
    let trap = Trap::<W>::new(&pool);
    let blocks: Vec<u64> = (0..40).map(|_| alloc(&pool, id, 512).unwrap()).collect();
    for &address in &blocks {
        must_free(&pool, id, address);
    }
    pool.trim().unwrap();
    assert_eq!(pool.snapshot().free_bytes, pool.range().1);
    for &address in &blocks {
        trap.expect(id, address, ViolationKind::Wild);
    }
}

fn a_slab_reused_by_another_class<W: Way>() {
    // Two spans, so that what follows gets the same memory.
    let pool = W::build(PoolOptions::new(2 * SPAN));
    let id = pool.add_adapter("disk").unwrap();
    let trap = Trap::<W>::new(&pool);
    let mut old = Vec::new();
    fill(&pool, id, 1024, &mut old);
    assert_eq!(old.len() as u64, 2 * per_slab(1024));
    for &address in &old {
        must_free(&pool, id, address);
    }
    let mut new = Vec::new();
    fill(&pool, id, 4096, &mut new);
    assert_eq!(new.len(), 32);
    for &address in old.iter().filter(|&address| !new.contains(address)) {
        trap.expect_of(id, address, ViolationKind::Interior, id);
    }
    for address in new {
        must_free(&pool, id, address);
    }
    // And back to small ones: page starts are live blocks, all else is not.
    let mut small = Vec::new();
    fill(&pool, id, 16, &mut small);
    assert_eq!(small.len() as u64, 2 * per_slab(16));
    for &address in &old[..8] {
        trap.expect_of(id, address + 8, ViolationKind::Interior, id);
    }
    for address in small {
        must_free(&pool, id, address);
    }
    assert_eq!(totals(&pool.snapshot()).2, 0);
}

/// A stale address that was handed out again cannot be told apart: the free succeeds, and the new
/// owner's is the double one.
fn a_reissued_address<W: Way>() {
    let pool = W::build(PoolOptions::new(2 * SPAN));
    let id = pool.add_adapter("disk").unwrap();
    let trap = Trap::<W>::new(&pool);
    let stale = alloc(&pool, id, 8192).unwrap();
    must_free(&pool, id, stale);
    let mut again = Vec::new();
    fill(&pool, id, 8192, &mut again);
    assert!(again.contains(&stale));
    must_free(&pool, id, stale);
    trap.expect_of(id, stale, ViolationKind::DoubleFree, id);
    for address in again.into_iter().filter(|&address| address != stale) {
        must_free(&pool, id, address);
    }
    assert_eq!(totals(&pool.snapshot()).2, 0);
}

fn a_removed_adapter<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20));
    let id = pool.add_adapter("disk").unwrap();
    let trap = Trap::<W>::new(&pool);
    let kept = alloc(&pool, id, 100).unwrap();
    pool.remove_adapter(id).unwrap();
    let leak = trap.heard.one();
    assert_eq!((leak.kind, leak.blocks, leak.bytes), (ViolationKind::Leak, 1, 100));
    assert_eq!((leak.tag, leak.owner), (Some(TAG), Some(id)));
    assert_eq!((leak.bug_check().code, leak.bug_check().parameters), (0xC4, [0x62, 0, 0, 1]));
    let before = picture(&pool);
    // A stale handle is a bad argument: a status, and no violation.
    assert_eq!(free(&pool, id, kept), Status::INVALID_PARAMETER);
    assert_eq!(free(&pool, id, 16), Status::INVALID_PARAMETER);
    assert_eq!(alloc(&pool, id, 100), Err(Status::INVALID_PARAMETER));
    assert!(trap.heard.take().is_empty());
    assert_eq!(picture(&pool), before);
    let next = pool.add_adapter("next").unwrap();
    trap.expect_of(next, kept, ViolationKind::WrongOwner, AdapterId::ORPHANS);
    must_free(&pool, AdapterId::ORPHANS, kept);
    trap.expect_of(AdapterId::ORPHANS, kept, ViolationKind::DoubleFree, AdapterId::ORPHANS);
}

fn zero_bytes<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20));
    let id = pool.add_adapter("disk").unwrap();
    let heard = Heard::of(&pool);
    assert_eq!(alloc_tag(&pool, id, 0, OTHER_TAG), Err(Status::INVALID_PARAMETER));
    let violation = heard.one();
    assert_eq!(violation.kind, ViolationKind::ZeroSize);
    assert_eq!((violation.tag, violation.caller, violation.bytes), (Some(OTHER_TAG), id, 0));
    let bug_check = violation.bug_check();
    assert_eq!((bug_check.code, bug_check.parameters[0]), (0xC2, 0x00));
    assert!(pool.snapshot().tags.is_empty());
}

fn the_first_call_of_a_thread<W: Way>() {
    let pool = W::build(PoolOptions::new(1 << 20));
    let id = pool.add_adapter("disk").unwrap();
    for bytes in SOME_SIZES.into_iter().chain([100_000]) {
        let address = alloc(&pool, id, bytes).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| must_free(&pool, id, address));
        });
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(free(&pool, id, address), Status::INVALID_PARAMETER));
        });
    }
    let (allocs, frees, live) = totals(&pool.snapshot());
    assert_eq!((allocs, frees, live), (13, 13, 0));
}

fn a_thread_that_only_frees<W: Way>() {
    // Room for few batches: were a batch kept by the freeing thread, the pool would run out.
    let pool = W::build(PoolOptions::new(4 * SPAN));
    let id = pool.add_adapter("disk").unwrap();
    let (send, receive) = std::sync::mpsc::sync_channel::<Vec<u64>>(0);
    let (done, wait) = std::sync::mpsc::sync_channel::<()>(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            W::go_to_cpu(1);
            for batch in receive {
                for address in batch {
                    must_free(&pool, id, address);
                }
                done.send(()).unwrap();
            }
        });
        W::go_to_cpu(0);
        for round in 0..300 {
            let bytes: u32 = [64, 4096, 1000][round % 3];
            let all = 3 * per_slab(bytes.next_power_of_two());
            send.send((0..all).map(|_| alloc(&pool, id, bytes).unwrap()).collect()).unwrap();
            wait.recv().unwrap();
        }
        drop(send);
    });
    assert_eq!(totals(&pool.snapshot()).2, 0);
    pool.trim().unwrap();
    assert_eq!(pool.snapshot().free_bytes, pool.range().1);
}
