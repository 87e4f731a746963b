//! Not out of memory while memory is free: whatever other threads do, and wherever they are stopped.
//!
//! In each row at most half of the pool is ever live, and what is free could serve each request wherever the live
//! blocks lie. So each refusal is one too many.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, OnceLock};
use std::time::{Duration, Instant};

use common::blocks::Random;
use common::*;
use storport_pool::{AdapterId, Pool, PoolOptions, Status};

on_every_platform!(a_neighbour_that_fails, a_failing_request_moves_nothing);

mod native_rseq {
    use super::*;

    #[test]
    fn many_threads() {
        super::many_threads::<Rseq>();
    }

    #[test]
    fn trims_beside() {
        super::trims_beside::<Rseq>();
    }

    #[test]
    fn a_neighbour_that_fails_now_and_then() {
        super::a_neighbour_that_fails_now_and_then::<Rseq>();
    }
}

mod native_twin {
    use super::*;

    #[test]
    fn many_threads() {
        super::many_threads::<Twin>();
    }

    #[test]
    fn trims_beside() {
        super::trims_beside::<Twin>();
    }

    #[test]
    fn a_neighbour_that_fails_now_and_then() {
        super::a_neighbour_that_fails_now_and_then::<Twin>();
    }
}

/// How long a row runs.
const ROW: Duration = Duration::from_millis(150);
const MIB: u64 = 1 << 20;
const KIB: u64 = 1 << 10;

/// What came of a row's requests.
#[derive(Default)]
struct Counts {
    got: AtomicU64,
    refused: AtomicU64,
}

impl Counts {
    /// Allocates; a refusal is counted.
    fn take<W: Way>(&self, pool: &Pool<W::P>, id: AdapterId, bytes: u32) -> Option<u64> {
        match alloc(pool, id, bytes) {
            Ok(address) => {
                self.got.fetch_add(1, Ordering::Relaxed);
                Some(address)
            }
            Err(status) => {
                assert_eq!(status, Status::INSUFFICIENT_RESOURCES);
                self.refused.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// What is wrong, if anything.
    fn fault(&self, row: &str) -> Option<String> {
        let (got, refused) = (self.got.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed));
        (refused > 0).then(|| format!("{row}: {refused} refused beside {got} that were served"))
    }
}

/// All rows run, so that one look tells which fail.
fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Runs steps in as many threads, beside each other, until the row's time is over, and one of each in any case. A step
/// gets its thread's number and generator.
fn for_a_row(threads: u64, step: impl Fn(u64, &mut Random) + Sync) {
    let start = Barrier::new(threads as usize);
    let end = OnceLock::new();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (step, start, end) = (&step, &start, &end);
            scope.spawn(move || {
                let mut random = Random(thread * 2 + 1);
                start.wait();
                let end = *end.get_or_init(|| Instant::now() + ROW);
                loop {
                    step(thread, &mut random);
                    if Instant::now() >= end {
                        break;
                    }
                }
            });
        }
    });
}

/// Bytes of the pool, threads, blocks that each has at most, and their sizes.
type Crowd = (u64, u64, usize, &'static [u32]);

/// As many threads as CPUs, and many more: who is stopped in the middle of a call keeps nobody else from memory.
const CROWDS: [Crowd; 24] = [
    (4 * MIB, 64, 64, &[128]),
    (2 * MIB, 64, 64, &[128]),
    (8 * MIB, 64, 8, &[4096]),
    (8 * MIB, 64, 16, &[16, 48, 96, 208, 512, 1024, 4096]),
    (8 * MIB, 64, 8, &[4096, 8192]),
    (64 * MIB, 64, 4, &[70_000]),
    (64 * MIB, 64, 4, &[70_000, 4096]),
    (4 * MIB, 4, 4, &[70_000, 4096, 8192]),
    (2 * MIB, 1, 4, &[70_000]),
    (4 * MIB, 2, 4, &[70_000]),
    (8 * MIB, 4, 4, &[70_000]),
    (16 * MIB, 8, 4, &[70_000]),
    (MIB, 1, 1, &[40_000]),
    (2 * MIB, 2, 1, &[40_000]),
    (4 * MIB, 4, 1, &[40_000]),
    (8 * MIB, 8, 1, &[40_000]),
    (MIB, 2, 4, PAGES),
    (2 * MIB, 2, 4, PAGES),
    (2 * MIB, 4, 4, PAGES),
    (4 * MIB, 8, 4, PAGES),
    (32 * MIB, 64, 4, PAGES),
    (MIB, 2, 4, ALL),
    (2 * MIB, 4, 4, ALL),
    (32 * MIB, 64, 4, ALL),
];

const PAGES: &[u32] = &[4096, 8192, 12_288, 16_384, 20_480, 32_768];
const ALL: &[u32] = &[16, 64, 128, 208, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768];

fn many_threads<W: Way>() {
    let mut faults = Vec::new();
    for (n, (bytes, threads, batch, sizes)) in CROWDS.into_iter().enumerate() {
        let most = sizes.iter().map(|&size| occupied(bytes, size)).max().unwrap();
        assert!(threads * batch as u64 * most <= bytes / 2, "row {n}: more than half may be live");
        let pool = W::build(PoolOptions::new(bytes));
        let id = pool.add_adapter("disk").unwrap();
        let counts = Counts::default();
        for_a_row(threads, |_, random| {
            let sizes = (0..batch).map(|_| sizes[random.next() as usize % sizes.len()]);
            let blocks: Vec<_> = sizes.filter_map(|size| counts.take::<W>(&pool, id, size)).collect();
            blocks.into_iter().for_each(|address| must_free(&pool, id, address));
        });
        let row = format!("{threads} threads, {batch} blocks of {sizes:?} each, {} KiB", bytes / KIB);
        faults.extend(counts.fault(&row));
    }
    none(&faults);
}

/// Bytes of the pool and of a block, how many blocks at once, and the microseconds between two trims.
type Trimmed = (u64, u32, u64, u64);

const TRIMMED: [Trimmed; 11] = [
    (MIB, 40_000, 1, 0),
    (4 * MIB, 40_000, 1, 1000),
    (4 * MIB, 2_000_000, 1, 0),
    (64 * MIB, 2_000_000, 1, 0),
    (4 * MIB, 32_768, 1, 100),
    (MIB, 32_768, 1, 0),
    (MIB, 65_536, 8, 0),
    (MIB, 65_536, 8, 50),
    (4 * MIB, 65_536, 32, 0),
    (8 * MIB, 32_768, 128, 0),
    (64 * MIB, 65_536, 512, 0),
];

/// A trim hides little, and not for long.
fn trims_beside<W: Way>() {
    let mut faults = Vec::new();
    for (bytes, size, most, pause) in TRIMMED {
        let pool = W::build(PoolOptions::new(bytes));
        let id = pool.add_adapter("disk").unwrap();
        let counts = Counts::default();
        for_a_row(2, |thread, _| {
            if thread == 0 {
                pool.trim().unwrap();
                if pause > 0 {
                    std::thread::sleep(Duration::from_micros(pause));
                }
                return;
            }
            let blocks: Vec<_> = (0..most).filter_map(|_| counts.take::<W>(&pool, id, size)).collect();
            for address in blocks {
                // So that there is memory to give back, which takes its time.
                for page in (0..u64::from(size)).step_by(4096) {
                    // SAFETY: the block is ours; the range is memory of this process.
                    unsafe { ((address + page) as *mut u8).write(1) };
                }
                must_free(&pool, id, address);
            }
        });
        faults.extend(counts.fault(&format!("{} KiB, {most} blocks of {size}, trims", bytes / KIB)));
    }
    none(&faults);
}

/// A range whose spans are of 64 KiB.
const RANGE: u64 = 8 * MIB;
/// Blocks of 48 bytes that one slab has room for.
const SMALL: usize = 1300;

/// How a pool is full.
#[derive(Clone, Copy, Debug)]
enum Full {
    /// Blocks of 48 bytes, of which one is live, in one slab; the rest are blocks of 4096.
    ButForASlab,
    /// The same; none of them is live. So one slab is empty, which is far less than what the neighbour wants.
    ButForAnEmptySlab,
    /// Slabs of 48 bytes; the last block of each is live.
    AtFarEnds,
}

impl Full {
    const ALL: [Full; 3] = [Full::ButForASlab, Full::ButForAnEmptySlab, Full::AtFarEnds];

    fn build<W: Way>(self) -> (Pool<W::P>, AdapterId) {
        let pool = W::build(PoolOptions::new(RANGE));
        let id = pool.add_adapter("disk").unwrap();
        let mut small = Vec::new();
        if let Full::AtFarEnds = self {
            fill(&pool, id, 48, &mut small);
            let mut last = vec![0; (RANGE / SPAN) as usize];
            for &address in &small {
                let of = &mut last[((address - pool.range().0) / SPAN) as usize];
                *of = address.max(*of);
            }
            small.retain(|address| !last.contains(address));
        } else {
            small.extend((0..SMALL).map(|_| alloc(&pool, id, 48).unwrap()));
            fill(&pool, id, 4096, &mut Vec::new());
        }
        let kept = if let Full::ButForASlab = self { 1 } else { 0 };
        small.drain(kept..).for_each(|address| must_free(&pool, id, address));
        (pool, id)
    }
}

/// Requests between two looks at the time.
const AT_ONCE: usize = 64;

/// One asks for what there is not, again and again; the other's requests are served.
fn beside<W: Way>(pause: Duration) {
    let mut faults = Vec::new();
    for full in Full::ALL {
        let (pool, id) = full.build::<W>();
        let counts = Counts::default();
        for_a_row(2, |thread, _| {
            W::go_to_cpu(thread as u32);
            for _ in 0..AT_ONCE {
                if thread == 1 {
                    counts
                        .take::<W>(&pool, id, 48)
                        .into_iter()
                        .for_each(|address| must_free(&pool, id, address));
                    continue;
                }
                assert_eq!(alloc(&pool, id, MIB as u32), Err(Status::INSUFFICIENT_RESOURCES));
                if !pause.is_zero() {
                    std::thread::sleep(pause);
                    break;
                }
            }
        });
        faults.extend(counts.fault(&format!("{full:?}")));
    }
    none(&faults);
}

fn a_neighbour_that_fails<W: Way>() {
    beside::<W>(Duration::ZERO);
}

fn a_neighbour_that_fails_now_and_then<W: Way>() {
    beside::<W>(Duration::from_millis(1));
}

/// No slab is retired, no magazine leaves its CPU, nothing is counted.
fn a_failing_request_moves_nothing<W: Way>() {
    let mut faults = Vec::new();
    for full in Full::ALL {
        let (pool, id) = full.build::<W>();
        // Of each class only what nothing free could serve: blocks of 48 bytes are, and an empty slab.
        let sizes: &[u32] = match full {
            Full::ButForAnEmptySlab => &[65_537, 100_000, MIB as u32, RANGE as u32],
            _ => &[64, 1024, 4096, 8192, 32_768, 65_536, 100_000, MIB as u32, RANGE as u32],
        };
        // What others left in their CPUs' caches, too.
        W::on_cpu(1, || {
            let blocks: Vec<_> = (0..40).map(|_| alloc(&pool, id, 48).unwrap()).collect();
            blocks.into_iter().for_each(|address| must_free(&pool, id, address));
        });
        assert!(pool.snapshot().cpus.iter().any(|row| row.blocks > 0), "{full:?}: nothing is cached");
        let before = picture(&pool);
        for &bytes in sizes {
            for _ in 0..3 {
                assert_eq!(alloc(&pool, id, bytes), Err(Status::INSUFFICIENT_RESOURCES), "{bytes} bytes");
            }
            if picture(&pool) != before {
                faults.push(format!("{full:?}, {bytes} bytes"));
                break;
            }
        }
    }
    none(&faults);
}
