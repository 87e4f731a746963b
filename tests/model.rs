//! Random sequences of calls against a plain map of live blocks, shrunk when they fail.

mod common;
#[path = "common/model/mod.rs"]
mod model;

use common::*;
use model::{Model, Rules};
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestRunner};
use storport_pool::{AdapterId, Config, CreateError, Irql, PoolOptions};

on_every_platform!(a_range_of_the_system, a_large_range, an_inaccessible_range, a_made_up_range);

const RULES: Rules = Rules { adapters: 4, min_block: 16, strict_tags: false };

#[derive(Clone, Debug)]
enum Op {
    Allocate {
        adapter: usize,
        bytes: u32,
    },
    /// Without an out pointer.
    Nowhere(u32),
    /// Allocates this size until there is no more, then frees every nth.
    Fill {
        adapter: usize,
        bytes: u32,
        nth: usize,
    },
    /// So many of this size at once, or none.
    AllocateBulk {
        adapter: usize,
        bytes: u32,
        count: usize,
    },
    Free(usize),
    /// Some blocks at once, in the first one's name; some of them twice, and some addresses that are no blocks.
    FreeBulk(Vec<(usize, u8)>),
    FreeMany(usize),
    DoubleFree(usize),
    WrongOwner(usize),
    Inside {
        block: usize,
        offset: u64,
    },
    Anywhere(u64),
    AboveDispatch {
        block: usize,
        level: u8,
    },
    Trim,
    Add,
    Remove {
        adapter: usize,
        release: bool,
    },
    Switch(bool),
    Cpu(u32),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let bytes = prop_oneof![
        6 => prop::sample::select(SIZES.to_vec()),
        3 => 1..=4096u32,
        2 => 4097..=40_000u32,
        1 => 40_000..=400_000u32,
    ];
    let some = 0..64usize;
    let op = prop_oneof![
        12 => (some.clone(), bytes.clone()).prop_map(|(adapter, bytes)| Op::Allocate { adapter, bytes }),
        1 => (0..40_000u32).prop_map(Op::Nowhere),
        1 => (some.clone(), bytes.clone(), 2..9usize).prop_map(|(adapter, bytes, nth)| Op::Fill { adapter, bytes, nth }),
        2 => (some.clone(), bytes.clone(), 0..70usize)
            .prop_map(|(adapter, bytes, count)| Op::AllocateBulk { adapter, bytes, count }),
        8 => some.clone().prop_map(Op::Free),
        3 => prop::collection::vec((some.clone(), 0..12u8), 0..70).prop_map(Op::FreeBulk),
        2 => (1..100usize).prop_map(Op::FreeMany),
        2 => some.clone().prop_map(Op::DoubleFree),
        1 => some.clone().prop_map(Op::WrongOwner),
        1 => (some.clone(), 1..70_000u64).prop_map(|(block, offset)| Op::Inside { block, offset }),
        1 => any::<u64>().prop_map(Op::Anywhere),
        1 => (some.clone(), 3..16u8).prop_map(|(block, level)| Op::AboveDispatch { block, level }),
        1 => Just(Op::Trim),
        1 => Just(Op::Add),
        1 => (some, any::<bool>()).prop_map(|(adapter, release)| Op::Remove { adapter, release }),
        1 => any::<bool>().prop_map(Op::Switch),
        3 => (0..4u32).prop_map(Op::Cpu),
    ];
    prop::collection::vec(op, 1..120)
}

fn step<W: Way>(model: &mut Model<W>, op: &Op) {
    match *op {
        Op::Allocate { adapter, bytes } => {
            if let Some(id) = model.adapter(adapter) {
                model.allocate(id, bytes, TAG);
            }
        }
        Op::Nowhere(bytes) => model.allocate_nowhere(AdapterId::ORPHANS, bytes, TAG),
        Op::Fill { adapter, bytes, nth } => {
            let Some(id) = model.adapter(adapter) else { return };
            let new: Vec<u64> = std::iter::from_fn(|| model.allocate(id, bytes.max(300), TAG)).collect();
            new.into_iter().step_by(nth).for_each(|address| model.free_block(address));
        }
        Op::Free(n) => {
            if let Some((address, _)) = model.block(n) {
                model.free_block(address);
            }
        }
        Op::AllocateBulk { adapter, bytes, count } => {
            if let Some(id) = model.adapter(adapter) {
                model.allocate_bulk(id, bytes, TAG, count);
            }
        }
        Op::FreeBulk(ref picks) => {
            let Some(owner) = picks.first().and_then(|&(n, _)| Some(model.block(n)?.1.owner)) else { return };
            let mut addresses: Vec<u64> = Vec::new();
            for &(n, how) in picks {
                match how {
                    0 => addresses.push(0),
                    1 => addresses.extend(model.stale(n)),
                    2 => addresses.extend(model.block(n).map(|(address, _)| address + 16)),
                    3 => addresses.extend(addresses.last().copied()),
                    _ => addresses.extend(model.block(n).map(|(address, _)| address)),
                }
            }
            model.free_bulk(owner, &addresses);
        }
        Op::FreeMany(count) => {
            let some: Vec<u64> = model.live.keys().copied().take(count).collect();
            some.into_iter().for_each(|address| model.free_block(address));
        }
        Op::DoubleFree(n) => {
            if let (Some(address), Some(id)) = (model.stale(n), model.adapter(n)) {
                model.free(id, address);
            }
        }
        Op::WrongOwner(n) => {
            let Some((address, block)) = model.block(n) else { return };
            let adapters: Vec<_> = model.adapters.iter().map(|adapter| adapter.0).collect();
            for other in adapters.into_iter().chain([AdapterId::ORPHANS]).filter(|&id| id != block.owner) {
                model.free(other, address);
            }
        }
        Op::Inside { block, offset } => {
            let (Some((address, found)), Some(id)) = (model.block(block), model.adapter(block)) else {
                return;
            };
            model.free(id, address + 1 + offset % (u64::from(found.bytes) + 16));
        }
        Op::Anywhere(address) => {
            let Some(id) = model.adapter(0) else { return };
            let (base, len) = model.pool.range();
            for address in [address, base + address % len, base + address % len / 16 * 16] {
                model.free(id, address);
            }
        }
        Op::AboveDispatch { block, level } => {
            model.level = Irql::new(level).unwrap();
            if let Some(id) = model.adapter(block) {
                model.allocate(id, 100, TAG);
            }
            if let Some((address, _)) = model.block(block) {
                model.free_block(address);
            }
            model.level = Irql::PASSIVE;
        }
        Op::Trim => model.trim(),
        Op::Add => model.add("more"),
        Op::Remove { adapter, release } => {
            if let Some(id) = model.adapter(adapter) {
                model.remove(id, release);
            }
        }
        Op::Switch(not_implemented) => model.switch(not_implemented),
        Op::Cpu(cpu) => W::go_to_cpu(cpu),
    }
}

fn run<W: Way>(cases: u32, make: impl Fn(u64) -> Result<Model<W>, CreateError>) {
    // PROPTEST_CASES asks for more.
    let default = Runs::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    let mut runner = TestRunner::new(Runs { cases, failure_persistence: None, ..default });
    runner
        .run(&(2..=8u64, ops()), |(spans, ops)| {
            let mut model = make(spans * SPAN).unwrap();
            model.add("first");
            for op in &ops {
                step(&mut model, op);
                model.check();
            }
            model.finish();
            model.leave();
            Ok(())
        })
        .unwrap();
}

fn a_range_of_the_system<W: Way>() {
    run::<W>(96, |bytes| Model::build(PoolOptions::new(bytes).cpus(3).adapters(4), RULES));
}

/// With spans of 64 KiB, few of which are free: a run has the others.
fn a_large_range<W: Way>() {
    run::<W>(48, |bytes| {
        let mut model = Model::build(PoolOptions::new(LARGE_POOL).cpus(3).adapters(4), RULES)?;
        model.add("keeper");
        let keeper = model.adapter(0).unwrap();
        model.allocate(keeper, (LARGE_POOL - bytes) as u32, TAG).unwrap();
        Ok(model)
    });
}

fn a_made_up_range<W: Way>() {
    run::<W>(48, |bytes| {
        Model::over(&Config::new(0xFFFF_8800_0000_0000, bytes).cpus(3).adapters(4).accounts(64), RULES)
    });
}

/// Were a block touched, the process would end.
#[cfg(target_os = "linux")]
fn an_inaccessible_range<W: Way>() {
    use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
    let bytes = std::num::NonZeroUsize::new(9 << 16).unwrap();
    // SAFETY: a new mapping at an address of the kernel's choice.
    let range = unsafe { mmap_anonymous(None, bytes, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE) }.unwrap();
    let base = (range.addr().get() as u64).next_multiple_of(SPAN);
    run::<W>(48, |bytes| Model::over(&Config::new(base, bytes).cpus(3).adapters(4).accounts(64), RULES));
    // SAFETY: the mapping is this test's, and unused from here on.
    unsafe { munmap(range, bytes.get()) }.unwrap();
}

#[cfg(not(target_os = "linux"))]
fn an_inaccessible_range<W: Way>() {}
