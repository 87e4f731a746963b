//! The trace ring: nothing is lost unless it is counted, nothing is made up, and nobody is waited for.

#[cfg(storport_pool_steps)]
#[path = "common/overtaken.rs"]
mod overtaken;
#[cfg(target_os = "linux")]
#[path = "common/timer.rs"]
mod timer;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use storport_pool::{
    AdapterId, Irql, Status, TraceDrain, TraceEvent, TraceItem, TraceKind, TraceRing, TraceRingError, tag,
};

/// The event number `n` of a thread, whose fields all tell its number.
fn event(thread: u32, n: u32) -> TraceEvent {
    let kinds = [TraceKind::Allocate, TraceKind::Free, TraceKind::Resize, TraceKind::AddAdapter];
    TraceEvent {
        kind: kinds[n as usize % 4],
        status: if n.is_multiple_of(3) { Status::INVALID_PARAMETER } else { Status::SUCCESS },
        time: u64::from(n) * 3,
        thread,
        cpu: thread % 2,
        irql: if n.is_multiple_of(2) { Irql::PASSIVE } else { Irql::DISPATCH },
        adapter: AdapterId::from_raw(n % 1000),
        tag: tag!("Ring"),
        bytes: n,
        address: u64::from(n) << 20 | u64::from(thread),
    }
}

/// A lane of so many events.
fn ring(memory: &mut Vec<u64>, lanes: u32, events: u32) -> (TraceRing<'_>, TraceDrain<'_>) {
    *memory = vec![7; TraceRing::words(lanes, events)];
    TraceRing::over(memory, lanes).unwrap()
}

fn drained(drain: &mut TraceDrain<'_>) -> Vec<TraceItem> {
    let mut items = Vec::new();
    drain.drain(|item| items.push(item));
    items
}

fn all_drained(drain: &mut TraceDrain<'_>) -> Vec<TraceItem> {
    let mut items = Vec::new();
    drain.drain_all(|item| items.push(item));
    items
}

/// How many were told as dropped, and the others.
fn parted(items: Vec<TraceItem>) -> (u64, Vec<TraceEvent>) {
    let (mut dropped, mut found) = (0, Vec::new());
    for item in items {
        match item {
            TraceItem::Event(event) => found.push(event),
            TraceItem::Dropped { events, .. } => dropped += events,
            _ => unreachable!(),
        }
    }
    (dropped, found)
}

#[test]
fn what_is_pushed_is_read_once_in_its_order() {
    let mut memory = Vec::new();
    let (ring, mut drain) = ring(&mut memory, 2, 8);
    assert_eq!((ring.lanes(), ring.events_per_lane()), (2, 8));
    for turn in 0..10 {
        let events: Vec<_> = (0..7).map(|n| event(1, turn * 7 + n)).collect();
        assert!(events.iter().all(|event| ring.push(event)));
        // The other lane's come first.
        let before = event(2, turn);
        assert!(ring.push(&before));
        let read = drained(&mut drain);
        assert_eq!(
            read,
            [&[before], &events[..]].concat().into_iter().map(TraceItem::Event).collect::<Vec<_>>()
        );
        assert_eq!(drained(&mut drain), []);
    }
    assert_eq!(ring.dropped(), 0);
}

#[test]
fn memory_that_is_too_small_is_told() {
    let mut memory = vec![0; TraceRing::words(3, 2)];
    assert_eq!(TraceRing::over(&mut memory, 0).unwrap_err(), TraceRingError::NoLanes);
    assert_eq!(TraceRing::over(&mut memory, 4).unwrap_err(), TraceRingError::TooSmall);
    assert_eq!(TraceRing::over(&mut [], 1).unwrap_err(), TraceRingError::TooSmall);
    // Wherever the memory begins, there is room for what was asked for.
    for skipped in 0..8 {
        let mut memory = vec![0; skipped + TraceRing::words(3, 16)];
        let (ring, _) = TraceRing::over(&mut memory[skipped..], 3).unwrap();
        assert_eq!(ring.events_per_lane(), 16);
    }
    assert_eq!(TraceRing::words(u32::MAX, u32::MAX), usize::MAX);
}

/// More than the events' own counts can tell, too.
#[test]
fn drops_are_counted_and_told_in_their_place() {
    for lost in [1, 5, 32_767, 100_000] {
        let mut memory = Vec::new();
        let (ring, mut drain) = ring(&mut memory, 1, 16);
        let kept: Vec<_> = (0..16).map(|n| event(0, n)).collect();
        assert!(kept.iter().all(|event| ring.push(event)));
        assert!((0..lost).all(|n| !ring.push(&event(0, 16 + n))));
        assert_eq!(ring.dropped(), u64::from(lost));
        let mut items = drained(&mut drain);
        let after = event(0, 16 + lost);
        assert!(ring.push(&after));
        items.extend(all_drained(&mut drain));
        // What a lane dropped before an event is told before it, up to 32767; the rest behind.
        let told = match &items[16] {
            TraceItem::Dropped { lane: 0, events } => *events,
            // Modulo 65536, it looks as if fewer were dropped than were told.
            TraceItem::Event(_) => 0,
            item => panic!("{item:?}"),
        };
        assert!(lost > 32_767 || told == u64::from(lost), "{lost}: {told}");
        let (dropped, events) = parted(items);
        assert_eq!((dropped, events), (u64::from(lost), [&kept[..], &[after]].concat()));
    }
}

/// Threads push as fast as they can into two small lanes, while another one drains.
#[test]
fn threads_lose_nothing_that_is_not_counted() {
    const THREADS: u32 = 4;
    const EVENTS: u32 = 50_000;
    let mut memory = Vec::new();
    let (ring, mut drain) = ring(&mut memory, 2, 64);
    let done = AtomicBool::new(false);
    let (pushed, items) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut items = Vec::new();
            while !done.load(Ordering::Acquire) {
                drain.drain(|item| items.push(item));
            }
            drain.drain_all(|item| items.push(item));
            items
        });
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let ring = &ring;
                scope.spawn(move || {
                    let events = (0..EVENTS).map(|n| event(thread, n));
                    events.filter(|event| ring.push(event)).collect::<Vec<_>>()
                })
            })
            .collect();
        let pushed: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        done.store(true, Ordering::Release);
        (pushed, reader.join().unwrap())
    });
    let (dropped, events) = parted(items);
    assert_eq!(dropped, u64::from(THREADS * EVENTS) - pushed.len() as u64);
    assert_eq!(ring.dropped(), dropped);
    assert_eq!(events.len(), pushed.len(), "some twice, or none");
    let [pushed, events] = [pushed, events].map(|all| all.into_iter().collect::<HashSet<_>>());
    assert_eq!(events, pushed);
    assert!(events.len() >= 128, "a full ring at least");
}

/// A timer's handler pushes into the lane of the very push that it interrupts.
#[cfg(target_os = "linux")]
mod handler {
    use std::sync::OnceLock;
    use std::sync::atomic::AtomicU32;

    use super::*;

    static RING: OnceLock<TraceRing<'static>> = OnceLock::new();
    static REFUSED: AtomicU32 = AtomicU32::new(0);
    static CAME: AtomicU32 = AtomicU32::new(0);

    extern "C" fn interrupt(_: i32) {
        let n = CAME.fetch_add(1, Ordering::Relaxed);
        if !RING.get().unwrap().push(&event(1, n)) {
            REFUSED.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_handler_pushes_inside_a_push() {
        const COME: u32 = 2000;
        let memory = Box::leak(vec![0; TraceRing::words(1, 1 << 10)].into_boxed_slice());
        let (ring, mut drain) = TraceRing::over(memory, 1).unwrap();
        RING.set(ring.clone()).unwrap();
        // SAFETY: a push may be made in a handler.
        unsafe { timer::handle(interrupt) };
        let timer = timer::every(20_000);
        let (mut pushed, mut items) = (0, Vec::new());
        let mut refused = 0;
        while CAME.load(Ordering::Relaxed) < COME {
            for _ in 0..200 {
                if !ring.push(&event(3, pushed)) {
                    refused += 1;
                }
                pushed += 1;
            }
            drain.drain(|item| items.push(item));
        }
        drop(timer);
        drain.drain_all(|item| items.push(item));
        let (dropped, events) = parted(items);
        let (came, refused) = (CAME.load(Ordering::Relaxed), refused + REFUSED.load(Ordering::Relaxed));
        assert_eq!(dropped, u64::from(refused));
        assert_eq!(events.len(), (came + pushed - refused) as usize);
        let mut seen = HashSet::new();
        for found in events {
            assert_eq!(found, event(found.thread, found.bytes));
            assert!(seen.insert(found), "{found:?} twice");
        }
    }
}

/// Pushes that something overtakes at each of their atomic operations. `ci/interrupts.sh` runs it.
#[cfg(storport_pool_steps)]
mod steps {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::sync::mpsc::channel;

    use super::overtaken::overtaken;
    use super::*;

    /// More than a push has.
    const MOST: u32 = 16;

    fn leaked(events: u32) -> (TraceRing<'static>, TraceDrain<'static>) {
        TraceRing::over(Box::leak(vec![0; TraceRing::words(1, events)].into_boxed_slice()), 1).unwrap()
    }

    /// A handler fills the lane and empties it, several times over, in the middle of a push.
    #[test]
    fn a_push_and_many_laps() {
        let mut reached = 0;
        for at in 0..MOST {
            for laps in [0, 1, 3, 4, 9] {
                let (ring, drain) = leaked(8);
                let (drain, inner) = (Rc::new(RefCell::new(drain)), ring.clone());
                let read = Rc::new(RefCell::new(Vec::new()));
                let (other, found) = (drain.clone(), read.clone());
                let work = move || {
                    for n in 0..laps * 8 {
                        assert!(inner.push(&event(1, n)), "operation {at}, event {n}");
                        other.borrow_mut().drain(|item| found.borrow_mut().push(item));
                    }
                };
                let (pushed, overtook) = overtaken(at, work, || ring.push(&event(3, 7)));
                assert!(pushed, "there is room");
                drain.borrow_mut().drain_all(|item| read.borrow_mut().push(item));
                let (dropped, events) = parted(read.take());
                assert_eq!(dropped, 0);
                let inner: Vec<_> = events.iter().copied().filter(|found| found.thread == 1).collect();
                if overtook {
                    reached += 1;
                    assert_eq!(inner, (0..laps * 8).map(|n| event(1, n)).collect::<Vec<_>>());
                }
                assert_eq!(events.iter().filter(|&&found| found == event(3, 7)).count(), 1);
                assert_eq!(events.len(), inner.len() + 1);
            }
        }
        assert!(reached >= 30, "only {reached}: a push has six operations");
    }

    /// A producer stands still at each operation while others push far more than the lane holds; then it goes on.
    #[test]
    fn a_producer_that_stands_for_long() {
        for at in 0..MOST {
            let (ring, mut drain) = leaked(8);
            let (stands, stood) = channel();
            let (go, goes) = channel::<()>();
            let standing = {
                let ring = ring.clone();
                std::thread::spawn(move || {
                    let work = move || {
                        stands.send(()).unwrap();
                        goes.recv().unwrap();
                    };
                    overtaken(at, work, || ring.push(&event(3, 7)))
                })
            };
            // Where the push has no such operation, it ends.
            let is_standing = stood.recv().is_ok();
            let mut items = Vec::new();
            for n in 0..1000 {
                assert!(ring.push(&event(1, n)), "operation {at}: who stands blocks nobody");
                drain.drain(|item| items.push(item));
                assert!(
                    items.contains(&TraceItem::Event(event(1, n))),
                    "operation {at}: event {n} is not read"
                );
            }
            if is_standing {
                let (_, events) = parted(items.clone());
                assert!(events.iter().all(|found| found.thread == 1), "a made-up event");
                go.send(()).unwrap();
            }
            let (pushed, _) = standing.join().unwrap();
            assert!(pushed);
            drain.drain_all(|item| items.push(item));
            let (dropped, events) = parted(items);
            assert_eq!((dropped, events.len()), (0, 1001));
            assert!(events.contains(&event(3, 7)));
        }
    }

    /// As what the documentation says: two locked instructions, and nine at most.
    #[test]
    fn a_push_has_its_bound() {
        use storport_pool::steps::{Step, install};
        thread_local! {
            static LOCKED: std::cell::Cell<Option<u32>> = const { std::cell::Cell::new(None) };
        }
        fn count(step: Step, _: usize) {
            if step == Step::Rmw {
                LOCKED.set(LOCKED.get().map(|locked| locked + 1));
            }
        }
        // The first hook stays, and this test must be the one that installs it: it runs in a process of its own.
        if std::env::var_os("STORPORT_POOL_COUNTS").is_none() {
            let program = std::env::current_exe().unwrap();
            let mut again = std::process::Command::new(program);
            again.args(["--exact", "steps::a_push_has_its_bound"]).env("STORPORT_POOL_COUNTS", "1");
            assert!(again.status().unwrap().success());
            return;
        }
        install(count);
        let (ring, _) = leaked(8);
        for n in 0..16 {
            LOCKED.set(Some(0));
            let pushed = ring.push(&event(1, n));
            let locked = LOCKED.take().unwrap();
            assert_eq!((pushed, locked), if n < 8 { (true, 2) } else { (false, 9) });
        }
    }
}
