//! Collections of other crates whose memory is one adapter's, over every platform.

mod common;

use std::alloc::Layout;
use std::collections::BTreeMap;
use std::ptr::NonNull;

use allocator_api2::alloc::Allocator;
use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec;
use common::*;
use hashbrown::{DefaultHashBuilder, HashMap};
use proptest::prelude::*;
use storport_pool::{
    AdapterId, Config, Irql, Platform, Pool, PoolOptions, Status, Tagged, ViolationKind, tag,
};

on_every_platform!(
    vectors_and_boxes,
    a_map,
    zero_sizes,
    grows_and_shrinks_where_it_is,
    what_is_refused_is_an_error,
    over_the_callers_range,
    after_the_adapter_is_gone,
);

/// A pool and an adapter of it.
fn build<W: Way>(bytes: u64) -> (Pool<W::P>, AdapterId) {
    let pool = W::build(PoolOptions::new(bytes));
    let id = pool.add_adapter("disk").unwrap();
    (pool, id)
}

fn tagged<P: Platform>(pool: &Pool<P>, id: AdapterId) -> Tagged<'_, P> {
    pool.tagged(id, TAG).unwrap()
}

fn vectors_and_boxes<W: Way>() {
    let (pool, id) = build::<W>(16 << 20);
    let own = tagged(&pool, id);
    let mut texts = Vec::new_in(own);
    for n in 0..3000u64 {
        let mut text = Vec::new_in(own.with_tag(tag!("Text")));
        text.extend_from_slice(format!("number {n}").as_bytes());
        texts.push(Box::new_in(text, own));
    }
    assert!(texts.iter().enumerate().all(|(n, text)| text.as_slice() == format!("number {n}").as_bytes()));
    let snapshot = pool.snapshot();
    let row = snapshot.tags.iter().find(|row| row.tag == tag!("Text")).unwrap();
    assert_eq!(row.totals.live, 3000);
    texts.truncate(10);
    texts.shrink_to_fit();
    assert_eq!(texts[9].as_slice(), b"number 9");
    drop(texts);
    assert_eq!((pool.usage().live, pool.violations()), (0, 0));
}

fn a_map<W: Way>() {
    let (pool, id) = build::<W>(16 << 20);
    let mut map = HashMap::with_hasher_in(DefaultHashBuilder::default(), tagged(&pool, id));
    let mut model = BTreeMap::new();
    for n in 0..20_000u64 {
        let key = n.wrapping_mul(0x9E37_79B9) % 5000;
        if n % 3 == 0 {
            assert_eq!(map.remove(&key), model.remove(&key));
        } else {
            assert_eq!(map.insert(key, n), model.insert(key, n));
        }
    }
    map.shrink_to_fit();
    assert_eq!(map.len(), model.len());
    assert!(model.iter().all(|(key, value)| map.get(key) == Some(value)));
    drop(map);
    assert_eq!((pool.usage().live, pool.violations()), (0, 0));
}

fn zero_sizes<W: Way>() {
    let (pool, id) = build::<W>(1 << 20);
    let own = tagged(&pool, id);
    let nothing = Layout::from_size_align(0, 64).unwrap();
    let some = Layout::from_size_align(100, 64).unwrap();
    let block = own.allocate(nothing).unwrap();
    assert_eq!((block.len(), block.addr().get() % 64, pool.usage().allocs), (0, 0, 0));
    // SAFETY: our blocks, of these layouts.
    unsafe {
        let grown = own.grow_zeroed(block.cast(), nothing, some).unwrap();
        assert!(grown.as_ref().iter().all(|&byte| byte == 0) && grown.len() == 100);
        assert_eq!(pool.usage().live, 1);
        let shrunk = own.shrink(grown.cast(), some, nothing).unwrap();
        assert_eq!((shrunk.len(), pool.usage().live), (0, 0));
        own.deallocate(shrunk.cast(), nothing);
    }
    drop(Box::new_in((), own));
    let mut units = Vec::new_in(own);
    units.extend([(); 1000]);
    assert_eq!((units.len(), pool.usage().allocs, pool.violations()), (1000, 1, 0));
}

fn grows_and_shrinks_where_it_is<W: Way>() {
    let (pool, id) = build::<W>(16 << 20);
    let own = tagged(&pool, id);
    let layout = |size, align| Layout::from_size_align(size, align).unwrap();
    // From and to: sizes and alignments; whether the block stays.
    let cases = [
        ((100, 8), (112, 8), true),
        ((100, 8), (113, 8), false),
        ((4096, 8), (2100, 8), true),
        ((4096, 8), (100, 8), false),
        ((4000, 8), (4096, 4096), true),
        ((64, 64), (1, 64), true),
    ];
    for (from, to, stays) in cases {
        let (old, new) = (layout(from.0, from.1), layout(to.0, to.1));
        let block = own.allocate(old).unwrap();
        // SAFETY: our block, of these layouts, and written before it is read.
        unsafe {
            let start: NonNull<u8> = block.cast();
            start.write_bytes(0xA5, from.0);
            let after = if to.0 >= from.0 {
                let grown = own.grow_zeroed(start, old, new).unwrap();
                assert!(grown.as_ref()[from.0..].iter().all(|&byte| byte == 0));
                grown
            } else {
                own.shrink(start, old, new).unwrap()
            };
            assert_eq!(after.cast() == start, stays, "{from:?} to {to:?}");
            assert!(after.addr().get().is_multiple_of(to.1) && after.len() == to.0);
            assert!(after.as_ref()[..from.0.min(to.0)].iter().all(|&byte| byte == 0xA5));
            assert_eq!(pool.usage().bytes_requested, to.0 as u64);
            own.deallocate(after.cast(), new);
        }
    }
    // A block with room, but not where the new alignment wants it, moves.
    let (old, new) = (layout(112, 16), layout(112, 64));
    let blocks: std::vec::Vec<NonNull<u8>> = (0..20).map(|_| own.allocate(old).unwrap().cast()).collect();
    assert!(blocks.iter().any(|block| !block.addr().get().is_multiple_of(64)));
    for block in blocks {
        // SAFETY: our block, of these layouts, and written before it is read.
        unsafe {
            block.write_bytes(0x5A, 112);
            let after = own.grow(block, old, new).unwrap();
            assert!(after.addr().get().is_multiple_of(64) && after.as_ref().iter().all(|&byte| byte == 0x5A));
            own.deallocate(after.cast(), new);
        }
    }
    assert_eq!((pool.usage().live, pool.violations()), (0, 0));
}

fn what_is_refused_is_an_error<W: Way>() {
    let (pool, id) = build::<W>(1 << 20);
    let own = tagged(&pool, id);
    let mut vector = Vec::<u8, _>::new_in(own);
    vector.extend_from_slice(b"kept");
    for bytes in [2 << 20, 1 << 33] {
        vector.try_reserve_exact(bytes).unwrap_err();
        assert_eq!(vector.as_slice(), b"kept");
    }
    let layout = Layout::new::<u64>();
    W::at(Irql::DEVICE, || own.allocate(layout).unwrap_err());
    own.allocate_zeroed(Layout::from_size_align(8, 1 << 40).unwrap()).unwrap_err();
    pool.tagged(AdapterId::ORPHANS, TAG).unwrap().allocate(layout).unwrap_err();
    pool.tagged(AdapterId::from_raw(0), TAG).unwrap().allocate(layout).unwrap_err();
    // A misuse is told, and changes nothing.
    let heard = Heard::of(&pool);
    let block = own.allocate(layout).unwrap().cast();
    // SAFETY: freed once; the rest is refused.
    unsafe {
        own.deallocate(block, layout);
        own.deallocate(block, layout);
        assert_eq!(heard.one().kind, ViolationKind::DoubleFree);
        own.grow(block, layout, Layout::new::<[u64; 9]>()).unwrap_err();
        assert_eq!(heard.one().kind, ViolationKind::DoubleFree);
    }
}

/// A pool over memory that the caller brings: the pool cannot know that it is memory.
fn over_the_callers_range<W: Way>() {
    let range = std::boxed::Box::leak(vec![0u64; (1 << 20) / 8].into_boxed_slice());
    let base = range.as_mut_ptr().expose_provenance() as u64;
    let pool = W::over(&Config::new(base, 1 << 20).min_block(64));
    let id = pool.add_adapter("disk").unwrap();
    assert!(pool.tagged(id, TAG).is_none());
    // SAFETY: the range is leaked memory that the pool alone uses.
    let own = unsafe { Tagged::new(&pool, id, TAG) };
    let mut numbers = Vec::new_in(own);
    numbers.extend(0..10_000u32);
    assert!((base..base + (1 << 20)).contains(&(numbers.as_ptr().addr() as u64)));
    assert!(numbers.iter().enumerate().all(|(n, &number)| number == n as u32));
    drop(numbers);
    assert_eq!(pool.usage().live, 0);
}

fn after_the_adapter_is_gone<W: Way>() {
    let (pool, id) = build::<W>(1 << 20);
    let mut numbers = Vec::with_capacity_in(10, tagged(&pool, id));
    numbers.extend(0..10u64);
    assert_eq!(pool.remove_adapter(id).unwrap().blocks(), 1);
    numbers.try_reserve(1000).unwrap_err();
    assert_eq!(numbers.as_slice(), &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let address = numbers.as_ptr().addr() as u64;
    drop(numbers);
    assert_eq!(pool.usage().live, 1, "it leaks, as an orphan");
    assert_eq!(free(&pool, AdapterId::ORPHANS, address), Status::SUCCESS);
}

/// The safe layer's adapter vouches for its pool, and outlives what it made.
#[test]
fn of_an_adapter() {
    let pool = Pool::new(1 << 20).unwrap();
    let disk = pool.adapter("disk").unwrap();
    let own = disk.tagged(TAG).unwrap();
    let shared = Vec::from_iter_in_threads(own);
    assert_eq!(shared.iter().map(|part| part.len()).sum::<usize>(), 8 * 500);
}

trait Parts<A: Allocator>: Sized {
    fn from_iter_in_threads(own: A) -> Self;
}

/// Made on other threads, and freed on this one.
impl<'a> Parts<Tagged<'a>> for Vec<Vec<u32, Tagged<'a>>, Tagged<'a>> {
    fn from_iter_in_threads(own: Tagged<'a>) -> Self {
        let mut all = Vec::new_in(own);
        std::thread::scope(|scope| {
            let threads: std::vec::Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(move || {
                        let mut part = Vec::new_in(own);
                        part.extend(0..500);
                        part
                    })
                })
                .collect();
            all.extend(threads.into_iter().map(|thread| thread.join().unwrap()));
        });
        all
    }
}

/// Collections over a bump allocator by the same trait, beside those over the pool.
#[test]
fn bumpalos_collections() {
    let bump = bumpalo::Bump::new();
    let pool = Pool::new(1 << 20).unwrap();
    let disk = pool.adapter("disk").unwrap();
    let mut lists = Vec::new_in(disk.tagged(TAG).unwrap());
    for n in 0..100u32 {
        let mut list = Vec::new_in(&bump);
        list.extend(0..n);
        lists.push(list);
    }
    let mut own = bumpalo::collections::Vec::new_in(&bump);
    own.extend(lists.iter().map(|list| list.len()));
    assert_eq!(own.iter().sum::<usize>(), 4950);
    assert_eq!(pool.usage().live, 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// A vector over the pool holds what std's holds.
    #[test]
    fn as_stds_vector(steps in prop::collection::vec((0..5u8, 0..3000usize), 1..60)) {
        let pool = Pool::new(8 << 20).unwrap();
        let disk = pool.adapter("disk").unwrap();
        let mut own = Vec::new_in(disk.tagged(TAG).unwrap());
        let mut model = std::vec::Vec::new();
        for (n, (what, size)) in steps.into_iter().enumerate() {
            match what {
                0 | 1 => {
                    own.extend((0..size).map(|k| k * n));
                    model.extend((0..size).map(|k| k * n));
                }
                2 => {
                    own.truncate(size);
                    model.truncate(size);
                }
                3 => own.shrink_to_fit(),
                _ => own.resize(size, n),
            }
            if what > 3 {
                model.resize(size, n);
            }
            prop_assert_eq!(own.as_slice(), model.as_slice());
        }
        drop(own);
        prop_assert_eq!((pool.usage().live, pool.violations()), (0, 0));
    }
}
