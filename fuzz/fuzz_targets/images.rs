//! A pool is used and saved, and words of the image are changed, or it is made of the input alone. Whatever is read leads
//! no pool astray.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use storport_pool::{AdapterId, Config, Image, PoolOptions};
use storport_pool_fuzz::{SimPortable, Way, alloc, exercise, free};

#[derive(Arbitrary, Debug)]
enum Op {
    Allocate { adapter: u8, bytes: u16 },
    Large(u8),
    Free(u8),
    Remove(u8),
    Cpu(bool),
    Trim,
}

/// What becomes of a word.
#[derive(Arbitrary, Debug)]
enum Change {
    Bit(u8),
    Add(i8),
    Is(u32),
    As(u16),
}

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    small: bool,
    before: Vec<Op>,
    changes: Vec<(u16, Change)>,
    /// Behind the header, in the place of what was saved.
    instead: Option<&'a [u8]>,
}

/// As many bytes as the counters and the geometry take.
const HEADER: usize = 14 * 4 + (5 + 37) * 8;

fn work(pool: &storport_pool::Pool<<SimPortable as Way>::P>, ops: &[Op]) {
    let mut adapters: Vec<AdapterId> =
        ["a", "b", "c"].iter().filter_map(|name| pool.add_adapter(name).ok()).collect();
    let mut held = Vec::new();
    for op in ops {
        match *op {
            Op::Allocate { adapter, bytes } if !adapters.is_empty() => {
                let id = adapters[usize::from(adapter) % adapters.len()];
                held.extend(alloc(pool, id, u32::from(bytes) % 9000 + 1).map(|address| (id, address)));
            }
            Op::Large(spans) if !adapters.is_empty() => {
                held.extend(
                    alloc(pool, adapters[0], u32::from(spans % 8) * 5000 + 1).map(|at| (adapters[0], at)),
                );
            }
            Op::Free(n) if !held.is_empty() => {
                let (id, address) = held.swap_remove(usize::from(n) % held.len());
                let _ = free(pool, id, address);
            }
            Op::Remove(n) if !adapters.is_empty() => {
                let gone = adapters.swap_remove(usize::from(n) % adapters.len());
                let _ = pool.remove_adapter(gone);
            }
            Op::Cpu(second) => SimPortable::go_to_cpu(u32::from(second)),
            Op::Trim => drop(pool.trim()),
            _ => {}
        }
    }
    SimPortable::go_to_cpu(0);
}

fuzz_target!(|input: Input<'_>| {
    // Spans of both sizes.
    let config =
        Config::new(0, if input.small { 128 << 10 } else { 512 << 10 }).cpus(2).accounts(16).adapters(4);
    let config = if input.small { config } else { config.large_spans().min_block(64) };
    let make = || SimPortable::build(PoolOptions::with_config(config));
    let mut pool = make();
    work(&pool, &input.before);
    let mut saved = pool.save();
    assert!(Image::read(&saved).is_ok(), "what a pool saves, it reads");
    if let Some(instead) = input.instead {
        saved.truncate(HEADER);
        saved.extend_from_slice(&instead[..instead.len() / 4 * 4]);
        saved.extend_from_slice(&[0; 16]);
    }
    let words = saved.len() / 4 - 4;
    let word = |saved: &[u8], n: usize| u32::from_le_bytes(saved[n * 4..n * 4 + 4].try_into().unwrap());
    for (n, change) in &input.changes {
        let n = usize::from(*n) % words;
        let seen = word(&saved, n);
        let now = match *change {
            Change::Bit(bit) => seen ^ 1 << (bit % 32),
            Change::Add(more) => seen.wrapping_add_signed(more.into()),
            Change::Is(value) => value,
            Change::As(other) => word(&saved, usize::from(other) % words),
        };
        // A range of another size is only refused, and would take the fuzzer's memory.
        if !(4..=13).contains(&n) {
            saved[n * 4..n * 4 + 4].copy_from_slice(&now.to_le_bytes());
        }
    }
    Image::seal(&mut saved);
    if let Ok(image) = Image::read(&saved) {
        let mut other = make();
        if other.restore(&image).is_ok() {
            exercise::use_up(&other);
            other.restore(&image).unwrap();
            assert!(Image::read(&other.save()).is_ok());
        }
    }
});
