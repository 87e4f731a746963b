//! What the integration tests share: the platforms they run over, and short spellings.
#![allow(dead_code, reason = "each test binary uses its own part of it")]

pub mod blocks;
pub mod exercise;
#[cfg(storport_pool_steps)]
pub mod overtaken;
pub mod rounds;
pub mod spans;

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use storport_pool::{
    AdapterId, Commit, Config, Host, Irql, MaskInterrupts, Masked, Native, Platform, Pool, PoolOptions,
    PoolTag, Portable, Snapshot, Status, Violation, tag,
};

#[allow(unused_imports, reason = "each test binary uses its own part of it")]
pub use rounds::rounds;
#[allow(unused_imports, reason = "each test binary uses its own part of it")]
pub use spans::{LARGE_POOL, Spans, fitting, max_slab, occupied, per_slab, room, span_of};

pub const SPAN: u64 = 64 << 10;
pub const TAG: PoolTag = tag!("Test");

/// The largest block of a slab in large pools: two fill a span.
pub const MAX_SLAB: u32 = SPAN as u32 / 2;

/// The rule of the block sizes: up to a page the multiples of 16 of which more fit a page than of the next one; above,
/// the multiples of a page of which more fit a span. The first `N`, and how many there are.
const fn sizes<const N: usize>() -> ([u32; N], usize) {
    let (mut sizes, mut count, mut size) = ([0; N], 0, 16);
    while size <= MAX_SLAB {
        let whole = if size <= 4096 { 4096 } else { SPAN as u32 };
        let next = size + if size < 4096 { 16 } else { 4096 };
        if size == 4096 || whole / size > whole / next {
            if count < N {
                sizes[count] = size;
            }
            count += 1;
        }
        size = next;
    }
    (sizes, count)
}

/// The block sizes that the documentation promises, by their rule. (tests/contract.rs compares them with the pool's.)
pub const SIZES: [u32; sizes::<0>().1] = sizes().0;

/// A pool of which so many times 64 KiB are free, and where these begin.
pub struct Room<W: Way> {
    pub pool: Pool<W::P>,
    pub id: AdapterId,
    pub base: u64,
}

/// Two such pools: a small one, whose spans are pages, and one of which a run takes all else.
pub fn rooms<W: Way>(spans: u64, options: impl Fn(PoolOptions) -> PoolOptions) -> [Room<W>; 2] {
    [spans * SPAN, LARGE_POOL].map(|bytes| {
        let pool = W::build(options(PoolOptions::new(bytes)));
        let id = pool.add_adapter("disk").unwrap();
        let rest = bytes - spans * SPAN;
        if rest > 0 {
            let run = alloc(&pool, id, rest as u32).unwrap();
            assert_eq!(run, pool.range().0);
        }
        let base = pool.range().0 + rest;
        Room { pool, id, base }
    })
}

pub fn alloc<P: Platform>(pool: &Pool<P>, id: AdapterId, bytes: u32) -> Result<u64, Status> {
    alloc_tag(pool, id, bytes, TAG)
}

/// Allocates, and checks that `out` is 0 exactly when that failed.
pub fn alloc_tag<P: Platform>(
    pool: &Pool<P>,
    id: AdapterId,
    bytes: u32,
    tag: PoolTag,
) -> Result<u64, Status> {
    let mut out = 0xDEAD;
    let status = pool.allocate(id, bytes, tag, Some(&mut out));
    assert_eq!(status == Status::SUCCESS, out != 0, "{status}, out {out:#x}");
    status.ok().map(|()| out)
}

pub fn free<P: Platform>(pool: &Pool<P>, id: AdapterId, address: u64) -> Status {
    // SAFETY: the tests use no block that they freed, and blocks of pools that they do not touch.
    unsafe { pool.free(id, address) }
}

pub fn must_free<P: Platform>(pool: &Pool<P>, id: AdapterId, address: u64) {
    assert_eq!(free(pool, id, address), Status::SUCCESS, "{address:#x}");
}

/// Allocates blocks of this size until there are no more.
pub fn fill<P: Platform>(pool: &Pool<P>, id: AdapterId, bytes: u32, into: &mut Vec<u64>) {
    loop {
        match alloc(pool, id, bytes) {
            Ok(address) => into.push(address),
            Err(status) => {
                assert_eq!(status, Status::INSUFFICIENT_RESOURCES);
                return;
            }
        }
    }
}

pub fn totals(snapshot: &Snapshot) -> (u64, u64, u64) {
    let sum =
        |pick: fn(&storport_pool::Totals) -> u64| snapshot.tags.iter().map(|row| pick(&row.totals)).sum();
    (sum(|t| t.allocs), sum(|t| t.frees), sum(|t| t.live))
}

/// The table of tags that asks for no memory says what a snapshot at rest says.
pub fn check_tags<P: Platform>(pool: &Pool<P>, snapshot: &Snapshot) {
    let mut rows = snapshot.tags.iter();
    pool.for_each_tag(|row| {
        let want = rows.next().expect("a row more than in the snapshot");
        let totals = &want.totals;
        assert_eq!((row.tag, row.allocs, row.frees), (want.tag, totals.allocs, totals.frees));
        let live = (totals.live, totals.bytes_requested, totals.bytes_occupied);
        assert_eq!((row.live, row.bytes_requested, row.bytes_occupied), live, "{}", row.tag);
    });
    assert_eq!(rows.next(), None);
}

/// Everything in a snapshot but the number of violations.
pub fn picture<P: Platform>(pool: &Pool<P>) -> String {
    let mut snapshot = pool.snapshot();
    snapshot.violations = 0;
    format!("{snapshot:?}")
}

/// Collects what the hook of a pool hears.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<Violation>>>);

impl Heard {
    pub fn of<P: Platform>(pool: &Pool<P>) -> Heard {
        let heard = Heard::default();
        let log = heard.clone();
        pool.on_violation(move |violation| log.0.lock().unwrap().push(*violation));
        heard
    }

    pub fn take(&self) -> Vec<Violation> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    pub fn one(&self) -> Violation {
        let all = self.take();
        assert_eq!(all.len(), 1, "{all:?}");
        all[0]
    }
}

/// Zeroed memory for a pool's metadata.
pub struct Memory {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory belongs to the value; nothing about it is tied to a thread.
unsafe impl Send for Memory {}

impl Memory {
    pub fn new(config: &Config) -> Memory {
        let layout = Layout::from_size_align(config.metadata_bytes().unwrap(), 4096).unwrap();
        // SAFETY: the layout has a size.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap();
        Memory { start, layout }
    }

    pub fn bytes(&self) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.start, self.layout.size())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// Zeroed metadata that is never given back.
pub fn metadata(config: &Config) -> NonNull<[u8]> {
    ManuallyDrop::new(Memory::new(config)).bytes()
}

// A simulated host: CPU number and IRQL belong to the thread, so tests run side by side.
thread_local! {
    static CPU: Cell<u32> = const { Cell::new(0) };
    static LEVEL: Cell<u8> = const { Cell::new(0) };
}

const LOCKS: usize = 16;

/// CPU number and IRQL from the thread; masking is a lock to each CPU number.
pub struct Sim {
    locks: [AtomicBool; LOCKS],
}

impl Sim {
    pub fn new() -> Sim {
        Sim { locks: [const { AtomicBool::new(false) }; LOCKS] }
    }

    fn lock(&self, cpu: u32) {
        let lock = &self.locks[cpu as usize % LOCKS];
        while lock.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            std::thread::yield_now();
        }
    }

    fn unlock(&self, cpu: u32) {
        self.locks[cpu as usize % LOCKS].store(false, Ordering::Release);
    }
}

impl Host for Sim {
    fn cpu(&self) -> u32 {
        CPU.get()
    }

    fn irql(&self) -> Irql {
        Irql::new(LEVEL.get()).unwrap()
    }
}

// SAFETY: threads with one CPU number exclude each other from mask to unmask, and no test changes
// a thread's number in between; `fence` gets the lock after every section that began before.
unsafe impl MaskInterrupts for Sim {
    type State = u32;

    fn mask(&self) -> u32 {
        let cpu = CPU.get();
        self.lock(cpu);
        cpu
    }

    fn unmask(&self, cpu: u32) {
        self.unlock(cpu);
    }

    fn fence(&self, cpu: u32) {
        self.lock(cpu);
        self.unlock(cpu);
    }
}

/// A way of running a pool.
pub trait Way: 'static {
    type P: Platform + Send + Sync + 'static;
    fn platform() -> Self::P;
    fn build(options: PoolOptions) -> Pool<Self::P>;
    /// Makes the calling thread run on a CPU, as far as that can be had.
    fn go_to_cpu(cpu: u32);
    fn at<R>(irql: Irql, work: impl FnOnce() -> R) -> R;

    fn over(config: &Config) -> Pool<Self::P> {
        // SAFETY: fresh memory that nobody else has; the tests own the range or do not touch it.
        unsafe { Pool::new_in(config, metadata(config), Self::platform()) }.unwrap()
    }

    /// Runs `work` on another thread, on this CPU.
    fn on_cpu<R: Send>(cpu: u32, work: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| {
            let run = scope.spawn(|| {
                Self::go_to_cpu(cpu);
                work()
            });
            run.join().unwrap()
        })
    }
}

/// The CPUs that the test was started on.
#[cfg(target_os = "linux")]
pub fn pin(cpu: u32) {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::unistd::Pid;
    static ALLOWED: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    let allowed = ALLOWED.get_or_init(|| {
        // The first thread's: others may be pinned already.
        let set = sched_getaffinity(Pid::this()).unwrap();
        (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap()).collect()
    });
    let mut set = CpuSet::new();
    set.set(allowed[cpu as usize % allowed.len()]).unwrap();
    sched_setaffinity(Pid::from_raw(0), &set).unwrap();
}

#[cfg(not(target_os = "linux"))]
pub fn pin(_: u32) {}

/// Restartable sequences, where they are to be had.
pub struct Rseq;
/// The native platform's portable twin.
pub struct Twin;
/// The portable twin on a simulated host.
pub struct SimPortable;
/// Masked interrupts on a simulated host.
pub struct SimMasked;

macro_rules! native {
    ($way:ident, $commit:ident) => {
        impl Way for $way {
            type P = Native;

            fn platform() -> Native {
                Native::new(Commit::$commit)
            }

            fn build(options: PoolOptions) -> Pool<Native> {
                options.build_on(Self::platform()).unwrap()
            }

            fn go_to_cpu(cpu: u32) {
                pin(cpu);
            }

            fn at<R>(irql: Irql, work: impl FnOnce() -> R) -> R {
                let _guard = Irql::raise(irql);
                work()
            }
        }
    };
}

native!(Rseq, Auto);
native!(Twin, Portable);

macro_rules! simulated {
    ($way:ident, $platform:ident) => {
        impl Way for $way {
            type P = $platform<Sim>;

            fn platform() -> $platform<Sim> {
                $platform::new(Sim::new())
            }

            fn build(options: PoolOptions) -> Pool<$platform<Sim>> {
                options.build_on(Self::platform()).unwrap()
            }

            fn go_to_cpu(cpu: u32) {
                CPU.set(cpu);
            }

            fn at<R>(irql: Irql, work: impl FnOnce() -> R) -> R {
                let before = LEVEL.replace(irql.level());
                let result = work();
                LEVEL.set(before);
                result
            }
        }
    };
}

simulated!(SimPortable, Portable);
simulated!(SimMasked, Masked);

/// Makes tests of generic functions `fn name<W: Way>()`, one for each way.
#[macro_export]
macro_rules! on_every_platform {
    ($($name:ident),* $(,)?) => {
        mod rseq { $(#[test] fn $name() { super::$name::<super::common::Rseq>() })* }
        mod twin { $(#[test] fn $name() { super::$name::<super::common::Twin>() })* }
        mod portable { $(#[test] fn $name() { super::$name::<super::common::SimPortable>() })* }
        mod masked { $(#[test] fn $name() { super::$name::<super::common::SimMasked>() })* }
    };
}
