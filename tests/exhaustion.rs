//! Running out, and having everything back: no memory is ever lost in a class or a cache.

mod common;

use std::sync::atomic::{AtomicU32, Ordering};

use common::*;
use storport_pool::{Config, Host, Irql, MaskInterrupts, Masked, Pool, PoolOptions, Status};

on_every_platform!(
    every_pair_of_sizes_in_turn,
    two_slabs_round_after_round,
    memory_parked_on_an_idle_cpu,
    large_runs_from_parked_memory,
    trim_returns_all_slabs,
);

/// Many rounds of every pair of classes on two spans: the count is exact every time. One
/// after the other in turn covers both orders of a pair.
fn every_pair_of_sizes_in_turn<W: Way>() {
    for Room { pool, id, .. } in rooms::<W>(2, |options| options) {
        let kept = totals(&pool.snapshot()).2;
        let small = kept == 0;
        let mut blocks = Vec::new();
        let mut take = |size: u32| {
            fill(&pool, id, size, &mut blocks);
            let fit = if small { fitting(2 * SPAN, size) } else { 2 * per_slab(size) };
            assert_eq!(blocks.len() as u64, fit, "{size} bytes");
            for address in blocks.drain(..) {
                must_free(&pool, id, address);
            }
        };
        for (n, &a) in SIZES.iter().enumerate() {
            for &b in &SIZES[n..] {
                for _ in 0..rounds(3, 50) {
                    take(a);
                    take(b);
                }
            }
        }
        assert_eq!(totals(&pool.snapshot()).2, kept);
        pool.trim().unwrap();
        assert_eq!(pool.snapshot().free_bytes, 2 * SPAN);
    }
}

fn two_slabs_round_after_round<W: Way>() {
    let [_, Room { pool, id, .. }] = rooms::<W>(2, |options| options);
    for round in 0..rounds(200_000, 1_000_000) {
        let bytes = if round % 2 == 0 { 4096 } else { 8192 };
        let (first, second) = (alloc(&pool, id, bytes), alloc(&pool, id, bytes));
        let (Ok(first), Ok(second)) = (first, second) else { panic!("round {round}: {first:?}, {second:?}") };
        must_free(&pool, id, first);
        must_free(&pool, id, second);
        if round % 10_000 < 2 {
            // Both slabs, completely.
            let mut blocks = Vec::new();
            fill(&pool, id, bytes, &mut blocks);
            assert_eq!(blocks.len() as u64, 2 * per_slab(bytes), "round {round}");
            for address in blocks {
                must_free(&pool, id, address);
            }
        }
    }
    assert_eq!(totals(&pool.snapshot()).2, 1);
}

/// All that is free sits in the cache of a CPU that idles; another one gets it.
fn memory_parked_on_an_idle_cpu<W: Way>() {
    let sizes = [16, 64, 672, 1360, 4096, 8192, 32_768];
    let all = |size| rooms::<W>(4, |options| options.cpus(4)).map(|room| (size, room));
    for (size, Room { pool, id, base }) in sizes.into_iter().flat_map(all) {
        let all = 4 * per_slab(size);
        for round in 0..5 {
            let mut blocks = W::on_cpu(0, || {
                let mut blocks = Vec::new();
                fill(&pool, id, size, &mut blocks);
                blocks
            });
            assert_eq!(blocks.len() as u64, all, "{size} bytes, round {round}");
            // A few stay allocated: where a slab is 64 KiB, none can be retired.
            let kept: Vec<u64> = (0..4)
                .map(|n| {
                    let slab = base + n * SPAN;
                    let place = blocks.iter().position(|address| address / SPAN * SPAN == slab).unwrap();
                    blocks.swap_remove(place)
                })
                .collect();
            W::on_cpu(1, || {
                for &address in &blocks {
                    must_free(&pool, id, address);
                }
            });
            let again = W::on_cpu(0, || {
                let mut again = Vec::new();
                fill(&pool, id, size, &mut again);
                again
            });
            assert_eq!(again.len() as u64, all - 4, "{size} bytes, round {round}");
            for address in again.into_iter().chain(kept) {
                must_free(&pool, id, address);
            }
        }
        assert_eq!(pool.snapshot().contended, 0);
    }
}

/// The same with another class: the slabs must be swept out of the idle CPU's cache first.
fn large_runs_from_parked_memory<W: Way>() {
    for Room { pool, id, .. } in rooms::<W>(8, |options| options.cpus(4)) {
        for (round, size) in (0..20).flat_map(|round| [16, 1024, 4096, 32_768].map(|size| (round, size))) {
            W::on_cpu(1, || {
                let mut blocks = Vec::new();
                fill(&pool, id, size, &mut blocks);
                assert_eq!(blocks.len() as u64, 8 * per_slab(size), "round {round}");
                for address in blocks {
                    must_free(&pool, id, address);
                }
            });
            W::on_cpu(0, || {
                let whole = alloc(&pool, id, 8 * SPAN as u32).unwrap();
                assert_eq!(alloc(&pool, id, 16), Err(Status::INSUFFICIENT_RESOURCES));
                must_free(&pool, id, whole);
            });
        }
    }
}

fn trim_returns_all_slabs<W: Way>() {
    for bytes in [4 << 20, LARGE_POOL] {
        trim_returns_all_slabs_of::<W>(bytes);
    }
}

fn trim_returns_all_slabs_of<W: Way>(bytes: u64) {
    let pool = W::build(PoolOptions::new(bytes));
    let id = pool.add_adapter("disk").unwrap();
    for round in 0..3 {
        let mut blocks = Vec::new();
        for size in SIZES {
            for _ in 0..per_slab(size).min(100) {
                blocks.push(alloc(&pool, id, size).unwrap());
            }
        }
        let slabs: u64 = pool.snapshot().classes.iter().map(|row| u64::from(row.slabs)).sum();
        let free = pool.snapshot().free_bytes;
        let runs = blocks.len() as u64 - pool.snapshot().classes.iter().map(|row| row.live).sum::<u64>();
        assert_eq!(runs > 0, bytes < LARGE_POOL, "above a page there are runs, or slabs");
        assert!(runs > 0 || slabs * SPAN == bytes - free);
        for (n, address) in blocks.into_iter().enumerate() {
            W::go_to_cpu(n as u32 / 64 % 2);
            must_free(&pool, id, address);
        }
        let trimmed = pool.trim().unwrap();
        assert_eq!(trimmed.slabs, slabs, "round {round}");
        assert_eq!(pool.snapshot().free_bytes, pool.range().1);
        assert!(pool.snapshot().classes.is_empty());
        assert!(pool.snapshot().cpus.iter().all(|row| row.blocks == 0));
    }
    let whole = alloc(&pool, id, bytes as u32).unwrap();
    must_free(&pool, id, whole);
}

/// A host of four CPUs on one thread, which counts the fences of each.
struct Fenced;

static CPU: AtomicU32 = AtomicU32::new(0);
static FENCES: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];

impl Host for Fenced {
    fn cpu(&self) -> u32 {
        CPU.load(Ordering::Relaxed)
    }

    fn irql(&self) -> Irql {
        Irql::PASSIVE
    }
}

// SAFETY: one thread, which nothing interrupts.
unsafe impl MaskInterrupts for Fenced {
    type State = ();

    fn mask(&self) {}

    fn unmask(&self, (): ()) {}

    fn fence(&self, cpu: u32) {
        FENCES[cpu as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Each fence interrupts a CPU. A trim fences a CPU once for each class that has an empty slab, and once for every
/// fourth slab; not at all when no slab is empty, whatever lies in the caches.
#[test]
fn a_trim_fences_for_what_it_can_have() {
    let config = Config::new(0x1000_0000, 16 << 20).cpus(4);
    // SAFETY: fresh memory that nobody else has; nobody touches the range.
    let pool = unsafe { Pool::new_in(&config, metadata(&config), Masked::new(Fenced)) }.unwrap();
    let id = pool.add_adapter("disk").unwrap();
    for cpu in 0..4 {
        CPU.store(cpu, Ordering::Relaxed);
        let blocks: Vec<_> = SIZES.iter().map(|&size| alloc(&pool, id, size).unwrap()).collect();
        blocks.into_iter().for_each(|address| must_free(&pool, id, address));
    }
    let fences = || FENCES.each_ref().map(|fences| fences.swap(0, Ordering::Relaxed));
    assert_eq!(fences(), [0; 4], "nothing had to be swept");
    let slabs = pool.trim_with(|_, _| false).unwrap().slabs;
    assert!(slabs >= SIZES.len() as u64);
    let most = SIZES.len() as u32 + slabs.div_ceil(4) as u32;
    assert!(fences().iter().all(|&fences| fences <= most), "more than {most}");
    let kept: Vec<_> = SIZES.iter().map(|&size| alloc(&pool, id, size).unwrap()).collect();
    assert_eq!(pool.trim_with(|_, _| false).unwrap().slabs, 0);
    assert_eq!(fences(), [0; 4], "each slab has a live block");
    kept.into_iter().for_each(|address| must_free(&pool, id, address));
}

/// Resident bytes among these, as the kernel counts them.
#[cfg(target_os = "linux")]
fn resident(from: u64, bytes: u64) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut inside, mut sum) = (false, 0);
    for line in maps.lines() {
        let first = line.split(' ').next().unwrap();
        if let Some((low, high)) = first.split_once('-') {
            let (low, high) = (u64::from_str_radix(low, 16), u64::from_str_radix(high, 16));
            if let (Ok(low), Ok(high)) = (low, high) {
                inside = low < from + bytes && high > from;
            }
        } else if inside && first == "Rss:" {
            sum += line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024;
        }
    }
    sum
}

#[cfg(target_os = "linux")]
#[test]
fn trim_gives_memory_back_to_the_system() {
    // Larger than anything else in the process, so that a neighbouring mapping does not matter.
    let pool = PoolOptions::new(96 << 20).build().unwrap();
    let id = pool.add_adapter("disk").unwrap();
    let (from, bytes) = pool.range();
    let before = resident(from, bytes);
    for size in [4096, 1024, 32_768, 100_000] {
        let mut blocks = Vec::new();
        let mut filled = 0;
        while filled < 64 << 20 {
            let address = alloc(&pool, id, size).unwrap();
            for page in (0..u64::from(size)).step_by(4096) {
                // SAFETY: the block is ours; the range is memory of this process.
                unsafe { ((address + page) as *mut u8).write(1) };
            }
            filled += u64::from(size);
            blocks.push(address);
        }
        let full = resident(from, bytes);
        assert!(full - before >= 60 << 20, "{size} bytes: {before} -> {full}");
        for address in blocks {
            must_free(&pool, id, address);
        }
        let trimmed = pool.trim().unwrap();
        assert!(trimmed.bytes >= 64 << 20, "{trimmed:?}");
        let left = resident(from, bytes);
        assert!(
            left.saturating_sub(before) * 10 <= full - before,
            "{size} bytes: {before} -> {full} -> {left}"
        );
        assert_eq!(pool.snapshot().free_bytes, bytes);
        // A second one has nothing to do.
        assert_eq!(pool.trim().unwrap().bytes, 0);
    }
    let address = alloc(&pool, id, 4096).unwrap();
    // SAFETY: the block is ours; memory given back reads as zero.
    assert_eq!(unsafe { (address as *const u64).read() }, 0);
    must_free(&pool, id, address);
}
