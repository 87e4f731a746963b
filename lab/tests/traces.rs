//! Traces as a user of the program meets them: recorded, replayed, torn, and bad ones.

mod common;

use std::path::Path;

use common::{folder, run, text};
use serde_json::Value;
use storport_pool::{TraceEvent, TraceHeader, TraceItem, TraceKind, TraceReader, TraceWriter};

/// The report of a replay that must succeed.
fn replayed(folder: &Path, arguments: &[&str]) -> Value {
    let output = run(folder, &[&["replay", "--quick", "--json", "replay.json"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let json = std::fs::read(folder.join("replay.json")).unwrap();
    serde_json::from_slice(&json).unwrap()
}

fn notes(report: &Value) -> Vec<String> {
    report["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap().to_owned()).collect()
}

/// Each of these allocators has figures of both calls, in the one scenario.
fn all_measured(report: &Value, names: &[&str]) {
    let scenarios = report["scenarios"].as_array().unwrap();
    assert_eq!((scenarios.len(), &scenarios[0]["name"]), (1, &Value::from("trace")));
    let allocators = scenarios[0]["allocators"].as_array().unwrap();
    let found: Vec<_> = allocators.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(found, names);
    for one in allocators {
        for call in ["alloc", "free"] {
            for figure in ["mean", "mean_median", "p50", "p999", "max"] {
                assert!(one[call][figure].as_f64().is_some_and(|ns| ns > 0.0), "{call} {figure} of {one}");
            }
        }
    }
}

fn write(file: &Path, items: impl IntoIterator<Item = TraceItem>) {
    let header = TraceHeader { pool: "none".into(), what: "made up".into(), ..TraceHeader::default() };
    let mut writer = TraceWriter::new(std::fs::File::create(file).unwrap(), &header).unwrap();
    items.into_iter().for_each(|item| writer.push(&item).unwrap());
    writer.finish().unwrap();
}

fn call(kind: TraceKind, time: u64, thread: u32, address: u64) -> TraceItem {
    let bytes = if kind == TraceKind::Allocate { 40 + address as u32 % 3000 } else { 0 };
    TraceItem::Event(TraceEvent { time, thread, cpu: thread % 3, address, bytes, ..TraceEvent::new(kind) })
}

use TraceKind::{Allocate, Free};

#[test]
fn what_is_recorded_can_be_replayed() {
    let folder = folder("recorded");
    let report = replayed(&folder, &["--record", "r.trace"]);
    assert!(
        report["scenarios"].as_array().unwrap().is_empty()
            && !report["phases"].as_array().unwrap().is_empty()
    );
    let recorded = notes(&report).into_iter().find(|note| note.starts_with("Recorded ")).unwrap();

    // What the pool counted is what the file has, if nothing was dropped.
    let mut reader = TraceReader::new(std::fs::File::open(folder.join("r.trace")).unwrap()).unwrap();
    let (mut counts, mut adapters, mut dropped) = ([0; 2], 0, 0);
    for item in reader.by_ref() {
        match item {
            TraceItem::Event(event) => match event.kind {
                Allocate => counts[0] += 1,
                Free => counts[1] += 1,
                _ => adapters += 1,
            },
            TraceItem::Dropped { events, .. } => dropped += events,
            _ => unreachable!(),
        }
    }
    assert!(recorded.contains(&format!("Recorded {} calls", counts[0] + counts[1] + adapters)), "{recorded}");
    let sum = |key: &str| -> u64 {
        report["tags"].as_array().unwrap().iter().map(|tag| tag[key].as_u64().unwrap()).sum()
    };
    assert_eq!(counts[0] + counts[1] + dropped, sum("allocs") + sum("frees"));
    assert!(adapters >= 2);
    assert_eq!(reader.header().bytes, 1 << 30);

    let report = replayed(&folder, &["r.trace"]);
    all_measured(&report, &["storport-pool", "system", "mimalloc"]);
    let notes = notes(&report);
    assert!(
        notes.iter().any(|note| note.starts_with("The trace says of itself: the built-in replay")),
        "{notes:?}"
    );
    // The leaking adapter's, unless the recording dropped some.
    assert!(dropped > 0 || notes.iter().any(|note| note.starts_with("15 blocks were left")), "{notes:?}");
    assert!(!notes.iter().any(|note| note.contains("torn")));
}

/// Blocks are freed by another thread than the one that allocated them, and addresses are given out again.
#[test]
fn threads_hand_blocks_over() {
    let folder = folder("threads");
    let turns = (0..3000_u64).flat_map(|n| {
        let (from, to) = ((n % 5) as u32, ((n + 1) % 5) as u32);
        [call(Allocate, 10 * n, from, 16 * (n % 7 + 1)), call(Free, 10 * n + 5, to, 16 * (n % 7 + 1))]
    });
    // As a reader of several lanes finds them.
    let mut items: Vec<_> = turns.collect();
    items.sort_by_key(|item| matches!(item, TraceItem::Event(event) if event.thread % 2 == 0));
    write(&folder.join("t.trace"), items);
    let report = replayed(&folder, &["t.trace", "--peers", "textbook,pool-portable,pool-masked"]);
    all_measured(&report, &["storport-pool", "textbook", "pool-portable", "pool-masked"]);
    let left =
        |note: &String| note.contains("left") || note.contains("without") || note.contains("no allocation");
    assert!(!notes(&report).iter().any(left), "{:?}", notes(&report));
}

/// Its two frees are in a row, and far apart. It must not hold up the thread that allocates what it waits for.
#[test]
fn a_thread_may_free_rarely() {
    let folder = folder("rare");
    let mut items = vec![call(Allocate, 0, 1, 0x10), call(Free, 1, 2, 0x10)];
    items.extend((1..2000).flat_map(|n| [call(Allocate, 2 * n, 1, 0x20), call(Free, 2 * n + 1, 1, 0x20)]));
    items.extend([call(Allocate, 8000, 1, 0x30), call(Free, 8001, 2, 0x30)]);
    write(&folder.join("r.trace"), items);
    let report = replayed(&folder, &["r.trace"]);
    all_measured(&report, &["storport-pool", "system", "mimalloc"]);
}

#[test]
fn what_a_trace_lacks_is_told() {
    let folder = folder("lacks");
    let mut items = vec![
        call(Free, 1, 0, 0x10),
        call(Free, 2, 1, 0x20),
        TraceItem::Dropped { lane: 0, events: 4321 },
        call(Allocate, 3, 0, 0x30),
        call(Allocate, 4, 1, 0x30),
        call(Free, 5, 0, 0x30),
    ];
    items.extend((0..100).map(|n| call(Allocate, 10 + n, n as u32, 0x1000 * (n + 1))));
    write(&folder.join("l.trace"), items);
    let notes = notes(&replayed(&folder, &["l.trace"]));
    for begin in [
        "4321 calls are missing",
        "2 frees have no allocation",
        "1 blocks were given out again",
        "100 blocks were left",
        "36 threads more than 64",
    ] {
        assert!(notes.iter().any(|note| note.starts_with(begin)), "no {begin:?} in {notes:?}");
    }
}

#[test]
fn a_torn_trace_is_replayed_up_to_where_it_is_whole() {
    let folder = folder("torn");
    let turns = (0..40_000_u64).flat_map(|n| [call(Allocate, 2 * n, 0, 16), call(Free, 2 * n + 1, 0, 16)]);
    write(&folder.join("whole.trace"), turns);
    let bytes = std::fs::read(folder.join("whole.trace")).unwrap();
    std::fs::write(folder.join("t.trace"), &bytes[..bytes.len() - 1000]).unwrap();
    let report = replayed(&folder, &["t.trace"]);
    let torn = "The trace is torn: its end is missing. What comes before is replayed.";
    assert!(notes(&report).iter().any(|note| note == torn), "{:?}", notes(&report));
    all_measured(&report, &["storport-pool", "system", "mimalloc"]);
}

/// What a trace says of itself is anybody's.
#[test]
fn a_header_does_not_move_a_terminal() {
    let folder = folder("header");
    let what = "\u{1b}[2J\u{202e}evil\nline";
    let header = TraceHeader { what: what.into(), pool: "\u{9b}31mred".into(), ..TraceHeader::default() };
    let mut writer =
        TraceWriter::new(std::fs::File::create(folder.join("h.trace")).unwrap(), &header).unwrap();
    (0..100).for_each(|n| writer.push(&call(Allocate, n, 0, 16 * (n + 1))).unwrap());
    writer.finish().unwrap();
    let output = run(&folder, &["replay", "--quick", "h.trace"]);
    let shown = text(&output.stdout);
    assert!(output.status.success() && !shown.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{shown}");
    assert!(shown.contains("\u{FFFD}[2J\u{FFFD}evil\u{FFFD}line (\u{FFFD}31mred)"), "{shown}");
}

/// One line, status 2, and nothing is done.
#[test]
fn bad_files_are_named() {
    let folder = folder("bad");
    std::fs::write(folder.join("empty"), "").unwrap();
    std::fs::write(folder.join("text"), "{\"schema\": 2, \"machine\": {}}").unwrap();
    write(&folder.join("nothing.trace"), [call(Free, 1, 0, 0x10)]);
    let bytes = std::fs::read(folder.join("nothing.trace")).unwrap();
    std::fs::write(folder.join("torn.trace"), &bytes[..30]).unwrap();
    for (arguments, message) in [
        (&["none"][..], "cannot read 'none': "),
        (&["empty"], "'empty' is no trace"),
        (&["text"], "'text' is no trace"),
        (&["nothing.trace"], "'nothing.trace' has no allocation to replay"),
        (&["torn.trace"], "'torn.trace' is a trace that is torn before its first event"),
        (&["--record", "none/r.trace"], "cannot write 'none/r.trace': "),
        (&["--record", "text/r.trace"], "cannot write 'text/r.trace': "),
    ] {
        let output = run(&folder, &[&["replay", "--quick"], arguments].concat());
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.starts_with(&format!("error: {message}")), "{arguments:?}: {error}");
        assert_eq!((error.lines().count(), output.stdout.len()), (1, 0), "{arguments:?}: {error}");
    }
    for more in [&["--record", "r.trace"][..], &["--watch"]] {
        let output = run(&folder, &[&["replay", "nothing.trace"], more].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("cannot be used with"));
    }
    assert!(!folder.join("r.trace").exists());
}
