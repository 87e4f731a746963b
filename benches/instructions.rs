//! Instructions of each call over the portable commit, by Valgrind, which knows no restartable sequences:
//! `ci/instructions.sh`. The code is the release build's; counts repeat, times would not.

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use storport_pool::{Portable, Status};
use storport_pool_benches::{Ground, Machine, Refusal};

/// Calls that are counted together: the ground's own instructions are outside.
const CALLS: usize = 64;

/// A pool whose caches know the work, and the work's size.
struct Warm {
    ground: Ground<Portable<Machine>>,
    bytes: u32,
    /// Live ones.
    blocks: Vec<u64>,
}

impl Warm {
    fn allocate(&self) -> u64 {
        self.ground.allocate(self.bytes)
    }

    fn free(&self, block: u64) {
        let _ = black_box(self.ground.free(block));
    }
}

fn warm(bytes: u32) -> Warm {
    let warm = Warm { ground: Ground::portable(), bytes, blocks: Vec::new() };
    for _ in 0..4 {
        let blocks: Vec<_> = (0..4 * CALLS).map(|_| warm.allocate()).collect();
        blocks.into_iter().for_each(|block| assert_eq!(warm.ground.free(block), Status::SUCCESS));
    }
    warm
}

fn live(bytes: u32) -> Warm {
    let mut warm = warm(bytes);
    warm.blocks = (0..CALLS).map(|_| warm.allocate()).collect();
    warm
}

#[library_benchmark(setup = warm)]
#[bench::small(64)]
#[bench::page(4096)]
#[bench::refilled(32_768)]
#[bench::large(1 << 20)]
fn allocate(warm: Warm) -> Warm {
    for _ in 0..CALLS {
        black_box(warm.allocate());
    }
    warm
}

#[library_benchmark(setup = live)]
#[bench::small(64)]
#[bench::page(4096)]
// Every fourth one hands a full magazine on.
#[bench::overflow(32_768)]
#[bench::large(1 << 20)]
fn free(warm: Warm) -> Warm {
    warm.blocks.iter().for_each(|&block| warm.free(block));
    warm
}

#[library_benchmark(setup = warm)]
#[bench::small(64)]
#[bench::page(4096)]
#[bench::large(1 << 20)]
fn pair(warm: Warm) -> Warm {
    for _ in 0..CALLS {
        warm.free(black_box(warm.allocate()));
    }
    warm
}

fn staged(refusal: Refusal) -> (Warm, Refusal) {
    (warm(64), refusal)
}

#[library_benchmark(setup = staged)]
#[bench::null(Refusal::Null)]
#[bench::foreign(Refusal::Foreign)]
#[bench::interior(Refusal::Interior)]
#[bench::freed(Refusal::Freed)]
#[bench::owner(Refusal::Owner)]
#[bench::stale(Refusal::Stale)]
#[bench::irql(Refusal::Irql)]
fn refused((warm, refusal): (Warm, Refusal)) -> Warm {
    refusal.stage(&warm.ground, |call| {
        for _ in 0..CALLS {
            let _ = black_box(call());
        }
    });
    warm
}

#[library_benchmark(setup = warm)]
#[bench::one(64)]
fn adapter_comes_and_goes(warm: Warm) -> Warm {
    let adapter = warm.ground.pool.add_adapter("guest").expect("room for an adapter");
    black_box(warm.ground.pool.remove_adapter(adapter).expect("it was added"));
    warm
}

library_benchmark_group!(name = calls, benchmarks = [allocate, free, pair, refused, adapter_comes_and_goes]);
main!(library_benchmark_groups = calls);
