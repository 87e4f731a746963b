//! Pools in statics: made once, whoever tries, and told otherwise.

mod common;

use std::sync::Barrier;

use common::*;
use storport_pool::{
    Config, CreateError, Portable, SingleCpu, StaticError, StaticMetadata, StaticPool, static_pool, tag,
};

const CONFIG: Config = Config::new(0, 4 * SPAN).min_block(256).accounts(16).adapters(2);

static_pool! {
    static ONCE: Portable<SingleCpu> = CONFIG;
}

static_pool! {
    pub(crate) static RACED: Portable<SingleCpu> = CONFIG;
}

static METADATA: StaticMetadata<{ 1 << 20 }> = StaticMetadata::new();
static FIRST: StaticPool<Portable<SingleCpu>> = StaticPool::new(CONFIG, &METADATA);
static SECOND: StaticPool<Portable<SingleCpu>> = StaticPool::new(CONFIG, &METADATA);
static SMALL: StaticMetadata<4096> = StaticMetadata::new();
static TOO_SMALL: StaticPool<Portable<SingleCpu>> = StaticPool::new(CONFIG, &SMALL);

fn platform() -> Portable<SingleCpu> {
    Portable::new(SingleCpu)
}

#[test]
fn a_failed_try_may_be_repeated() {
    assert!(ONCE.get().is_none());
    let error = ONCE.init_at(u64::MAX - SPAN, platform()).unwrap_err();
    assert_eq!(
        error,
        StaticError::Create(CreateError::RangePastEnd { base: u64::MAX - SPAN, bytes: 4 * SPAN })
    );
    assert!(ONCE.get().is_none());
    // Wherever it begins, the metadata suffices.
    let pool = ONCE.init_at(0x12_3456_0000, platform()).unwrap();
    assert_eq!(pool.range(), (0x12_3456_0000, 4 * SPAN));
    assert!(std::ptr::eq(ONCE.get().unwrap(), pool));
    let id = pool.add_adapter("disk").unwrap();
    let mut blocks = Vec::new();
    fill(pool, id, 4096, &mut blocks);
    assert_eq!(blocks.len() as u64, 4 * per_slab(4096));
    assert_eq!(ONCE.init(platform()).unwrap_err(), StaticError::Twice);
}

#[test]
fn one_of_many_makes_it() {
    let start = Barrier::new(8);
    let made = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    RACED.init(platform()).is_ok()
                })
            })
            .collect();
        tries.into_iter().map(|one| u32::from(one.join().unwrap())).sum::<u32>()
    });
    assert_eq!(made, 1);
    assert!(RACED.get().is_some());
}

#[test]
fn metadata_has_one_pool() {
    FIRST.init(platform()).unwrap();
    assert_eq!(SECOND.init(platform()).unwrap_err(), StaticError::Twice);
    assert!(SECOND.get().is_none());
    let needed = CONFIG.metadata_bytes().unwrap();
    let error = CreateError::MetadataTooSmall { given: 4096, needed };
    assert_eq!(TOO_SMALL.init(platform()).unwrap_err(), StaticError::Create(error));
}

// Rounded up to a boundary they have less than 8 MiB, and then spans are pages, of which there are more.
static_pool! {
    static BETWEEN: Portable<SingleCpu> = Config::new(0x8000_8000, 8 << 20);
}

static_pool! {
    static MOVED: Portable<SingleCpu> = Config::new(0x8000_0000, 8 << 20);
}

#[test]
fn a_range_may_begin_anywhere() {
    assert_eq!(BETWEEN.init(platform()).unwrap().range(), (0x8001_0000, (8 << 20) - SPAN));
    assert_eq!(MOVED.init_at(0x8000_1000, platform()).unwrap().range(), (0x8001_0000, (8 << 20) - SPAN));
}

static_pool! {
    static OVER: Portable<SingleCpu> = Config::new(0, 4 * SPAN).min_block(64);
}
static_pool! {
    static LESS: Portable<SingleCpu> = Config::new(0, 4 * SPAN).min_block(64);
}

/// The range has all its bytes, if the memory has them from a boundary on; else it ends with the memory.
#[test]
fn a_static_pool_over_memory_reaches_it() {
    let memory = |bytes: u64, skip: usize| {
        let memory = Box::leak(Box::<[u8]>::new_uninit_slice(bytes as usize));
        let to_boundary = memory.as_ptr().align_offset(SPAN as usize);
        &mut memory[(to_boundary + skip) % SPAN as usize..]
    };
    let short = Box::leak(Box::<[u8]>::new_uninit_slice(4 * SPAN as usize - 1));
    let error = StaticError::TooShort { given: 4 * SPAN - 1, needed: 4 * SPAN };
    assert_eq!(OVER.init_over(short, platform()).unwrap_err(), error);
    assert_eq!(error.to_string(), "the memory has 262143 bytes; the static pool's range has 262144");

    let pool = OVER.init_over(memory(6 * SPAN, 4096), platform()).unwrap();
    assert_eq!(pool.range().1, 4 * SPAN);
    let disk = pool.adapter("disk0").unwrap();
    let mut block = disk.allocate(100, tag!("Srb0")).unwrap();
    assert!(block.fill(0xA5) && block.memory().unwrap().len() == 100);
    drop(block);

    let whole = memory(6 * SPAN, 4096);
    let pool = LESS.init_over(&mut whole[..4 * SPAN as usize], platform()).unwrap();
    assert_eq!(pool.range().1, 3 * SPAN);
}
