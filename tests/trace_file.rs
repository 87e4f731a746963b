//! The trace's file: what goes in comes out; a torn or changed file gives what is whole, says so, and never panics.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use storport_pool::{
    AdapterId, Irql, PoolTag, Status, TraceEnding, TraceError, TraceEvent, TraceHeader, TraceItem, TraceKind,
    TraceReader, TraceRing, TraceThread, TraceWriter, tag,
};

fn header() -> TraceHeader {
    TraceHeader {
        pool: "64 MiB, 16 bytes".into(),
        what: "all calls".into(),
        base: 0x8000_0000,
        bytes: 64 << 20,
        cpus: 4,
        min_block: 16,
    }
}

/// What most calls look like: a thread that allocates and frees.
fn plain(count: u64) -> Vec<TraceItem> {
    let event = |n: u64| TraceEvent {
        kind: if n.is_multiple_of(2) { TraceKind::Allocate } else { TraceKind::Free },
        time: 1000 + n * 70,
        thread: 3,
        cpu: 1,
        adapter: AdapterId::from_raw(7),
        tag: if n.is_multiple_of(2) { tag!("VioS") } else { PoolTag::from_raw(0) },
        bytes: if n.is_multiple_of(2) { 208 } else { 0 },
        address: 0x8000_1000 + n / 2 * 208,
        ..TraceEvent::new(TraceKind::Allocate)
    };
    (0..count).map(|n| TraceItem::Event(event(n))).collect()
}

fn file(items: &[TraceItem]) -> Vec<u8> {
    let mut writer = TraceWriter::new(Vec::new(), &header()).unwrap();
    items.iter().for_each(|item| writer.push(item).unwrap());
    writer.finish().unwrap().0
}

/// What a file gives, and whether it says that it is whole.
fn read(bytes: &[u8]) -> Result<(Vec<TraceItem>, bool), TraceError> {
    let mut reader = TraceReader::new(bytes)?;
    let items: Vec<_> = reader.by_ref().collect();
    assert!(reader.next().is_none(), "it ends once");
    let whole = match reader.ending().expect("it ended") {
        TraceEnding::Whole(counts) => {
            assert_eq!(*counts, reader.counts());
            true
        }
        TraceEnding::Torn(why) => {
            assert!(!why.to_string().is_empty());
            false
        }
        _ => unreachable!(),
    };
    Ok((items, whole))
}

fn any_item() -> impl Strategy<Value = TraceItem> {
    let kind = prop::sample::select(vec![
        TraceKind::Allocate,
        TraceKind::Free,
        TraceKind::Resize,
        TraceKind::AddAdapter,
        TraceKind::RemoveAdapter,
    ]);
    let status = (0..13_u32).prop_map(|n| Status::from_code(if n == 0 { 0 } else { 0xC100_0000 | n }));
    let numbers = (any::<u64>(), 0..4_u32, 0..3_u32, 0..16_u8, 0..1_u32 << 18, any::<u32>(), any::<u32>());
    let event = (kind, status, numbers, any::<u64>()).prop_map(
        |(kind, status, (time, thread, cpu, irql, adapter, tag, bytes), address)| {
            TraceItem::Event(TraceEvent {
                kind,
                status,
                time,
                thread,
                cpu,
                irql: Irql::new(irql).unwrap(),
                adapter: AdapterId::from_raw(adapter),
                tag: PoolTag::from_raw(tag),
                bytes,
                address,
            })
        },
    );
    let dropped = (any::<u32>(), any::<u64>()).prop_map(|(lane, events)| TraceItem::Dropped { lane, events });
    prop_oneof![9 => event, 1 => dropped]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_in_comes_out(items in prop::collection::vec(any_item(), 0..400)) {
        let (found, whole) = read(&file(&items)).unwrap();
        prop_assert_eq!(found, items);
        prop_assert!(whole);
    }

    /// Bytes that were never a trace, behind a header and in a chunk whose checksum is right.
    #[test]
    fn no_bytes_are_too_odd(noise in prop::collection::vec(any::<u8>(), 0..300), at in 0..400_usize) {
        let _ = read(&noise).map(|(_, whole)| assert!(!whole));
        let mut bytes = file(&plain(100));
        let at = at.min(bytes.len() - noise.len().min(bytes.len()));
        let end = (at + noise.len()).min(bytes.len());
        bytes[at..end].copy_from_slice(&noise[..end - at]);
        let _ = read(&bytes);
        TraceHeader::seal(&mut bytes);
        let _ = read(&bytes);
    }
}

#[test]
fn a_header_comes_back() {
    let bytes = file(&[]);
    assert_eq!(*TraceReader::new(&bytes[..]).unwrap().header(), header());
    // Cut between characters.
    let long = TraceHeader { what: "ä".repeat(5000), pool: format!("x{}", "ä".repeat(5000)), ..header() };
    let bytes = TraceWriter::new(Vec::new(), &long).unwrap().finish().unwrap().0;
    let reader = TraceReader::new(&bytes[..]).unwrap();
    assert_eq!(reader.header().what, "ä".repeat(500));
    assert_eq!(reader.header().pool, format!("x{}", "ä".repeat(499)));
}

/// A plain call takes less than a third of its 32 bytes, and many of them several chunks.
#[test]
fn a_file_is_compact() {
    let items = plain(100_000);
    let bytes = file(&items);
    assert!(bytes.len() < 8 * items.len(), "{} bytes for {}", bytes.len(), items.len());
    assert!(bytes.len() > 3 * (64 << 10));
    assert_eq!(read(&bytes).unwrap(), (items, true));
}

/// Wherever a file ends too early, it gives the whole chunks before, and is never taken for a whole one.
#[test]
fn a_torn_file_gives_what_is_whole() {
    let items = plain(60);
    let mut writer = TraceWriter::new(Vec::new(), &header()).unwrap();
    for (n, item) in items.iter().enumerate() {
        writer.push(item).unwrap();
        if n % 20 == 19 {
            writer.flush().unwrap();
        }
    }
    let bytes = writer.finish().unwrap().0;
    let mut lengths = Vec::new();
    for length in 0..bytes.len() {
        match read(&bytes[..length]) {
            Ok((found, whole)) => {
                assert!(!whole, "{length} bytes are taken for a whole file");
                assert_eq!(found, items[..found.len()]);
                lengths.push(found.len());
            }
            Err(error) => {
                assert!(lengths.is_empty(), "{length} bytes: {error}");
                assert!(matches!(error, TraceError::Torn | TraceError::NoTrace), "{error}");
            }
        }
    }
    lengths.dedup();
    assert_eq!(lengths, [0, 20, 40, 60]);
    assert_eq!(read(&bytes).unwrap(), (items.clone(), true));
    let more = [&bytes[..], &[0]].concat();
    assert_eq!(read(&more).unwrap(), (items, false));
}

/// No bit can be changed without being noticed, and nothing behind it is given.
#[test]
fn a_changed_file_gives_what_comes_before() {
    let items = plain(30);
    let bytes = file(&items);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            match read(&changed) {
                Ok((found, whole)) => {
                    assert!(!whole, "byte {at}, bit {bit}");
                    assert_eq!(found, items[..found.len()]);
                }
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
}

#[test]
fn chunks_that_change_places_are_noticed() {
    let items = plain(1);
    let whole = file(&items);
    let begin = TraceWriter::new(Vec::new(), &header()).unwrap().finish().unwrap().0.len() - 44;
    let one = &whole[begin..whole.len() - 44];
    let twice = [&whole[..begin], one, one, &whole[whole.len() - 44..]].concat();
    assert_eq!(read(&twice).unwrap(), (items.clone(), false));
    let none = [&whole[..begin], &whole[whole.len() - 44..]].concat();
    assert_eq!(read(&none).unwrap(), (vec![], false));
}

/// With the right checksums, the records themselves are looked at.
#[test]
fn records_that_make_no_sense_are_noticed() {
    let items = plain(3);
    let bytes = file(&items);
    let begin = TraceWriter::new(Vec::new(), &header()).unwrap().finish().unwrap().0.len() - 44 + 12;
    let mut refused = 0;
    for at in begin..bytes.len() - 52 {
        for value in 0..=255 {
            let mut changed = bytes.clone();
            changed[at] = value;
            TraceHeader::seal(&mut changed);
            refused += u32::from(!read(&changed).unwrap().1);
        }
    }
    assert!(refused > 1000, "{refused}");
    let mut same = bytes.clone();
    TraceHeader::seal(&mut same);
    assert_eq!(same, bytes);
}

#[test]
fn what_is_no_trace_is_named() {
    let whole = file(&plain(1));
    let mut version = whole.clone();
    version[8] = 2;
    for (bytes, message) in [
        (&b""[..], "is no trace"),
        (b"{\"schema\": 2}", "is no trace"),
        (&version, "is a trace of version 2; this reads 1"),
        (&whole[..40], "is a trace that is torn before its first event"),
    ] {
        assert_eq!(TraceReader::new(bytes).unwrap_err().to_string(), message);
    }
    #[derive(Debug)]
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("it burns"))
        }
    }
    assert_eq!(TraceReader::new(Fails).unwrap_err().to_string(), "cannot be read: it burns");
    let mut reader = TraceReader::new((&whole[..whole.len() - 44]).chain(Fails)).unwrap();
    assert_eq!(reader.by_ref().count(), 1);
    assert!(matches!(reader.ending(), Some(TraceEnding::Torn(why)) if why.to_string().contains("it burns")));
}

/// An output that takes so many bytes.
#[derive(Clone)]
struct Disk(Arc<Mutex<Vec<u8>>>, usize);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = self.0.lock().unwrap();
        if held.len() + bytes.len() > self.1 {
            return Err(io::Error::other("it is full"));
        }
        held.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn ring(events: u32) -> (TraceRing<'static>, storport_pool::TraceDrain<'static>) {
    TraceRing::over(Box::leak(vec![0; TraceRing::words(1, events)].into_boxed_slice()), 1).unwrap()
}

#[test]
fn a_thread_writes_what_is_pushed() {
    let disk = Disk(Arc::default(), 1 << 20);
    let (ring, drain) = ring(1 << 10);
    let writer = TraceWriter::new(disk.clone(), &header()).unwrap();
    let thread = TraceThread::spawn(drain, writer, Duration::from_millis(1)).unwrap();
    let pushed: Vec<_> = plain(5000)
        .into_iter()
        .filter(|item| match item {
            TraceItem::Event(event) => ring.push(event),
            _ => unreachable!(),
        })
        .collect();
    let counts = thread.finish().unwrap();
    assert_eq!((counts.events, counts.dropped), (pushed.len() as u64, 5000 - pushed.len() as u64));
    let (items, whole) = read(&disk.0.lock().unwrap()).unwrap();
    let events: Vec<_> = items.into_iter().filter(|item| matches!(item, TraceItem::Event(_))).collect();
    assert!(whole);
    assert_eq!(events, pushed);
}

/// A thread that is dropped leaves a file without an end, with all that was pushed.
#[test]
fn a_thread_that_is_dropped_leaves_a_torn_file() {
    let disk = Disk(Arc::default(), 1 << 20);
    let (ring, drain) = ring(16);
    let writer = TraceWriter::new(disk.clone(), &header()).unwrap();
    let thread = TraceThread::spawn(drain, writer, Duration::from_secs(3600)).unwrap();
    assert!(ring.push(&TraceEvent::new(TraceKind::Free)));
    drop(thread);
    loop {
        let (items, whole) = read(&disk.0.lock().unwrap()).unwrap();
        assert!(!whole);
        if items == [TraceItem::Event(TraceEvent::new(TraceKind::Free))] {
            break;
        }
        std::thread::yield_now();
    }
}

#[test]
fn an_output_that_fails_is_told() {
    let disk = Disk(Arc::default(), 200);
    let (ring, drain) = ring(1 << 10);
    let writer = TraceWriter::new(disk.clone(), &header()).unwrap();
    let thread = TraceThread::spawn(drain, writer, Duration::from_secs(3600)).unwrap();
    for item in plain(500) {
        if let TraceItem::Event(event) = item {
            assert!(ring.push(&event));
        }
    }
    assert_eq!(thread.finish().unwrap_err().to_string(), "it is full");
    assert!(TraceWriter::new(Disk(Arc::default(), 0), &header()).is_err());
    let mut writer = TraceWriter::new(Disk(Arc::default(), 200), &header()).unwrap();
    assert!(plain(100_000).iter().any(|item| writer.push(item).is_err()));
}
