//! Means by size class, criterion's: `cargo bench`, or with its options `cargo bench --bench means -- <options>`.
//! Criterion reports no tails; `storport-pool latency` does.

use std::hint::black_box;
use std::ptr::with_exposed_provenance_mut;
use std::sync::LazyLock;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use storport_pool::{PoolTag, Status};
use storport_pool_benches::{Ground, Refusal};
use storport_pool_lab::subjects::Subject as _;
use storport_pool_lab::textbook::Textbook;

/// One of each kind of class, and a large run.
const SIZES: [u32; 9] = [16, 64, 208, 512, 1024, 4096, 8192, 32_768, 1 << 20];
/// Blocks of a batch: within what a CPU keeps of most classes.
const BATCH: usize = 64;

/// An allocator, by its two functions.
struct Subject<'a> {
    name: &'static str,
    allocate: &'a (dyn Fn(u32) -> u64 + Sync),
    free: &'a (dyn Fn(u64) + Sync),
}

/// Their slabs are for good.
static TEXTBOOK: LazyLock<Textbook<false>> = LazyLock::new(|| Textbook::new(2 << 30));
static TAGGED: LazyLock<Textbook<true>> = LazyLock::new(|| Textbook::new(2 << 30));

fn textbook<const TAGGED: bool>(textbook: &Textbook<TAGGED>, mut work: impl FnMut(&Subject<'_>)) {
    textbook.enter();
    work(&Subject {
        name: textbook.name(),
        // SAFETY: no size is 0.
        allocate: &|bytes| unsafe { textbook.alloc(bytes) }.expose_provenance() as u64,
        // SAFETY: a live block of its own. It does not use the size.
        free: &|block| unsafe { textbook.free(with_exposed_provenance_mut(block as usize), 0) },
    });
}

/// The pool, the two that everybody has, and what one would write oneself. Calls go through a pointer for all of
/// them alike.
fn each(ground: &Ground, mut work: impl FnMut(&Subject<'_>)) {
    work(&Subject {
        name: "storport-pool",
        allocate: &|bytes| ground.allocate(bytes),
        free: &|block| assert_eq!(ground.free(block), Status::SUCCESS),
    });
    work(&Subject {
        name: "mimalloc",
        // SAFETY: mi_malloc takes any size.
        allocate: &|bytes| unsafe { libmimalloc_sys::mi_malloc(bytes as usize) as u64 },
        // SAFETY: a live block of its own.
        free: &|block| unsafe { libmimalloc_sys::mi_free(block as *mut _) },
    });
    work(&Subject {
        name: "system",
        // SAFETY: malloc takes any size.
        allocate: &|bytes| unsafe { libc::malloc(bytes as usize) as u64 },
        // SAFETY: a live block of its own.
        free: &|block| unsafe { libc::free(block as *mut _) },
    });
    textbook(&TEXTBOOK, &mut work);
    textbook(&TAGGED, &mut work);
}

/// `rounds` calls in batches; what happens between batches is not timed.
fn timed(rounds: u64, mut batch: impl FnMut(usize) -> Duration) -> Duration {
    let mut left = rounds as usize;
    let mut sum = Duration::ZERO;
    while left > 0 {
        let count = left.min(BATCH);
        sum += batch(count);
        left -= count;
    }
    sum
}

fn by_class(c: &mut Criterion) {
    let ground = Ground::native();
    for what in ["allocate", "free", "pair"] {
        let mut group = c.benchmark_group(what);
        group.throughput(Throughput::Elements(1));
        each(&ground, |subject| {
            for bytes in SIZES {
                let mut blocks = [0; BATCH];
                group.bench_function(BenchmarkId::new(subject.name, bytes), |b| match what {
                    "pair" => b.iter(|| (subject.free)(black_box((subject.allocate)(bytes)))),
                    _ => b.iter_custom(|rounds| {
                        timed(rounds, |count| {
                            let begin = Instant::now();
                            blocks[..count].fill_with(|| (subject.allocate)(bytes));
                            let middle = Instant::now();
                            blocks[..count].iter().for_each(|&block| (subject.free)(block));
                            if what == "free" { middle.elapsed() } else { middle - begin }
                        })
                    }),
                });
            }
        });
        group.finish();
    }
}

/// By calls for many blocks, and one by one; per block. No call goes through a pointer here.
fn bulk(c: &mut Criterion) {
    const BYTES: u32 = 208;
    let ground = Ground::native();
    let mut group = c.benchmark_group("bulk");
    group.throughput(Throughput::Elements(1));
    let allocate = |blocks: &mut [u64]| blocks.fill_with(|| ground.allocate(BYTES));
    let free = |blocks: &[u64]| {
        blocks.iter().for_each(|&block| assert_eq!(ground.free(block), Status::SUCCESS));
    };
    let mut bench = |name: &str, most: usize, what: &dyn Fn(&mut [u64]) -> Duration| {
        group.bench_function(BenchmarkId::new(name, most), |b| {
            b.iter_custom(|rounds| timed(rounds, |count| what(&mut [0; BATCH][..count])));
        });
    };
    for most in [1, 8, 32, 64] {
        let name = if most == 1 { "free" } else { "free_bulk" };
        bench(name, most, &|blocks| {
            allocate(blocks);
            let begin = Instant::now();
            if most == 1 {
                free(blocks);
            } else {
                blocks.chunks(most).for_each(|part| assert_eq!(ground.free_bulk(part), part.len()));
            }
            begin.elapsed()
        });
    }
    for most in [1, 32] {
        let name = if most == 1 { "allocate" } else { "allocate_bulk" };
        bench(name, most, &|blocks| {
            let begin = Instant::now();
            if most == 1 {
                allocate(blocks);
            } else {
                blocks.chunks_mut(most).for_each(|part| ground.allocate_bulk(BYTES, part));
            }
            let time = begin.elapsed();
            free(black_box(blocks));
            time
        });
    }
    group.finish();
}

/// More than a CPU keeps: every fourth free of a class whose magazines have four places hands one on.
fn overflow(c: &mut Criterion) {
    const BYTES: u32 = 32_768;
    let ground = Ground::native();
    let mut group = c.benchmark_group("overflow");
    each(&ground, |subject| {
        let mut blocks = [0; BATCH];
        group.bench_function(subject.name, |b| {
            b.iter_custom(|rounds| {
                timed(rounds, |count| {
                    blocks[..count].fill_with(|| (subject.allocate)(BYTES));
                    let begin = Instant::now();
                    blocks[..count].iter().for_each(|&block| (subject.free)(block));
                    begin.elapsed()
                })
            });
        });
    });
    group.finish();
}

/// Allocated by another thread.
fn remote(c: &mut Criterion) {
    let ground = Ground::native();
    let mut group = c.benchmark_group("remote");
    each(&ground, |subject| {
        let (allocate, free) = (subject.allocate, subject.free);
        group.bench_function(subject.name, |b| {
            b.iter_custom(|rounds| {
                std::thread::scope(|scope| {
                    let (wishes, wanted) = channel::<usize>();
                    let (sender, batches) = channel::<Vec<u64>>();
                    scope.spawn(move || {
                        for count in wanted {
                            let batch = (0..count).map(|_| allocate(208)).collect();
                            if sender.send(batch).is_err() {
                                return;
                            }
                        }
                    });
                    let sum = timed(rounds, |count| {
                        wishes.send(count).expect("the other thread waits");
                        let batch = batches.recv().expect("it answers");
                        let begin = Instant::now();
                        batch.into_iter().for_each(free);
                        begin.elapsed()
                    });
                    drop(wishes);
                    sum
                })
            });
        });
    });
    group.finish();
}

/// What each refusal costs.
fn checks(c: &mut Criterion) {
    let ground = Ground::native();
    let mut group = c.benchmark_group("checks");
    for refusal in Refusal::ALL {
        refusal.stage(&ground, |call| {
            assert_ne!(call(), Status::SUCCESS);
            group.bench_function(format!("{refusal:?}"), |b| b.iter(|| black_box(call())));
        });
    }
    group.finish();
}

/// Tags in rotation.
fn accounts(c: &mut Criterion) {
    let ground = Ground::native();
    let mut group = c.benchmark_group("accounts");
    for count in [1, 16, 256, 1024] {
        let tags: Vec<_> =
            (0..count).map(|tag| PoolTag::new(&format!("{tag:04}")).expect("four digits")).collect();
        let mut next = tags.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| {
                let tag = *next.next().expect("a cycle has no end");
                ground.free(ground.allocate_as(64, tag))
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    targets = by_class, bulk, overflow, remote, checks, accounts
}
criterion_main!(benches);
