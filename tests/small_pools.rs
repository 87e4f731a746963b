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
    let mut random = Random(seed * 0x9E37_79B9_7F4A_7C15 + 1);
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
