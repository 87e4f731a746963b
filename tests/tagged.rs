//! A program whose global allocator the pool is: std's collections, other crates', and what each call promises.

#[path = "common/layouts.rs"]
mod layouts;

use std::alloc::{GlobalAlloc, Layout};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Barrier;

use layouts::{Held, allocator, layout, random_calls};
use proptest::prelude::*;
use storport_pool::{PoolTag, TagScope, TaggedAlloc, tag, with_tag};

#[global_allocator]
static GLOBAL: TaggedAlloc = TaggedAlloc::new(tag!("Main"), 1 << 30);

/// More than the machine has CPUs, so that some are stopped inside their calls.
const THREADS: usize = 32;

fn tag_of<T: ?Sized>(block: *const T) -> PoolTag {
    GLOBAL.pool().unwrap().block_at(block.addr() as u64).unwrap().tag.unwrap()
}

/// The harness's own blocks come from it too, and were allocated before `main`.
#[test]
fn stds_collections() {
    let mut map = HashMap::new();
    let mut tree = BTreeMap::new();
    let mut queue = VecDeque::new();
    for n in 0..10_000u64 {
        let text = format!("number {n}");
        queue.push_back(text.clone());
        tree.insert(text.clone(), n);
        map.insert(n, text);
    }
    for n in 0..10_000u64 {
        let text = queue.pop_front().unwrap();
        assert_eq!((map.remove(&n), tree.remove(&text)), (Some(text), Some(n)));
    }
    assert_eq!(tag_of(&raw const *Box::new(7)), tag!("Main"));
}

#[test]
fn every_thread_and_threads_that_end() {
    thread_local! {
        // Dropped when the thread ends, behind its last call.
        static LATE: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    for _ in 0..10 {
        let (send, receive) = std::sync::mpsc::channel::<Vec<String>>();
        std::thread::scope(|scope| {
            for n in 0..THREADS {
                let send = send.clone();
                scope.spawn(move || {
                    let texts: Vec<String> = (0..200).map(|k| format!("{n} says {k}")).collect();
                    LATE.with_borrow_mut(|late| late.extend_from_slice(&texts));
                    send.send(texts).unwrap();
                });
            }
            drop(send);
            let mut sum = 0;
            for texts in receive {
                // Freed by another thread than the one that made them, which may have ended.
                let said = texts[0].split_once(" says ").unwrap().0.to_owned();
                assert!(texts.iter().enumerate().all(|(k, text)| *text == format!("{said} says {k}")));
                sum += texts.len();
            }
            assert_eq!(sum, THREADS * 200);
        });
    }
}

#[test]
fn crossbeams_structures() {
    let queue = crossbeam::queue::SegQueue::new();
    let map = crossbeam::epoch::Atomic::new(String::from("first"));
    let injector = crossbeam::deque::Injector::new();
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for n in 0..8u64 {
            let (queue, map, injector, start) = (&queue, &map, &injector, &start);
            scope.spawn(move || {
                start.wait();
                let worker = crossbeam::deque::Worker::new_lifo();
                for k in 0..2000u64 {
                    queue.push(vec![n; 3 + (k % 50) as usize]);
                    injector.push(Box::new(k));
                    let _ = injector.steal_batch(&worker);
                    if let Some(taken) = worker.pop() {
                        assert!(*taken < 2000);
                    }
                    let guard = crossbeam::epoch::pin();
                    let next = crossbeam::epoch::Owned::new(format!("{n}, {k}"));
                    let old = map.swap(next, std::sync::atomic::Ordering::AcqRel, &guard);
                    // SAFETY: swapped out once; freed when nobody reads it any more.
                    unsafe {
                        assert!(old.deref().contains("first") || old.deref().contains(", "));
                        guard.defer_destroy(old);
                    }
                    drop(guard);
                    let popped = queue.pop().unwrap();
                    assert!(popped.iter().all(|&value| value == popped[0]));
                }
            });
        }
    });
    assert!(queue.is_empty());
    // SAFETY: no other thread is left.
    drop(unsafe { map.into_owned() });
}

/// A bump allocator's chunks come through the global allocator, under the tag of the scope that asks for them.
#[test]
fn bumpalos_chunks() {
    let mut bump = bumpalo::Bump::new();
    for round in 0..20 {
        let _in = TagScope::enter(tag!("Bump"));
        let values: Vec<&mut u64> = (0..5000u64).map(|n| &mut *bump.alloc(n ^ round)).collect();
        assert!(values.iter().enumerate().all(|(n, value)| **value == n as u64 ^ round));
        assert_eq!(tag_of(values[0]), tag!("Bump"));
        drop(values);
        bump.reset();
    }
}

#[test]
fn scopes_nest() {
    assert_eq!(TagScope::current(), None);
    assert_eq!(tag_of(vec![1u8; 40].as_ptr()), tag!("Main"));
    let outer = TagScope::enter(tag!("Outr"));
    let first = vec![1u8; 40];
    // A tag of 0 is a tag.
    let inner = with_tag(PoolTag::from_raw(0), || {
        assert_eq!(TagScope::current(), Some(PoolTag::from_raw(0)));
        let _deep = TagScope::enter(tag!("Deep"));
        vec![2u8; 40]
    });
    let second = vec![3u8; 40];
    // A thread begins in no scope, whoever made it.
    let other = std::thread::spawn(|| (TagScope::current(), vec![4u8; 40])).join().unwrap();
    drop(outer);
    let after = vec![5u8; 40];
    let tags = [&first, &inner, &second, &other.1, &after].map(|block| tag_of(block.as_ptr()));
    assert_eq!(tags, [tag!("Outr"), tag!("Deep"), tag!("Outr"), tag!("Main"), tag!("Main")]);
    assert_eq!((other.0, TagScope::current()), (None, None));
}

/// A panic ends the scopes that it passes.
#[test]
fn a_scope_ends_when_its_code_unwinds() {
    let caught =
        std::panic::catch_unwind(|| with_tag(tag!("Unwd"), || std::panic::resume_unwind(Box::new(7))));
    assert_eq!(caught.unwrap_err().downcast_ref::<i32>(), Some(&7));
    assert_eq!(TagScope::current(), None);
}

#[test]
fn a_block_keeps_its_tag() {
    let mut grows = with_tag(tag!("Keep"), || Vec::<u8>::with_capacity(100));
    let _in = TagScope::enter(tag!("Here"));
    for capacity in [112, 200, 5000, 200_000] {
        grows.reserve_exact(capacity);
        assert_eq!(tag_of(grows.as_ptr()), tag!("Keep"), "{capacity}");
    }
}

#[test]
fn all_alignments() {
    let own = allocator(64 << 20);
    for power in 0..=18 {
        let mut held = Vec::new();
        for size in [1, 7, 16, 17, 100, 1000, 4095, 4096, 4097, 5000, 32_768, 100_000] {
            held.push(Held::new(own, layout(size, 1 << power), power + size as u64).unwrap());
            held.push(Held::zeroed(own, layout(size, 1 << power)).unwrap());
        }
        held.iter_mut().for_each(Held::check);
        held.into_iter().for_each(Held::free);
    }
    for power in 19..=24 {
        Held::new(own, layout(100, 1 << power), power).unwrap().free();
    }
    assert_eq!(own.pool().unwrap().usage().live, 0);
}

#[test]
fn zeroed_is_zero_after_use() {
    let own = allocator(8 << 20);
    for size in [1, 16, 48, 500, 4096, 20_000, 300_000] {
        let dirty: Vec<Held> = (0..20).filter_map(|n| Held::new(own, layout(size, 8), n)).collect();
        let before: Vec<usize> = dirty.iter().map(Held::address).collect();
        dirty.into_iter().for_each(Held::free);
        // `zeroed` looks at each byte.
        let clean: Vec<Held> = (0..20).filter_map(|_| Held::zeroed(own, layout(size, 8))).collect();
        assert!(clean.iter().any(|block| before.contains(&block.address())), "{size}: used again");
        clean.into_iter().for_each(Held::free);
    }
}

/// Where a block of the first size is, after the second one was asked for.
#[test]
fn a_block_stays_while_it_has_room() {
    let own = allocator(64 << 20);
    let cases = [
        (100, 112, 8, true),
        (100, 113, 8, false),
        (112, 1, 8, false),
        (112, 57, 8, true),
        (4096, 2048, 8, true),
        (4096, 2047, 8, false),
        // There is no smaller block.
        (16, 1, 1, true),
        (64, 1, 64, true),
        (4096, 8, 4096, true),
        // Whole spans: as many as before.
        (1 << 20, (1 << 20) - 1, 8, true),
        (1 << 20, 1 << 17, 8, false),
        (1 << 20, 1 << 21, 8, false),
    ];
    for (from, to, align, stays) in cases {
        let mut block = Held::new(own, layout(from, align), 5).unwrap();
        let before = block.address();
        assert!(block.resize(to));
        assert_eq!(block.address() == before, stays, "{from} to {to} at {align}");
        block.check();
        let found = own.pool().unwrap().block_at(block.address() as u64).unwrap();
        assert_eq!(found.bytes as usize, to, "the table counts what was asked for");
        block.free();
    }
    assert_eq!(own.pool().unwrap().usage().live, 0);
}

#[test]
fn out_of_memory_is_null() {
    let own = allocator(1 << 20);
    for _ in 0..3 {
        let mut held = Vec::new();
        while let Some(block) = Held::new(own, layout(8192, 8), held.len() as u64) {
            held.push(block);
        }
        assert!(held.len() > 100);
        // Growing fails, and leaves the block as it was; shrinking never fails, though there is no room to move to.
        let mut last = held.pop().unwrap();
        let at = last.address();
        assert!(!last.resize(100_000));
        last.check();
        let filler: Vec<Held> = std::iter::from_fn(|| Held::new(own, layout(16, 8), 0)).collect();
        assert!(last.resize(24) && last.address() == at);
        last.check();
        last.free();
        filler.into_iter().chain(held).for_each(Held::free);
    }
    for (size, align) in [((1 << 20) + 1, 8), (1 << 32, 1), (1 << 40, 4096), (8, 1 << 40)] {
        assert!(Held::new(own, layout(size, align), 0).is_none(), "{size} at {align}");
        assert!(Held::zeroed(own, layout(size, align)).is_none());
    }
    assert_eq!((own.pool().unwrap().usage().live, own.pool().unwrap().violations()), (0, 0));
    let mut vector = Vec::<u8>::new();
    vector.try_reserve_exact(1 << 33).unwrap_err();
    vector.try_reserve_exact(2 << 30).unwrap_err();
    vector.try_reserve_exact(1000).unwrap();
}

#[test]
fn a_pool_that_cannot_be_made_is_null() {
    for own in [
        TaggedAlloc::new(tag!("None"), 1000),
        TaggedAlloc::new(tag!("None"), 128 << 30),
        TaggedAlloc::new(tag!("None"), 1 << 20).min_block(3),
        TaggedAlloc::new(tag!("None"), 1 << 20).accounts(5),
        TaggedAlloc::new(tag!("None"), 1 << 20).cpus(513),
    ] {
        assert!(own.pool().is_none() && own.adapter().is_none());
        // SAFETY: the layout has a size; null is what it answers.
        assert!(unsafe { own.alloc(Layout::new::<u64>()) }.is_null());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the order of calls: blocks keep their contents, do not overlap, and are zero where that was asked for.
    #[test]
    fn as_the_model_says(calls in random_calls()) {
        // One for all cases: its blocks are used again.
        static OWN: TaggedAlloc = TaggedAlloc::new(tag!("Prop"), 4 << 20);
        static LARGE: TaggedAlloc = TaggedAlloc::new(tag!("Prop"), 64 << 20).min_block(64);
        for own in [&OWN, &LARGE] {
            layouts::run(own, &calls);
            prop_assert_eq!(own.pool().unwrap().usage().live, 0);
            prop_assert_eq!(own.pool().unwrap().violations(), 0);
        }
    }
}

/// All of the above, with the portable commit.
#[test]
#[cfg(target_os = "linux")]
fn without_restartable_sequences() {
    const CHILD: &str = "STORPORT_POOL_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        assert!(!GLOBAL.pool().unwrap().uses_rseq());
        return;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .env("GLIBC_TUNABLES", "glibc.pthread.rseq=0")
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
