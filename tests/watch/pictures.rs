//! What is in the file, and what a reader makes of it.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::libc;
use proptest::prelude::*;
use storport_pool::watch::{Picture, Process, ReadError, Reader, Watch, WatchError, WatchOptions};
use storport_pool::{Pool, PoolTag, tag};

use crate::{full_pool, path};

fn shown(picture: &Picture) -> String {
    format!("{:?} {:?} {:?}", picture.totals, picture.snapshot, picture.left_out)
}

#[test]
fn all_of_a_snapshot_arrives() {
    let (path, pool) = (path("all"), full_pool());
    let mut watch = Watch::create(&path).unwrap();
    let mut reader = Reader::open(&path).unwrap();
    assert_eq!(reader.read().unwrap_err(), ReadError::NoPicture);
    for number in 1..=5 {
        watch.publish(&pool).unwrap();
        let picture = reader.read().unwrap();
        assert_eq!((picture.number, picture.missed), (number, 0));
        assert_eq!(format!("{:?}", picture.snapshot), format!("{:?}", pool.snapshot()));
        assert!(picture.left_out.is_none() && picture.time >= reader.made());
        assert!(picture.snapshot.accounts.iter().any(|row| row.adapter.is_none()), "nothing is gone");
    }
    let usage = pool.usage();
    let totals = reader.read().unwrap().totals;
    assert_eq!((totals.allocs, totals.frees, totals.live), (usage.allocs, usage.frees, usage.live));
    assert_eq!(
        (totals.bytes_requested, totals.bytes_occupied),
        (usage.bytes_requested, usage.bytes_occupied)
    );
    assert_eq!((reader.pid(), reader.process()), (std::process::id(), Process::Runs));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    drop(watch);
    assert!(!path.exists());
    assert_eq!((reader.process(), reader.read().unwrap().number), (Process::Closed, 5));
}

/// A file with two pictures, and what its reader gives.
fn two_pictures(test: &str) -> (Vec<u8>, [String; 2]) {
    let (path, pool) = (path(test), full_pool());
    let mut watch = WatchOptions::new().area_bytes(16 << 10).create(&path).unwrap();
    watch.publish(&pool).unwrap();
    let first = shown(&Reader::open(&path).unwrap().read().unwrap());
    let adapter = pool.add_adapter("more").unwrap();
    assert!(pool.allocate(adapter, 8, tag!("More"), Some(&mut 0)).is_success());
    watch.publish(&pool).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let second = shown(&Picture::from_bytes(&bytes).unwrap());
    assert_ne!(first, second);
    (bytes, [first, second])
}

/// One of the pictures as they were, or none.
fn check(bytes: &[u8], pictures: &[String; 2], what: impl Fn() -> String) -> Option<usize> {
    let picture = Picture::from_bytes(bytes).ok()?;
    let place = pictures.iter().position(|known| *known == shown(&picture));
    assert!(place.is_some(), "{}: {picture:?}", what());
    place
}

#[test]
fn no_changed_word_is_believed() {
    let (bytes, pictures) = two_pictures("words");
    let (mut none, mut seen) = (0, [0; 2]);
    for at in (0..bytes.len()).step_by(4) {
        for flip in [1_u32, 0x8000_0000, u32::MAX] {
            let mut changed = bytes.clone();
            let word = u32::from_le_bytes(changed[at..at + 4].try_into().unwrap()) ^ flip;
            changed[at..at + 4].copy_from_slice(&word.to_le_bytes());
            match check(&changed, &pictures, || format!("word {at} ^ {flip:#x}")) {
                Some(place) => seen[place] += 1,
                None => none += 1,
            }
        }
    }
    // The header's 136 bytes decide over all; those of the newer picture bring the older one forth.
    assert_eq!(none, 136 / 4 * 3);
    assert!(seen[0] > 1000 && seen[1] > 1000, "{seen:?}");
}

#[test]
fn a_cut_file_has_what_is_whole_in_it() {
    let (bytes, pictures) = two_pictures("cut");
    let mut seen = [0; 3];
    for len in 0..bytes.len() {
        seen[check(&bytes[..len], &pictures, || format!("{len} bytes")).map_or(2, |place| place)] += 1;
    }
    // The newer one, number 2, lies in the first slot; so the older one alone is never what is left.
    assert!(seen[0] == 0 && seen[1] > 1000 && seen[2] > 1000, "{seen:?}");
}

/// Half of one picture and half of the next one in a slot, cut anywhere.
#[test]
fn no_mixture_is_believed() {
    let (path, pool) = (path("mixture"), full_pool());
    let mut watch = WatchOptions::new().area_bytes(16 << 10).create(&path).unwrap();
    let adapter = pool.add_adapter("more").unwrap();
    let mut publish = || {
        assert!(pool.allocate(adapter, 8, tag!("More"), Some(&mut 0)).is_success());
        watch.publish(&pool).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        (shown(&Picture::from_bytes(&bytes).unwrap()), bytes)
    };
    let (_, one) = publish();
    let (second, _) = publish();
    let (third, three) = publish();
    let slot = 4096 + (16 << 10);
    let differ = (slot..three.len()).filter(|&at| one[at] != three[at]).collect::<Vec<_>>();
    let (first, last) = (differ[0], *differ.last().unwrap());
    for cut in first + 1..=last {
        // Front of the new one, back of the old one; and the other way round.
        for (front, back) in [(&three, &one), (&one, &three)] {
            let mut bytes = three.clone();
            bytes[slot..cut].copy_from_slice(&front[slot..cut]);
            bytes[cut..].copy_from_slice(&back[cut..]);
            let seen = check(&bytes, &[second.clone(), third.clone()], || format!("cut at {cut}"));
            assert_eq!(seen, Some(0), "cut at {cut}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..9000), begins in any::<bool>()) {
        let mut bytes = bytes;
        if begins && bytes.len() >= 16 {
            bytes[..16].copy_from_slice(b"SP-WATCH\x01\0\0\0\x80\0\0\0");
        }
        prop_assert!(Picture::from_bytes(&bytes).is_err());
    }
}

#[test]
fn what_is_no_watch_is_named() {
    let (good, _) = two_pictures("named");
    let path = path("named-file");
    let open = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Reader::open(&path).and_then(|mut reader| reader.read())
    };
    assert!(open(&good).is_ok());
    assert_eq!(open(b"").unwrap_err(), ReadError::NoWatch);
    assert_eq!(open(b"#!/bin/sh\necho this is something else\n").unwrap_err(), ReadError::NoWatch);
    let mut other = good.clone();
    other[8] = 9;
    assert_eq!(open(&other).unwrap_err(), ReadError::Version(9));
    assert_eq!(open(&other[..16]).unwrap_err(), ReadError::Version(9));
    assert_eq!(open(&good[..100]).unwrap_err(), ReadError::Torn);
    assert_eq!(open(&good[..5000]).unwrap_err(), ReadError::Torn);
    assert_eq!(Reader::open(path.parent().unwrap()).unwrap_err(), ReadError::NoFile);
    assert_eq!(Reader::open("/dev/null").unwrap_err(), ReadError::NoFile);
    let error = Reader::open("/nonexistent/file").unwrap_err();
    assert!(matches!(error, ReadError::Os(_, libc::ENOENT)), "{error}");
    assert_eq!(Reader::of_process(u32::MAX).unwrap_err(), ReadError::NotWatched(u32::MAX));
    // Nobody is at the pipe's other end.
    std::fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert_eq!(Reader::open(&path).unwrap_err(), ReadError::NoFile);
}

#[test]
fn what_lies_there_stays() {
    let path = path("stays");
    std::fs::write(&path, "a letter").unwrap();
    assert_eq!(Watch::create(&path).unwrap_err(), WatchError::Exists);
    assert_eq!(std::fs::read(&path).unwrap(), b"a letter");
    std::fs::remove_file(&path).unwrap();
    // A link to nowhere is something, and nothing is made at its end.
    let end = path.with_extension("end");
    symlink(&end, &path).unwrap();
    assert_eq!(Watch::create(&path).unwrap_err(), WatchError::Exists);
    assert!(!end.exists());
    std::fs::remove_file(&path).unwrap();
    let watch = Watch::create(&path).unwrap();
    assert_eq!(Watch::create(&path).unwrap_err(), WatchError::InUse(std::process::id()));
    assert_eq!(Reader::open(&path).unwrap().process(), Process::Runs);
    // Somebody put another file in its place: that is not ours to remove.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "another letter").unwrap();
    drop(watch);
    assert_eq!(std::fs::read(&path).unwrap(), b"another letter");
    assert!(matches!(Watch::create("/nonexistent/folder/file"), Err(WatchError::Os(_, libc::ENOENT))));
    assert_eq!(Watch::create("/").unwrap_err(), WatchError::Path);
    for bytes in [0, 4095, (16 << 20) + 1, u64::MAX] {
        assert_eq!(WatchOptions::new().area_bytes(bytes).create(&path).unwrap_err(), WatchError::Area(bytes));
    }
}

#[test]
fn rows_without_room_are_counted() {
    let (path, pool) = (path("room"), Pool::new(64 << 20).unwrap());
    let adapter = pool.add_adapter("many").unwrap();
    for n in 0..200 {
        assert!(pool.allocate(adapter, 16 + n, PoolTag::from_raw(n + 1), Some(&mut 0)).is_success());
    }
    let snapshot = pool.snapshot();
    let bars = |row: &storport_pool::Totals| row.histogram.len();
    let all_bars = snapshot.tags.iter().map(|row| bars(&row.totals)).sum::<usize>()
        + snapshot.accounts.iter().map(|row| bars(&row.totals)).sum::<usize>();
    let mut whole = 0;
    for area in [4 << 10, 8 << 10, (8 << 10) + 300, 16 << 10, 32 << 10, 64 << 10] {
        let mut watch = WatchOptions::new().area_bytes(area).create(&path).unwrap();
        watch.publish(&pool).unwrap();
        let picture = Reader::open(&path).unwrap().read().unwrap();
        let (of, left) = (&picture.snapshot, picture.left_out);
        let counts = [
            (of.tags.len(), left.tags, snapshot.tags.len()),
            (of.accounts.len(), left.accounts, snapshot.accounts.len()),
            (of.cpus.len(), left.cpus, snapshot.cpus.len()),
            (of.classes.len(), left.classes, snapshot.classes.len()),
        ];
        assert!(counts.iter().all(|&(there, left, all)| there + left as usize == all), "{area}: {counts:?}");
        let there = of.tags.iter().map(|row| bars(&row.totals)).sum::<usize>()
            + of.accounts.iter().map(|row| bars(&row.totals)).sum::<usize>();
        assert_eq!(there + left.bars as usize, all_bars, "{area}");
        assert_eq!((picture.totals.allocs, picture.totals.live), (200, 200), "{area}");
        assert_eq!(left.is_none(), area == 64 << 10, "{area}: {left:?}");
        assert!(std::fs::metadata(&path).unwrap().len() == 4096 + 2 * (area / 8 * 8));
        whole += usize::from(left.is_none());
    }
    assert_eq!(whole, 1);
}

/// The writer publishes without pause. Each picture that the reader takes is the one that its number says.
#[test]
fn a_reader_never_sees_a_mixture() {
    let path = path("race");
    let (pool, over) = (Pool::new(4 << 20).unwrap(), AtomicBool::new(false));
    let adapter = pool.add_adapter("race").unwrap();
    let mut watch = Watch::create(&path).unwrap();
    watch.publish(&pool).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // ORDERING: Relaxed - only the flag.
            while !over.load(Ordering::Relaxed) {
                let mut blocks = [0; 8];
                for (block, tag) in blocks.iter_mut().zip(1..) {
                    let _ = pool.allocate(adapter, 8 * tag, PoolTag::from_raw(tag), Some(block));
                }
                for block in blocks {
                    // SAFETY: allocated above.
                    let _ = unsafe { pool.free(adapter, block) };
                }
                watch.publish(&pool).unwrap();
            }
        });
        let mut reader = Reader::open(&path).unwrap();
        let (mut last, mut good) = (0, 0);
        while good < 20_000 {
            let picture = match reader.read() {
                Ok(picture) => picture,
                Err(ReadError::Torn) => continue,
                Err(error) => panic!("{error}"),
            };
            let rounds = picture.number - 1;
            assert!(picture.number >= last, "{} after {last}", picture.number);
            assert_eq!((picture.totals.allocs, picture.totals.frees), (8 * rounds, 8 * rounds));
            assert!(picture.snapshot.tags.iter().all(|row| row.totals.allocs == rounds));
            assert_eq!(picture.snapshot.tags.len(), if rounds == 0 { 0 } else { 8 });
            (last, good) = (picture.number, good + 1);
        }
        assert!(last > 100, "nothing was published meanwhile");
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_thread_publishes_until_it_is_dropped() {
    let (path, pool) = (path("thread"), Arc::new(Pool::new(1 << 20).unwrap()));
    let wait = |reader: &mut Reader, number| loop {
        match reader.read() {
            Ok(picture) if picture.number >= number => return picture,
            Ok(_) | Err(ReadError::NoPicture) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("{error}"),
        }
    };
    let publisher = Watch::create(&path).unwrap().publish_every(Arc::clone(&pool), Duration::ZERO).unwrap();
    let mut reader = Reader::open(publisher.path()).unwrap();
    wait(&mut reader, 3);
    let adapter = pool.add_adapter("late").unwrap();
    assert!(pool.allocate(adapter, 8, tag!("Late"), Some(&mut 0)).is_success());
    drop(publisher);
    assert_eq!((reader.process(), path.exists()), (Process::Closed, false));
    assert_eq!(reader.read().unwrap().totals.live, 1, "the last picture is of the end");
    // An hour's period does not hold up the end.
    let watch = Watch::create(&path).unwrap();
    std::thread::scope(|scope| {
        let publisher = watch.publish_scoped(scope, &pool, Duration::from_secs(3600)).unwrap();
        let mut reader = Reader::open(&path).unwrap();
        wait(&mut reader, 1);
        drop(publisher);
        assert_eq!(reader.read().unwrap().number, 2);
    });
}
