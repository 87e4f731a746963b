//! Free's bound, counted: atomic operations, and those of them that x86-64 locks, in each situation that
//! docs/CONCURRENCY.md, section 4, knows. Needs `--cfg storport_pool_steps`, for the count.
#![cfg(storport_pool_steps)]

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use common::*;
use storport_pool::steps::{Step, install};
use storport_pool::{
    AdapterId, Commit, Host, Irql, MaskInterrupts, Masked, Platform, Pool, PoolOptions, Portable, Status,
};

/// Blocks of this size: 16 to a magazine.
const SIZE: u32 = 4096;
const FULL: usize = 16;
/// Other classes, for what goes on elsewhere.
const OTHERS: [u32; 12] = [16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 512];
/// The locked claim that the feature adds to the masked section.
const CHECKED: u32 = cfg!(feature = "checked") as u32;
/// CPUs with a cache; this number has none.
const CPUS: u32 = 2;

type Meanwhile = Rc<RefCell<dyn FnMut(Step)>>;

thread_local! {
    static CPU: Cell<u32> = const { Cell::new(0) };
    static MASKS: Cell<u32> = const { Cell::new(0) };
    /// Operations and locked ones of the call that is being measured.
    static COUNTS: Cell<Option<[u32; 2]>> = const { Cell::new(None) };
    /// What others do before each operation of that call, outside masked sections.
    static MEANWHILE: RefCell<Option<Meanwhile>> = const { RefCell::new(None) };
    /// What others do while a fence waits.
    static FENCE: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
}

struct Hooks;

impl Host for Hooks {
    fn cpu(&self) -> u32 {
        CPU.get()
    }

    fn irql(&self) -> Irql {
        Irql::DISPATCH
    }
}

// SAFETY: one thread, and nothing comes between in masked sections.
unsafe impl MaskInterrupts for Hooks {
    type State = ();

    fn mask(&self) {
        MASKS.set(MASKS.get() + 1);
    }

    fn unmask(&self, (): ()) {
        MASKS.set(MASKS.get() - 1);
    }

    fn fence(&self, _: u32) {
        if let Some(mut others) = FENCE.take() {
            others();
        }
    }
}

fn on_step(step: Step, _: usize) {
    let Some([operations, locked]) = COUNTS.get() else { return };
    if MASKS.get() == 0
        && let Some(meanwhile) = MEANWHILE.with_borrow(Clone::clone)
    {
        COUNTS.set(None);
        (meanwhile.borrow_mut())(step);
    }
    COUNTS.set(Some([operations + 1, locked + u32::from(step == Step::Rmw)]));
}

/// The two platforms, and what free takes at most, of a block that is the caller's: operations, and locked
/// ones. (One more is locked when others free the block and get it again meanwhile.)
trait Kind: 'static {
    type P: Platform + 'static;
    const BOUND: [u32; 2];
    const TWIN: bool;
    fn platform() -> Self::P;
}

struct OnMasked;
struct OnPortable;

impl Kind for OnMasked {
    type P = Masked<Hooks>;
    const BOUND: [u32; 2] = [31, 9];
    const TWIN: bool = false;
    fn platform() -> Self::P {
        Masked::new(Hooks)
    }
}

impl Kind for OnPortable {
    type P = Portable<Hooks>;
    const BOUND: [u32; 2] = [36, 12];
    const TWIN: bool = true;
    fn platform() -> Self::P {
        Portable::new(Hooks)
    }
}

struct Bench<K: Kind> {
    pool: Rc<Pool<K::P>>,
    id: AdapterId,
    most: Cell<[u32; 2]>,
}

/// Runs `work` on a CPU.
fn on<R>(cpu: u32, work: impl FnOnce() -> R) -> R {
    let before = CPU.replace(cpu);
    let result = work();
    CPU.set(before);
    result
}

impl<K: Kind> Bench<K> {
    fn new(magazines: u32) -> Self {
        install(on_step);
        CPU.set(0);
        let options = PoolOptions::new(16 * SPAN).cpus(CPUS).accounts(16).adapters(2).magazines(magazines);
        let pool = Rc::new(options.build_on(K::platform()).unwrap());
        let id = pool.add_adapter("disk").unwrap();
        Bench { pool, id, most: Cell::default() }
    }

    /// Blocks that another CPU allocated, so that this one's cache knows nothing of them.
    fn blocks(&self, count: usize) -> Vec<u64> {
        on(CPUS, || (0..count).map(|_| alloc(&self.pool, self.id, SIZE).unwrap()).collect())
    }

    /// Frees, counted.
    fn count(&self, address: u64, want: Status) -> [u32; 2] {
        COUNTS.set(Some([0; 2]));
        let status = free(&self.pool, self.id, address);
        let counts = COUNTS.take().unwrap();
        assert_eq!(status, want);
        let most = self.most.get();
        self.most.set([most[0].max(counts[0]), most[1].max(counts[1])]);
        counts
    }

    /// Frees, counted; so many operations must be locked.
    fn expect(&self, situation: &str, address: u64, masked: u32, twin: u32) {
        let [operations, locked] = self.count(address, Status::SUCCESS);
        println!("{situation}: {operations} operations, {locked} locked");
        assert_eq!(locked, if K::TWIN { twin } else { masked + CHECKED }, "{situation}");
    }

    fn meanwhile(&self, others: impl FnMut(Step) + 'static) {
        MEANWHILE.set(Some(Rc::new(RefCell::new(others))));
    }
}

impl<K: Kind> Drop for Bench<K> {
    fn drop(&mut self) {
        COUNTS.set(None);
        MEANWHILE.set(None);
    }
}

/// Each situation by itself.
fn situations<K: Kind>() {
    let bench = Bench::<K>::new(0);
    let blocks = bench.blocks(4 * FULL + 1);
    let mut next = blocks.iter().copied();
    let mut next = || next.next().unwrap();
    bench.expect("no magazine loaded", next(), 1, 5);
    for _ in 1..FULL {
        bench.expect("room", next(), 0, 2);
    }
    bench.expect("full, no spare, no empty one", next(), 2, 6);
    for _ in 1..FULL {
        bench.expect("room", next(), 0, 2);
    }
    bench.expect("full, full spare", next(), 2, 6);
    // The spare becomes an empty one when allocate takes the loaded one's last block.
    let taken: Vec<u64> = (0..2 * FULL + 1).map(|_| alloc(&bench.pool, bench.id, SIZE).unwrap()).collect();
    taken.iter().for_each(|&block| must_free(&bench.pool, bench.id, block));
    // No section claims there.
    on(CPUS, || bench.expect("a CPU without a cache", next(), 3 - CHECKED, 3));
    let large = alloc(&bench.pool, bench.id, 100_000).unwrap();
    let [operations, locked] = bench.count(large, Status::SUCCESS);
    println!("large: {operations} operations, {locked} locked");
    assert_eq!(locked, 2);
    for (what, address) in [("double", large), ("wild", large + 5 * SPAN), ("interior", next() + 16)] {
        let [operations, locked] = bench.count(address, Status::INVALID_PARAMETER);
        println!("{what}: {operations} operations, {locked} locked");
        assert_eq!(locked, 1, "the count of violations");
    }
}

/// With the arena's one magazine in use, blocks stay loose.
fn no_magazines<K: Kind>() {
    let bench = Bench::<K>::new(1);
    let blocks = bench.blocks(FULL + 3);
    for &block in &blocks[..FULL] {
        must_free(&bench.pool, bench.id, block);
    }
    bench.expect("full, no magazine left", blocks[FULL], 2, 5);
    on(1, || bench.expect("none loaded, no magazine left", blocks[FULL + 1], 2, 5));
}

/// The cursor is stopped by a sweep (masked), or claimed by what was interrupted (twin).
fn cursor_of_others<K: Kind>() {
    let bench = Rc::new(Bench::<K>::new(0));
    let blocks = bench.blocks(2 * FULL);
    let count = |bench: &Bench<K>, block| {
        let [_, locked] = bench.count(block, Status::SUCCESS);
        locked
    };
    must_free(&bench.pool, bench.id, blocks[0]);
    if !K::TWIN {
        // A slab that is all free, so that the trim wants the blocks of this class.
        blocks[FULL..].iter().for_each(|&block| must_free(&bench.pool, bench.id, block));
        let (inner, block) = (bench.clone(), blocks[1]);
        FENCE.set(Some(Box::new(move || {
            on(0, || inner.expect("stopped cursor", block, 2, 0));
        })));
        on(1, || bench.pool.trim().unwrap());
        assert!(FENCE.take().is_none(), "nobody fenced");
        return;
    }
    // Before each of the last operations of a free, another.
    let mut most = 0;
    for (n, pair) in (4..9).zip(blocks[2..].chunks_exact(2)) {
        let (inner, block, mut left) = (bench.clone(), pair[0], n);
        let found = Rc::new(Cell::new(0));
        let seen = found.clone();
        bench.meanwhile(move |_| {
            if left == 0 {
                MEANWHILE.set(None);
                seen.set(count(&inner, block));
            }
            left -= 1;
        });
        count(&bench, pair[1]);
        MEANWHILE.set(None);
        most = most.max(found.get());
    }
    println!("claimed cursor: {most} locked");
    // Claim, two pushes, and the two bits.
    assert_eq!(most, 5);
}

/// Takes a magazine from the stock of empties at each turn: another CPU's first one of a class.
struct Churn<K: Kind>(Rc<Pool<K::P>>, AdapterId, std::slice::Iter<'static, u32>);

impl<K: Kind> Churn<K> {
    fn new(bench: &Bench<K>) -> Self {
        let (pool, id) = (bench.pool.clone(), bench.id);
        // A trim puts what these classes have loaded into the stock of empties.
        let others = OTHERS.map(|bytes| on(1, || alloc(&pool, id, bytes).unwrap()));
        others.into_iter().for_each(|block| on(1, || must_free(&pool, id, block)));
        assert_eq!(pool.trim().unwrap().slabs, OTHERS.len() as u64);
        Churn(pool, id, OTHERS.iter())
    }

    fn turn(&mut self) {
        let bytes = *self.2.next().expect("a class for each turn");
        on(1, || alloc(&self.0, self.1, bytes).unwrap());
    }
}

/// Everything at once; `races` claims are lost to others that free the block, and get it again before the next look.
fn worst<K: Kind>(races: u32, want: Status) -> [u32; 2] {
    let bench = Bench::<K>::new(0);
    let mut churn = Churn::<K>::new(&bench);
    let mut blocks = bench.blocks(6 * FULL);
    let (pool, id) = (bench.pool.clone(), bench.id);
    let get = move |bytes| alloc(&pool, id, bytes).unwrap();
    let pool = bench.pool.clone();
    let put = move |block| must_free(&pool, id, block);
    // The loaded magazine full, an empty spare, a full one in the depot.
    blocks.drain(..3 * FULL).for_each(&put);
    let mut some: Vec<u64> = (0..=FULL).map(|_| get(SIZE)).collect();
    put(some.pop().unwrap());
    blocks.append(&mut some);
    let address = blocks.pop().unwrap();
    let mut locked = 0;
    // Which locked operation is which: the claims, the twin's pushes, and then the same for both.
    let first = match (K::TWIN, want == Status::SUCCESS) {
        _ if want != Status::SUCCESS => u32::MAX - 32,
        (true, _) if races == 0 => 4,
        (true, _) => races + 3,
        (false, _) => races + 2,
    };
    let install = u32::from(K::TWIN);
    let mut freed = false;
    bench.meanwhile(move |step| {
        locked += u32::from(step == Step::Rmw);
        if std::mem::take(&mut freed) {
            // The next look finds the block live again.
            on(0, || {
                assert_eq!(get(SIZE), address);
                put(get(SIZE));
            });
        }
        if step != Step::Rmw {
            return;
        }
        if locked <= races {
            on(0, || put(address));
            freed = true;
        }
        // The slow way finds a CPU that has a cache.
        CPU.set(0);
        if locked == first {
            // The spare turns out full, while the loaded magazine is the same again.
            let some: Vec<u64> = (0..=FULL).map(|_| get(SIZE)).collect();
            some.into_iter().chain(blocks.drain(..FULL)).for_each(&put);
            churn.turn();
        } else if (first + 2..first + 5).contains(&locked) {
            churn.turn();
        } else if locked == first + 6 + install {
            // The spare's place is taken.
            blocks.drain(..FULL).for_each(&put);
        }
    });
    // The masked commit's fast path locks nothing; where the CPU has no cache it misses.
    CPU.set(if K::TWIN { 0 } else { CPUS });
    let [operations, locked] = bench.count(address, want);
    println!("worst, {races} claims lost, {want}: {operations} operations, {locked} locked");
    [operations, locked]
}

fn all_at_once<K: Kind>() {
    assert_eq!(worst::<K>(0, Status::SUCCESS), K::BOUND);
    let tries = if K::TWIN { 3 } else { 2 };
    // A claim that is lost leads to the next try; the twin's second push is then its first.
    assert_eq!(worst::<K>(tries - 1, Status::SUCCESS), [K::BOUND[0] + 5, K::BOUND[1] + 1]);
    // Each claim is lost, and the violation counted.
    assert_eq!(worst::<K>(tries, Status::INVALID_PARAMETER)[1], tries + 1);
}

/// Whether the child of this process comes to the end of `work`.
#[cfg(target_os = "linux")]
fn in_a_child(work: impl FnOnce()) -> bool {
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};
    const WELL: i32 = 42;
    // SAFETY: the child works on the copy of this thread alone, and ends.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            // SAFETY: ends the process without running anything of the parent's.
            unsafe { nix::libc::_exit(if ended.is_ok() { WELL } else { 1 }) }
        }
        ForkResult::Parent { child } => waitpid(child, None).unwrap() == WaitStatus::Exited(child, WELL),
    }
}

/// The first free in a forked child, whose claims are of a new generation, takes no more than others.
#[cfg(target_os = "linux")]
fn forked<K: Kind>() {
    let bench = Bench::<K>::new(0);
    let blocks = bench.blocks(6);
    bench.expect("no magazine loaded", blocks[0], 1, 5);
    bench.expect("room", blocks[1], 0, 2);
    // Says nothing: another thread may have held the output's lock at the fork.
    let room = |block| {
        let [_, locked] = bench.count(block, Status::SUCCESS);
        assert_eq!(locked, if K::TWIN { 2 } else { CHECKED });
    };
    assert!(in_a_child(|| {
        room(blocks[2]);
        room(blocks[3]);
        assert!(in_a_child(|| room(blocks[4])));
    }));
}

/// A thread's first call of the twin on std takes its slot: one locked operation more.
#[cfg(target_os = "linux")]
#[test]
fn a_threads_first_free() {
    install(on_step);
    let pool = PoolOptions::new(16 * SPAN).cpus(1).commit(Commit::Portable).build().unwrap();
    let id = pool.add_adapter("disk").unwrap();
    let blocks: Vec<u64> = (0..8).map(|_| alloc(&pool, id, SIZE).unwrap()).collect();
    let locked = |block| {
        COUNTS.set(Some([0; 2]));
        must_free(&pool, id, block);
        COUNTS.take().unwrap()[1]
    };
    assert_eq!(locked(blocks[0]), 2);
    std::thread::scope(|scope| {
        let frees = scope.spawn(|| {
            assert_eq!([locked(blocks[1]), locked(blocks[2])], [3, 2]);
            in_a_child(|| assert_eq!([locked(blocks[3]), locked(blocks[4])], [2, 2]))
        });
        assert!(frees.join().unwrap());
        // Its child makes the thread's first call.
        assert!(scope.spawn(|| in_a_child(|| assert_eq!(locked(blocks[5]), 3))).join().unwrap());
    });
}

macro_rules! on_both {
    ($($name:ident),*) => {
        mod masked { $(#[test] fn $name() { super::$name::<super::OnMasked>() })* }
        mod portable { $(#[test] fn $name() { super::$name::<super::OnPortable>() })* }
    };
}

on_both!(situations, no_magazines, cursor_of_others, all_at_once, forked);
