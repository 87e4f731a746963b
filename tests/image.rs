//! Metadata that is saved and restored: the pool goes on as it was, and whatever bytes it reads, it keeps its promises.

mod common;

use common::*;
use proptest::prelude::*;
use storport_pool::{AdapterId, Config, Image, ImageError, Pool, PoolOptions, Status, tag};

on_every_platform!(
    a_restored_pool_goes_on_as_before,
    another_pool_takes_it_up,
    another_geometry_is_refused,
    handles_given_since_are_void,
    all_is_free_again,
);

const TAGS: [storport_pool::PoolTag; 3] = [tag!("Aaaa"), tag!("Bbbb"), tag!("Cccc")];

/// Allocates and frees, by a sequence of numbers; what came of it.
fn work<W: Way>(pool: &Pool<W::P>, held: &mut Vec<(AdapterId, u64)>, seed: u64, rounds: u32) -> Vec<u64> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize
    };
    let mut came = Vec::new();
    let adapters = pool.adapters();
    for _ in 0..rounds {
        W::go_to_cpu(next() as u32 % 2);
        if next() % 5 < 3 || held.is_empty() {
            let sizes = [16, 48, 100, 700, 1500, 4096, 10_000, 70_000];
            let (id, bytes, tag) = (adapters[next() % adapters.len()].0, sizes[next() % 8], TAGS[next() % 3]);
            let address = alloc_tag(pool, id, bytes, tag).unwrap_or(0);
            came.push(address);
            if address != 0 {
                held.push((id, address));
            }
        } else {
            let (id, address) = held.swap_remove(next() % held.len());
            must_free(pool, id, address);
        }
    }
    W::go_to_cpu(0);
    came
}

fn busy<W: Way>(options: PoolOptions) -> (Pool<W::P>, Vec<(AdapterId, u64)>) {
    let pool = W::build(options);
    for name in ["disk", "tape", "gone"] {
        pool.add_adapter(name).unwrap();
    }
    let mut held = Vec::new();
    work::<W>(&pool, &mut held, 1, 3000);
    let gone = pool.adapters()[2].0;
    pool.remove_adapter(gone).unwrap();
    for (id, _) in held.iter_mut().filter(|(id, _)| *id == gone) {
        *id = AdapterId::ORPHANS;
    }
    (pool, held)
}

fn options(bytes: u64) -> PoolOptions {
    PoolOptions::new(bytes).cpus(2).accounts(64).adapters(8)
}

const POOLS: [u64; 3] = [256 << 10, 4 << 20, 32 << 20];

fn a_restored_pool_goes_on_as_before<W: Way>() {
    for bytes in POOLS {
        let (mut pool, held) = busy::<W>(options(bytes));
        let before = picture(&pool);
        let image = Image::read(&pool.save()).unwrap();
        assert_eq!(picture(&pool), before, "to save changes nothing");
        assert_eq!((image.range(), image.lost_blocks()), (pool.range(), 0));
        let mut runs = Vec::new();
        for _ in 0..3 {
            let mut held = held.clone();
            runs.push((work::<W>(&pool, &mut held, 2, 3000), picture(&pool)));
            pool.trim().unwrap();
            pool.restore(&image).unwrap();
            assert_eq!(picture(&pool), before);
        }
        assert!(runs.windows(2).all(|pair| pair[0] == pair[1]), "each run is the same");
        assert!(runs[0].0.iter().any(|&address| address != 0));
    }
}

/// It may lie elsewhere, and have had other blocks.
fn another_pool_takes_it_up<W: Way>() {
    for bytes in POOLS {
        let (mut pool, held) = busy::<W>(options(bytes));
        let saved = pool.save();
        let (mut other, _) = busy::<W>(options(bytes));
        work::<W>(&other, &mut Vec::new(), 3, 500);
        other.restore(&Image::read(&saved).unwrap()).unwrap();
        assert_eq!(picture(&other), picture(&pool));
        let moved = |address: u64| address.wrapping_sub(pool.range().0).wrapping_add(other.range().0);
        for &(id, address) in &held {
            let (mut here, mut there) =
                (pool.block_at(address).unwrap(), other.block_at(moved(address)).unwrap());
            assert_eq!(there.address, moved(here.address));
            (here.address, there.address) = (0, 0);
            assert_eq!(here, there);
            must_free(&other, id, moved(address));
        }
        other.trim().unwrap();
        assert_eq!((other.snapshot().free_bytes, other.usage().live), (bytes, 0));
        // All of it in one piece.
        let disk = other.adapters()[0].0;
        let whole = alloc(&other, disk, bytes as u32).unwrap();
        must_free(&other, disk, whole);
        // And what is saved anew is the same, but for what was touched.
        let fresh = || W::build(options(bytes));
        let mut again = fresh();
        again.restore(&Image::read(&saved).unwrap()).unwrap();
        let (base, its) = (pool.range().0, again.range().0);
        let same = Image::read(&again.save()).unwrap();
        assert_eq!(same.range(), (its, bytes));
        pool.restore(&same).unwrap();
        assert_eq!(pool.range().0, base);
        assert!(pool.save() == saved, "the bytes are the same");
    }
}

fn another_geometry_is_refused<W: Way>() {
    let (mut pool, _) = busy::<W>(options(4 << 20));
    let image = Image::read(&pool.save()).unwrap();
    let others = [
        (options(5 << 20), "its range_bytes is 4194304, this one's 5242880"),
        (options(4 << 20).cpus(1), "its cpus is 2, this one's 1"),
        (options(4 << 20).accounts(128), "its accounts is 64, this one's 128"),
        (options(4 << 20).adapters(9), "its adapters is 8, this one's 9"),
        (options(4 << 20).min_block(32), "its min_block is 16, this one's 32"),
        (options(4 << 20).magazines(100), "this one's 100"),
    ];
    for (options, why) in others {
        let (mut other, held) = busy::<W>(options);
        let before = picture(&other);
        let error = other.restore(&image).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(picture(&other), before);
        for (id, address) in held {
            must_free(&other, id, address);
        }
    }
}

fn handles_given_since_are_void<W: Way>() {
    let mut pool = W::build(options(4 << 20));
    let disk = pool.add_adapter("disk").unwrap();
    let image = Image::read(&pool.save()).unwrap();
    let mut since = Vec::new();
    for _ in 0..20 {
        let tape = pool.add_adapter("tape").unwrap();
        assert!(!since.contains(&tape), "nobody gets a handle that another one had");
        since.push(tape);
        // And one that comes in the place of an adapter that the image has.
        pool.remove_adapter(disk).unwrap();
        let other = pool.add_adapter("other").unwrap();
        assert!(other != disk && !since.contains(&other));
        since.push(other);
        let block = alloc(&pool, tape, 100).unwrap();
        pool.restore(&image).unwrap();
        for &stale in &since {
            assert_eq!(alloc(&pool, stale, 100), Err(Status::INVALID_PARAMETER));
            assert_eq!(free(&pool, stale, block), Status::INVALID_PARAMETER);
        }
        assert_eq!(pool.adapters().len(), 1);
        let mine = alloc(&pool, disk, 100).unwrap();
        must_free(&pool, disk, mine);
    }
    // Those that an image has are told apart from what it does not know, too.
    let late = Image::read(&pool.save()).unwrap();
    let mut fresh = W::build(options(4 << 20));
    fresh.restore(&late).unwrap();
    assert!(!since.contains(&fresh.add_adapter("new").unwrap()));
}

fn all_is_free_again<W: Way>() {
    let mut pool = W::build(options(4 << 20));
    let empty = Image::read(&pool.save()).unwrap();
    for seed in 0..5 {
        for name in ["disk", "tape"] {
            pool.add_adapter(name).unwrap();
        }
        work::<W>(&pool, &mut Vec::new(), seed, 2000);
        pool.restore(&empty).unwrap();
        let snapshot = pool.snapshot();
        assert_eq!((snapshot.free_bytes, pool.usage().allocs, pool.adapters().len()), (4 << 20, 0, 0));
    }
}

fn saved() -> Vec<u8> {
    busy::<SimPortable>(options(256 << 10)).0.save()
}

fn error_of(bytes: &[u8]) -> Option<ImageError> {
    Image::read(bytes).err()
}

#[test]
fn what_is_no_image_is_refused() {
    let whole = saved();
    assert_eq!(error_of(&whole), None);
    for bytes in [&b""[..], b"SP-IMAG", b"ELF", &[0; 100]] {
        assert_eq!(error_of(bytes), Some(ImageError::NoImage));
    }
    for len in 8..whole.len() {
        assert_eq!(error_of(&whole[..len]), Some(ImageError::Torn), "{len} bytes");
    }
    let longer = [&whole[..], &[0; 4]].concat();
    assert_eq!(error_of(&longer), Some(ImageError::Torn));
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        let expected = match at {
            0..8 => ImageError::NoImage,
            8..12 => ImageError::Version,
            _ => ImageError::Torn,
        };
        assert_eq!(error_of(&changed), Some(expected), "byte {at}");
    }
    let mut other = whole;
    other[12] ^= 1;
    Image::seal(&mut other);
    assert_eq!(error_of(&other), Some(ImageError::Version), "another layout");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Words that were changed, with the right checksum: refused, or harmless.
    #[test]
    fn whatever_the_words_are(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u32>(), 0..4), 1..4)) {
        let mut bytes = saved();
        let words = bytes.len() / 4 - 4;
        for (index, value, how) in changes {
            let at = index.index(words) * 4;
            let seen = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            let changed = match how {
                0 => value,
                1 => seen ^ 1 << (value % 32),
                2 => seen.wrapping_add(value % 5).wrapping_sub(2),
                _ => {
                    let from = value as usize % words * 4;
                    u32::from_le_bytes(bytes[from..from + 4].try_into().unwrap())
                }
            };
            bytes[at..at + 4].copy_from_slice(&changed.to_le_bytes());
        }
        Image::seal(&mut bytes);
        if let Ok(image) = Image::read(&bytes) {
            let mut pool = SimPortable::build(options(256 << 10));
            if pool.restore(&image).is_ok() {
                exercise::use_up(&pool);
            }
        }
    }
}

/// An image takes memory by what was in use, whatever the pool's size.
#[cfg(target_os = "linux")]
#[test]
fn a_large_pools_image_takes_little_memory() {
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let mut pool = SimPortable::build(PoolOptions::new(2 << 30).cpus(1));
    let disk = pool.add_adapter("disk").unwrap();
    alloc(&pool, disk, 100).unwrap();
    let bytes = pool.save();
    assert!(bytes.len() < 1 << 20, "{} bytes", bytes.len());
    let before = resident();
    let image = Image::read(&bytes).unwrap();
    assert!(resident() - before < 64 << 20, "{} bytes more", resident() - before);
    drop(image);
}

/// A guest's range, which is nobody's memory here.
#[test]
fn a_guests_pool_moves_with_its_range() {
    let config = |base| Config::new(base, 1 << 20).accounts(64).adapters(8);
    let mut pool = SimPortable::over(&config(0x8000_0000));
    let disk = pool.add_adapter("disk").unwrap();
    let block = alloc(&pool, disk, 100).unwrap();
    let image = Image::read(&pool.save()).unwrap();
    let mut other = SimPortable::over(&config(0xF_0000_0000));
    other.restore(&image).unwrap();
    must_free(&other, disk, block - 0x8000_0000 + 0xF_0000_0000);
}
