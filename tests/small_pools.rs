//! How full a pool is when it first refuses a request, and what its metadata takes.

mod common;

use common::*;
use storport_pool::{Config, Pool, PoolOptions};

on_every_platform!(
    few_sizes_do_not_fill_a_small_pool,
    a_random_trace_fills_the_pool,
    a_driver_starts_in_64_kib
);

/// Seeded numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Sizes of a driver's requests, and how many of a hundred are of each: sizes from public drivers, shares assumed.
const MIX: [(u64, u32, u32); 12] = [
    (5, 16, 16),
    (25, 32, 32),
    (15, 48, 48),
    (5, 64, 64),
    (20, 80, 80),
    (8, 104, 149),
    (2, 164, 164),
    (12, 208, 208),
    (3, 256, 268),
    (2, 536, 536),
    (1, 1040, 1072),
    (2, 4096, 4096),
];

fn of_the_mix(random: &mut Random) -> u32 {
    let mut left = random.below(100);
    for (share, least, most) in MIX {
        if left < share {
            return least + random.below(u64::from(most - least + 1)) as u32;
        }
        left -= share;
    }
    unreachable!("the shares add up to a hundred")
}

/// Allocates at random sizes and frees some at random, growing, until a request is refused. The share of the range
/// that was asked for and is live then, in per mille.
fn filled<W: Way>(pool: &Pool<W::P>, seed: u64, freed_percent: u64) -> u64 {
    let id = pool.add_adapter("disk").unwrap();
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1));
    let mut live = Vec::new();
    loop {
        let bytes = of_the_mix(&mut random);
        let Ok(address) = alloc(pool, id, bytes) else { break };
        live.push((address, bytes));
        while random.below(100) < freed_percent && !live.is_empty() {
            let (address, _) = live.swap_remove(random.below(live.len() as u64) as usize);
            must_free(pool, id, address);
        }
    }
    let bytes: u64 = live.iter().map(|&(_, bytes)| u64::from(bytes)).sum();
    live.into_iter().for_each(|(address, _)| must_free(pool, id, address));
    bytes * 1000 / pool.range().1
}

fn a_random_trace_fills_the_pool<W: Way>() {
    // KiB of the range, at least this many per mille, traces.
    for (kib, least, seeds) in
        [(64, 300, 100), (256, 600, 50), (1024, 800, 20), (4096, 800, 5), (8192, 800, 4), (65_536, 800, 1)]
    {
        let mut worst = 1000;
        for (seed, freed) in (1..=seeds).flat_map(|seed| [(seed, 25), (seed, 40)]) {
            let pool = W::build(PoolOptions::new(kib << 10));
            let filled = filled::<W>(&pool, seed, freed);
            assert!(filled >= least, "{kib} KiB, trace {seed}: refused at {filled} of 1000");
            worst = worst.min(filled);
        }
        println!("{kib} KiB: refused at {worst} of 1000 or later");
    }
}

/// One block of each size, growing.
fn few_sizes_do_not_fill_a_small_pool<W: Way>() {
    for (kib, least) in [(64, 16), (1024, 150), (4096, 400)] {
        let pool = W::build(PoolOptions::new(kib << 10));
        let id = pool.add_adapter("disk").unwrap();
        let sizes = (16..).step_by(16).take_while(|&size| alloc(&pool, id, size).is_ok()).count();
        println!("{kib} KiB: {sizes} sizes");
        assert!(sizes >= least, "{kib} KiB: refused at size {sizes}");
    }
}

/// What two drivers ask for at their start, as they come in the smallest pool that holds them.
fn a_driver_starts_in_64_kib<W: Way>() {
    let pool = W::build(PoolOptions::new(64 << 10));
    let id = pool.add_adapter("disk").unwrap();
    for bytes in [120, 268, 60, 16, 536, 256, 64, 120, 32, 24, 128, 192, 648, 128, 1224, 432, 5592, 144, 176]
    {
        alloc(&pool, id, bytes).unwrap_or_else(|status| panic!("{bytes} bytes: {status}"));
    }
}

/// Metadata in hundredths of a percent of the range.
fn metadata(bytes: u64, min_block: u32, cpus: u32) -> u64 {
    let metadata = Config::new(0, bytes + (64 << 10)).min_block(min_block).cpus(cpus).metadata_bytes();
    metadata.unwrap() as u64 * 10_000 / bytes
}

#[test]
fn metadata_takes_no_more_than_promised() {
    for (mib, min_block, most) in [(64, 16, 80), (64, 64, 22), (64, 256, 7), (1, 64, 60)] {
        for cpus in 1..=4 {
            let takes = metadata(mib << 20, min_block, cpus);
            println!(
                "{mib} MiB, from {min_block} bytes up, {cpus} CPUs: {}.{:02} %",
                takes / 100,
                takes % 100
            );
            assert!(takes <= most * 100, "{mib} MiB from {min_block} bytes up, {cpus} CPUs: {takes}");
        }
    }
}

/// Pages of this memory that are resident.
#[cfg(target_os = "linux")]
fn resident(memory: std::ptr::NonNull<[u8]>) -> u64 {
    use std::os::unix::fs::FileExt;
    let mut entries = vec![0; memory.len() / 4096 * 8];
    let pages = std::fs::File::open("/proc/self/pagemap").unwrap();
    pages.read_exact_at(&mut entries, memory.addr().get() as u64 / 4096 * 8).unwrap();
    entries.chunks_exact(8).filter(|entry| entry[7] & 0x80 != 0).count() as u64
}

/// One CPU that is never interrupted.
#[cfg(target_os = "linux")]
struct Alone;

#[cfg(target_os = "linux")]
impl storport_pool::Host for Alone {
    fn cpu(&self) -> u32 {
        0
    }

    fn irql(&self) -> storport_pool::Irql {
        storport_pool::Irql::PASSIVE
    }
}

/// What a full pool keeps resident besides its blocks; more than half of the range only if the blocks are the smallest.
#[cfg(target_os = "linux")]
#[test]
fn metadata_that_is_resident() {
    for (mib, min_block) in [(64, 16), (64, 64), (64, 256), (1, 64), (1, 16)] {
        for bytes in
            [16, 64, 128, 256, 512, 1024, 4096, 32_768].into_iter().filter(|&bytes| bytes >= min_block)
        {
            let config = Config::new(1 << 32, mib << 20).min_block(min_block);
            let len = config.metadata_bytes().unwrap();
            // SAFETY: a new mapping at an address of the kernel's choice.
            let start = unsafe {
                nix::sys::mman::mmap_anonymous(
                    None,
                    len.try_into().unwrap(),
                    nix::sys::mman::ProtFlags::PROT_READ | nix::sys::mman::ProtFlags::PROT_WRITE,
                    nix::sys::mman::MapFlags::MAP_PRIVATE,
                )
            };
            let memory = std::ptr::NonNull::slice_from_raw_parts(start.unwrap().cast::<u8>(), len);
            // SAFETY: as above; no huge pages, which would make neighbours resident too.
            unsafe {
                nix::sys::mman::madvise(memory.cast(), len, nix::sys::mman::MmapAdvise::MADV_NOHUGEPAGE)
            }
            .unwrap();
            // SAFETY: zeroed memory of this test alone, given back after the pool; nobody touches the range.
            let pool = unsafe { Pool::new_in(&config, memory, storport_pool::Portable::new(Alone)) }.unwrap();
            let id = pool.add_adapter("disk").unwrap();
            let new = resident(memory);
            let mut blocks = Vec::new();
            fill(&pool, id, bytes, &mut blocks);
            let full = resident(memory);
            blocks.iter().for_each(|&block| must_free(&pool, id, block));
            let freed = resident(memory);
            let percent = |pages: u64| (pages * 4096) as f64 * 100.0 / (mib << 20) as f64;
            println!(
                "{mib} MiB from {min_block}, {} blocks of {bytes}: new {:.2} %, full {:.2} % ({:.1} bytes a block), \
                 freed {:.2} %",
                blocks.len(),
                percent(new),
                percent(full),
                (full - new) as f64 * 4096.0 / blocks.len() as f64,
                percent(freed)
            );
            assert!(percent(full - new) < if bytes < 64 || mib == 1 { 60.0 } else { 26.0 });
            drop(pool);
            // SAFETY: the mapping is this test's, and unused from here on.
            unsafe { nix::sys::mman::munmap(memory.cast(), len) }.unwrap();
        }
    }
}
