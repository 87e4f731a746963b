//! The trace ring: producers of one lane, one of which may stand still in the middle of its push, and the reader.
#![cfg(storport_pool_loom)]

use loom::thread;
use loom_tests::model;
use storport_pool::{TraceDrain, TraceEvent, TraceItem, TraceKind, TraceRing, tag};

/// The event number `n` of a thread. Its fields tell each other's number.
fn event(thread: u32, n: u32) -> TraceEvent {
    let mark = thread * 16 + n;
    TraceEvent {
        time: mark.into(),
        thread,
        tag: tag!("Loom"),
        bytes: mark,
        address: u64::from(mark) << 32,
        ..TraceEvent::new(TraceKind::Free)
    }
}

/// What was read: the events, each whole, and how many were told as dropped.
#[derive(Default)]
struct Read {
    items: Vec<TraceItem>,
}

impl Read {
    fn drain(&mut self, drain: &mut TraceDrain<'_>) {
        drain.drain(|item| self.items.push(item));
    }

    fn all(&mut self, drain: &mut TraceDrain<'_>) {
        drain.drain_all(|item| self.items.push(item));
    }

    fn events(&self) -> Vec<TraceEvent> {
        let event = |item: &TraceItem| match *item {
            TraceItem::Event(event) => Some(event),
            _ => None,
        };
        self.items.iter().filter_map(event).collect()
    }

    fn dropped(&self) -> u64 {
        let dropped = |item: &TraceItem| match *item {
            TraceItem::Dropped { events, .. } => events,
            _ => 0,
        };
        self.items.iter().map(dropped).sum()
    }

    /// Those that were pushed, each once and whole, and no other; as many were told as dropped as were refused.
    fn check(&self, pushed: &[(TraceEvent, bool)]) {
        let mut events = self.events();
        let mut taken: Vec<_> = pushed.iter().filter(|(_, taken)| *taken).map(|(event, _)| *event).collect();
        [&mut events, &mut taken].into_iter().for_each(|all| all.sort_by_key(|event| event.time));
        assert_eq!(events, taken);
        assert_eq!(self.dropped(), (pushed.len() - taken.len()) as u64);
    }
}

/// Two producers, two events each, into a lane of two, while the reader drains.
#[test]
fn two_producers_against_a_drain() {
    model(|| {
        let (ring, mut drain) = TraceRing::modelled(1, 2);
        let push =
            |ring: &TraceRing<'_>, thread| [0, 1].map(|n| (event(thread, n), ring.push(&event(thread, n))));
        let other = {
            let ring = ring.clone();
            thread::spawn(move || push(&ring, 1))
        };
        let reader = thread::spawn(move || {
            let mut read = Read::default();
            read.drain(&mut drain);
            (read, drain)
        });
        let mine = push(&ring, 2);
        let theirs = other.join().unwrap();
        let (mut read, mut drain) = reader.join().unwrap();
        read.all(&mut drain);
        read.check(&[mine, theirs].concat());
        assert_eq!(ring.dropped(), read.dropped());
    });
}

/// One of two producers may stand at any point of its push. The other one's events go in, and come out.
#[test]
fn a_producer_that_stands_still() {
    model(|| {
        let (ring, mut drain) = TraceRing::modelled(1, 2);
        let other = {
            let ring = ring.clone();
            thread::spawn(move || (event(1, 0), ring.push(&event(1, 0))))
        };
        let mut read = Read::default();
        let mut mine = Vec::new();
        for n in 0..2 {
            mine.push((event(2, n), ring.push(&event(2, n))));
            read.drain(&mut drain);
            assert!(mine[n as usize].1, "the place beside the one that is held is free");
            assert!(read.events().contains(&event(2, n)), "an event behind the one that stands is read");
        }
        mine.push(other.join().unwrap());
        assert!(mine.iter().all(|(_, taken)| *taken));
        read.all(&mut drain);
        read.check(&mine);
    });
}

/// One producer, so that the order is known: what was dropped is told between the events around it.
#[test]
fn drops_are_told_in_their_place() {
    model(|| {
        let (ring, mut drain) = TraceRing::modelled(1, 2);
        let reader = thread::spawn(move || {
            let mut read = Read::default();
            read.drain(&mut drain);
            (read, drain)
        });
        let mut pushed: Vec<_> = (0..4).map(|n| (event(1, n), ring.push(&event(1, n)))).collect();
        let (mut read, mut drain) = reader.join().unwrap();
        read.all(&mut drain);
        pushed.push((event(1, 4), ring.push(&event(1, 4))));
        read.all(&mut drain);
        read.check(&pushed);
        let mut before = 0;
        let mut left = pushed.iter();
        for item in &read.items {
            match *item {
                TraceItem::Dropped { events, .. } => before += events,
                TraceItem::Event(event) => {
                    let refused = left.by_ref().take_while(|(pushed, _)| *pushed != event).count() as u64;
                    assert_eq!(before, refused, "before {event:?} of {:?}", read.items);
                    before = 0;
                }
                _ => unreachable!(),
            }
        }
    });
}
