//! The feature `tracing`: slow paths and violations are events, at PASSIVE alone; fast paths are none.

mod common;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use common::*;
use storport_pool::{AdapterId, Irql, Native, Pool, PoolOptions, Status, tag};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// An event: what happened, and its other fields as text.
#[derive(Clone, Debug)]
struct Seen {
    what: String,
    level: Level,
    fields: BTreeMap<&'static str, String>,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.what = format!("{value:?}"),
            name => drop(self.fields.insert(name, format!("{value:?}"))),
        }
    }
}

/// Keeps what it is told.
#[derive(Clone, Default)]
struct Keeps(Arc<Mutex<Vec<Seen>>>);

impl Subscriber for Keeps {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "storport_pool"
    }

    fn event(&self, event: &Event<'_>) {
        let mut seen =
            Seen { what: String::new(), level: *event.metadata().level(), fields: BTreeMap::new() };
        event.record(&mut seen);
        self.0.lock().unwrap().push(seen);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        unreachable!("the pool has no spans")
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// What the pool tells while `work` runs on this thread.
fn told<R>(work: impl FnOnce() -> R) -> (R, Vec<Seen>) {
    let keeps = Keeps::default();
    let result = tracing::subscriber::with_default(keeps.clone(), work);
    let seen = std::mem::take(&mut *keeps.0.lock().unwrap());
    (result, seen)
}

fn find<'a>(seen: &'a [Seen], what: &str) -> &'a Seen {
    seen.iter().find(|seen| seen.what == what).unwrap_or_else(|| panic!("no {what:?} in {seen:?}"))
}

fn pool(spans: u64) -> (Pool<Native>, AdapterId) {
    let pool = PoolOptions::new(spans * SPAN).build().unwrap();
    let disk = pool.add_adapter("disk").unwrap();
    (pool, disk)
}

#[test]
fn an_allocation_tells_where_its_block_came_from() {
    let (pool, disk) = pool(16 * 16);
    let mut block = 0;
    let (status, seen) = told(|| pool.allocate(disk, 100, tag!("Trac"), Some(&mut block)));
    assert_eq!(status, Status::SUCCESS);
    find(&seen, "span taken");
    assert_eq!(find(&seen, "refill").fields["address"], block.to_string());
    let slow = find(&seen, "allocation, the slow way");
    let fields = |name| slow.fields[name].as_str();
    assert_eq!((fields("tag"), fields("bytes"), fields("status")), ("Trac", "100", "STOR_STATUS_SUCCESS"));
    assert_eq!((fields("address"), fields("adapter")), (&*block.to_string(), &*disk.raw().to_string()));
    assert!(slow.fields.contains_key("class"));
}

/// Whoever hits the cache is told of nothing.
#[test]
fn fast_paths_tell_nothing() {
    let (pool, disk) = pool(16 * 16);
    must_free(&pool, disk, alloc(&pool, disk, 100).unwrap());
    let ((), seen) = told(|| {
        // A migration, or an abort, may take one of these the slow way.
        for _ in 0..1000 {
            must_free(&pool, disk, alloc(&pool, disk, 100).unwrap());
        }
    });
    assert!(seen.len() < 100, "{} events: {:?}", seen.len(), seen[0]);
}

#[test]
fn refused_calls_and_violations_are_told() {
    let (pool, disk) = pool(16);
    let block = alloc(&pool, disk, 100).unwrap();
    must_free(&pool, disk, block);
    let (status, seen) = told(|| free(&pool, disk, block));
    assert_eq!(status, Status::INVALID_PARAMETER);
    let violation = find(&seen, "violation");
    assert_eq!((violation.level, violation.fields["kind"].as_str()), (Level::WARN, "\"double free\""));
    assert_eq!(violation.fields["address"], block.to_string());
    assert_eq!(violation.fields["bytes"], "100");
    assert_eq!(find(&seen, "free, the slow way").fields["status"], "STOR_STATUS_INVALID_PARAMETER");
    let (status, seen) = told(|| pool.allocate(disk, 0, tag!("Zero"), Some(&mut 0)));
    assert_eq!(status, Status::INVALID_PARAMETER);
    assert_eq!(find(&seen, "violation").fields["tag"], "Zero");
    assert_eq!(find(&seen, "allocation refused").fields["status"], "STOR_STATUS_INVALID_PARAMETER");
}

/// A small pool that is full: caches are stolen from, slabs swept, and at last the call is refused.
#[test]
fn a_full_pool_tells_how_it_looked() {
    let (pool, disk) = pool(2);
    let (blocks, seen) = told(|| std::iter::from_fn(|| alloc(&pool, disk, 512).ok()).collect::<Vec<_>>());
    find(&seen, "sweep");
    let last = seen.iter().rfind(|seen| seen.what == "allocation, the slow way").unwrap();
    assert_eq!(last.fields["status"], "STOR_STATUS_INSUFFICIENT_RESOURCES");
    blocks.into_iter().for_each(|block| must_free(&pool, disk, block));
    let (_, seen) = told(|| pool.trim().unwrap());
    assert!(find(&seen, "slabs retired").fields.contains_key("slabs"));
    find(&seen, "trim");
    let (_, seen) = told(|| pool.remove_adapter(disk).unwrap());
    assert_eq!(find(&seen, "removal").fields["exact"], "true");
}

/// What lies in another CPU's cache is taken from there.
#[test]
fn a_steal_is_told() {
    let pool = SimPortable::build(PoolOptions::new(2 * SPAN).cpus(2));
    let disk = pool.add_adapter("disk").unwrap();
    SimPortable::go_to_cpu(0);
    let blocks: Vec<_> = std::iter::from_fn(|| alloc(&pool, disk, 512).ok()).collect();
    blocks.iter().for_each(|&block| must_free(&pool, disk, block));
    SimPortable::go_to_cpu(1);
    let (_, seen) = told(|| std::iter::from_fn(|| alloc(&pool, disk, 512).ok()).count());
    SimPortable::go_to_cpu(0);
    find(&seen, "steal");
}

/// A handler runs at DISPATCH, and whoever it interrupted may hold the subscriber's lock.
#[test]
fn above_passive_nothing_is_told() {
    let (pool, disk) = pool(2);
    let block = alloc(&pool, disk, 512).unwrap();
    for level in [Irql::APC, Irql::DISPATCH, Irql::HIGH] {
        let ((), seen) = told(|| {
            let _raised = Irql::raise(level);
            let blocks: Vec<_> = std::iter::from_fn(|| alloc(&pool, disk, 512).ok()).collect();
            assert_eq!(blocks.is_empty(), level > Irql::DISPATCH);
            blocks.into_iter().for_each(|block| must_free(&pool, disk, block));
            let _ = free(&pool, disk, block + 16);
            let _ = pool.allocate(disk, 0, tag!("Zero"), Some(&mut 0));
            let _ = pool.trim();
        });
        assert!(seen.is_empty(), "at {level}: {seen:?}");
    }
    must_free(&pool, disk, block);
}
