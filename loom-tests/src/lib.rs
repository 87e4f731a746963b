//! What the models share: hosts whose CPUs are loom's threads, a small pool, and the check at the end.
#![cfg(storport_pool_loom)]

use std::cell::Cell;
use std::mem::transmute;

use loom::sync::{Arc, Mutex, MutexGuard};
use loom::thread::{self, JoinHandle};
use storport_pool::{
    AdapterId, Config, Host, Irql, MaskInterrupts, Masked, Platform, Pool, PoolTag, Portable, Status, tag,
};

/// Where the range begins. Nobody touches it.
const BASE: u64 = 0x10_0000;
/// Bytes of a span.
pub const SPAN: u32 = 64 << 10;
/// Requests of the two classes of slabs that there are under loom: 8 and 5 blocks to a slab.
pub const SMALL: u32 = 4096;
pub const LARGER: u32 = 12288;
/// The tag of most blocks.
pub const TAG: PoolTag = tag!("Loom");

loom::thread_local! {
    static CPU: Cell<u32> = Cell::new(0);
}

/// Makes the calling thread run on a CPU. Several threads on one are one another's interruptions.
pub fn run_on(cpu: u32) {
    CPU.with(|this| this.set(cpu));
}

fn cpu() -> u32 {
    CPU.with(Cell::get)
}

/// A host for the portable twin.
pub struct Threads;

impl Host for Threads {
    fn cpu(&self) -> u32 {
        cpu()
    }

    fn irql(&self) -> Irql {
        Irql::PASSIVE
    }
}

/// A host that masks: while one thread of a CPU is masked, no other thread of that CPU runs. CPUs are not
/// ordered by it; a fence waits for the section and sees what it wrote, as an inter-processor interrupt does.
pub struct Masking {
    cpus: Vec<Mutex<()>>,
}

impl Masking {
    pub fn new(cpus: usize) -> Masking {
        Masking { cpus: (0..cpus).map(|_| Mutex::new(())).collect() }
    }
}

impl Host for Masking {
    fn cpu(&self) -> u32 {
        cpu()
    }

    fn irql(&self) -> Irql {
        Irql::PASSIVE
    }
}

// SAFETY: the mutex of a CPU keeps its other threads out; `fence` passes through it.
unsafe impl MaskInterrupts for Masking {
    type State = MutexGuard<'static, ()>;

    fn mask(&self) -> Self::State {
        let guard = self.cpus[cpu() as usize].lock().unwrap();
        // SAFETY: `unmask` drops it, during the same call of the pool, which owns the host.
        unsafe { transmute::<MutexGuard<'_, ()>, MutexGuard<'static, ()>>(guard) }
    }

    fn unmask(&self, state: Self::State) {
        drop(state);
    }

    fn fence(&self, cpu: u32) {
        drop(self.cpus[cpu as usize].lock().unwrap());
    }
}

/// A pool of `spans` spans for `cpus` CPUs, with eight accounts and three adapters.
pub fn config(spans: u32, cpus: u32) -> Config {
    Config::new(BASE, u64::from(spans * SPAN)).cpus(cpus).accounts(8).adapters(3).magazines(4)
}

/// The portable twin.
pub fn portable() -> Portable<Threads> {
    Portable::new(Threads)
}

/// Masked interrupts, on two CPUs.
pub fn masked() -> Masked<Masking> {
    Masked::new(Masking::new(2))
}

/// A pool whose words are loom's, and an adapter.
pub fn pool<P: Platform>(config: &Config, platform: P) -> (Arc<Pool<P>>, AdapterId) {
    let pool = Pool::modelled(config, platform).unwrap();
    let adapter = pool.add_adapter("disk").unwrap();
    (Arc::new(pool), adapter)
}

/// Runs `work` in a thread on a CPU, in the adapter's name.
pub fn on_cpu<P: Platform + Send + 'static, R: 'static>(
    cpu: u32,
    (pool, adapter): &(Arc<Pool<P>>, AdapterId),
    work: impl FnOnce(Caller<'_, P>) -> R + 'static,
) -> JoinHandle<R> {
    let (pool, adapter) = (Arc::clone(pool), *adapter);
    thread::spawn(move || {
        run_on(cpu);
        work(Caller { pool: &pool, adapter })
    })
}

/// Runs a model. Preemptions per execution: 2, or what `LOOM_PREEMPTIONS` says.
pub fn model(body: impl Fn() + Send + Sync + 'static) {
    let bound = std::env::var("LOOM_PREEMPTIONS").map_or(2, |bound| bound.parse().expect("a number"));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.max_branches = 1_000_000;
    builder.check(body);
}

/// The calls of one adapter.
pub struct Caller<'a, P: Platform> {
    pub pool: &'a Pool<P>,
    pub adapter: AdapterId,
}

impl<P: Platform> Caller<'_, P> {
    /// The address, or why there is none.
    pub fn try_allocate(&self, bytes: u32) -> Result<u64, Status> {
        self.try_allocate_tagged(TAG, bytes)
    }

    /// The same, with a tag.
    pub fn try_allocate_tagged(&self, tag: PoolTag, bytes: u32) -> Result<u64, Status> {
        let mut address = 0;
        match self.pool.allocate(self.adapter, bytes, tag, Some(&mut address)) {
            Status::SUCCESS => Ok(address),
            status => {
                assert_eq!(address, 0);
                Err(status)
            }
        }
    }

    /// The address. Nothing may stand in the way.
    pub fn allocate(&self, bytes: u32) -> u64 {
        self.try_allocate(bytes).unwrap()
    }

    /// Frees whatever the address is.
    pub fn try_free(&self, address: u64) -> Status {
        // SAFETY: nobody touches the range.
        unsafe { self.pool.free(self.adapter, address) }
    }

    /// Frees a live block.
    pub fn free(&self, address: u64) {
        assert_eq!(self.try_free(address), Status::SUCCESS);
    }

    /// Takes blocks until none is left.
    pub fn drain(&self, bytes: u32) -> Vec<u64> {
        std::iter::from_fn(|| self.try_allocate(bytes).ok()).collect()
    }
}

/// No two blocks of these sizes overlap.
fn disjoint(blocks: impl IntoIterator<Item = (u64, u32)>) {
    let mut blocks: Vec<_> = blocks.into_iter().collect();
    blocks.sort_unstable();
    for pair in blocks.windows(2) {
        assert!(pair[0].0 + u64::from(pair[0].1) <= pair[1].0, "{pair:x?} overlap");
    }
}

/// At quiescence: the counters name what lives. Then frees it, and takes the whole range in one piece, which
/// succeeds only if no block was lost and none was doubled.
pub fn settle<P: Platform>(pool: &Pool<P>, live: &[(AdapterId, u64)]) {
    run_on(0);
    let snapshot = pool.snapshot();
    assert_eq!(snapshot.changing, 0);
    let counted: u64 = snapshot.tags.iter().map(|row| row.totals.live).sum();
    assert_eq!(counted, live.len() as u64, "{live:x?} {snapshot:?}");
    for row in &snapshot.tags {
        assert_eq!(row.totals.allocs - row.totals.frees, row.totals.live, "{row:?}");
    }
    for &(adapter, address) in live {
        Caller { pool, adapter }.free(address);
    }
    let trimmed = pool.trim_with(|_, _| false).unwrap();
    let adapter = pool.add_adapter("settle").unwrap();
    let caller = Caller { pool, adapter };
    let all = caller.try_allocate(pool.range().1 as u32);
    let all = all.unwrap_or_else(|_| panic!("a block was lost: {trimmed:?} {:?}", pool.snapshot()));
    for cpu in 0..2 {
        run_on(cpu);
        assert!(caller.try_allocate(SMALL).is_err() && caller.try_allocate(LARGER).is_err(), "one too many");
    }
    caller.free(all);
}

/// The same for blocks of one adapter, which do not overlap.
pub fn settle_blocks<P: Platform>(caller: &Caller<'_, P>, blocks: Vec<u64>, bytes: u32) {
    disjoint(blocks.iter().map(|&block| (block, bytes)));
    let live: Vec<_> = blocks.into_iter().map(|block| (caller.adapter, block)).collect();
    settle(caller.pool, &live);
}
