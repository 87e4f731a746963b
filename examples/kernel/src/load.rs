//! The load: on each CPU a thread allocates and frees at levels 0, 1 and 2, and is interrupted without pause by a timer
//! whose handler, and the deferred procedures that it queues on other CPUs, do the same. Threads trim meanwhile.
//!
//! For another kernel: `tick` shows the ways from an interrupt to the pool. Above DISPATCH both routines refuse, so a
//! handler queues a procedure. The second half of `tick` calls the pool at the level that it interrupted. Windows has
//! no such handler. It is there since it comes in the midst of the very same calls.

use core::cell::UnsafeCell;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use storport_pool::{AdapterId, Irql, Status, tag};

use crate::cpu::MOST_CPUS;
use crate::dpc::Dpc;
use crate::ledger::{Held, Kernel, Kind, add, allocate, free};
use crate::memory::KERNEL;
use crate::{apic, cpu, flags, irql, must, quiet, removal, report, verdict};

/// How much longer the timer waits: 1 suits a release build whose ticks are instructions. A debug build takes twenty
/// where that takes one.
static PACE: AtomicU32 = AtomicU32::new(1);

/// The adapter that stays.
static DISK: AtomicU64 = AtomicU64::new(0);
/// How many interruptions are wanted.
static WANTED: AtomicU64 = AtomicU64::new(0);
/// Trims that were made, and those refused since another one was under way.
pub static TRIMS: AtomicU64 = AtomicU64::new(0);
pub static BUSY: AtomicU64 = AtomicU64::new(0);

/// What a CPU's thread, handler and procedures have.
struct Own<const N: usize>(UnsafeCell<[Option<Held>; N]>);

// SAFETY: each entry of the tables below is used on its own CPU alone, by one at a time, as is said there.
unsafe impl<const N: usize> Sync for Own<N> {}

/// Used by the CPU's thread.
static THREADS: [Own<48>; MOST_CPUS] = [const { Own::nothing() }; MOST_CPUS];
/// Used by the CPU's timer handler, and after the last one by the thread.
static HANDLERS: [Own<16>; MOST_CPUS] = [const { Own::nothing() }; MOST_CPUS];
/// What goes to another CPU next. Used with interrupts off.
static LEAVING: [Own<8>; MOST_CPUS] = [const { Own::nothing() }; MOST_CPUS];

impl<const N: usize> Own<N> {
    const fn nothing() -> Own<N> {
        Own(UnsafeCell::new([const { None }; N]))
    }

    /// # Safety
    /// As each table says; and nobody else's use of it is under way.
    #[allow(clippy::mut_from_ref, reason = "the caller promises that nobody else has it")]
    unsafe fn table(&self) -> &mut [Option<Held>; N] {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.0.get() }
    }
}

/// A block on its way to a procedure on another CPU.
struct Errand {
    dpc: Dpc,
    /// Won by a handler, given back by the procedure.
    busy: AtomicBool,
    held: UnsafeCell<Option<Held>>,
}

// SAFETY: the block belongs to whoever won `busy`, then to the procedure.
unsafe impl Sync for Errand {}

static ERRANDS: [[Errand; 8]; MOST_CPUS] = [const {
    [const { Errand { dpc: Dpc::new(deliver), busy: AtomicBool::new(false), held: UnsafeCell::new(None) } };
        8]
}; MOST_CPUS];

/// A sequence of numbers for each CPU's thread, handler and procedures.
static RANDOM: [[AtomicU64; 3]; MOST_CPUS] = [const { [const { AtomicU64::new(0) }; 3] }; MOST_CPUS];

fn random(kind: Kind) -> u64 {
    let cpu = cpu::number() as usize;
    let word = &RANDOM[cpu][kind as usize];
    // ORDERING: Relaxed, twice - one user.
    let mut x = word.load(Ordering::Relaxed);
    if x == 0 {
        x = 0x9E37_79B9_7F4A_7C15 ^ (cpu as u64) << 40 ^ (kind as u64) << 50;
    }
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    word.store(x, Ordering::Relaxed);
    x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 8
}

/// Mostly small blocks, some of pages, seldom a run.
fn size(random: u64) -> u32 {
    let (sort, of) = (random % 512, (random >> 16) as u32);
    match sort {
        0 => 65_536 + of % 300_000,
        1..16 => 4097 + of % 36_000,
        16..80 => 1024 + of % 3073,
        _ => 16 + of % 1008,
    }
}

/// Frees what lies in a place of the table, or allocates if nothing does.
fn step(pool: &Kernel, table: &mut [Option<Held>], kind: Kind) {
    let random = random(kind);
    let place = &mut table[random as usize % table.len()];
    *place = match place.take() {
        Some(held) => free(pool, held).err(),
        None if random >> 20 & 3 == 0 => {
            let (adapter, life) = removal::current();
            allocate(pool, Kind::Leaving, adapter, life, size(random >> 24))
        }
        None => allocate(pool, kind, disk(), 0, size(random >> 24)),
    };
}

fn disk() -> AdapterId {
    // ORDERING: Relaxed - before the others have work.
    AdapterId::from_word(DISK.load(Ordering::Relaxed) as u32)
}

/// Prepares the load. By the first CPU, before the others have work.
pub fn prepare(pool: &Kernel, cpus: u32, interruptions: u64, pace: u32) {
    let Ok(adapter) = pool.add_adapter("disk") else { verdict::fail(format_args!("no adapter")) };
    // ORDERING: Relaxed, three times - the others have no work yet.
    PACE.store(pace, Ordering::Relaxed);
    DISK.store(adapter.word().into(), Ordering::Relaxed);
    WANTED.store(interruptions, Ordering::Relaxed);
    quiet::set_cpus(cpus);
    removal::begin(pool);
}

/// A CPU's part of the load, from its begin until all that this CPU has is freed.
pub fn run() {
    let Some(pool) = KERNEL.get() else { verdict::fail(format_args!("there is no pool")) };
    let me = cpu::number() as usize;
    // SAFETY: the thread's, and this is the thread.
    let table = unsafe { THREADS[me].table() };
    apic::arm(1000);
    let mut turns = 0;
    while !quiet::stopped() {
        for level in [Irql::PASSIVE, Irql::APC, Irql::DISPATCH] {
            let found = irql::raise(level);
            for _ in 0..8 {
                step(pool, table, Kind::Thread);
            }
            if let Some(held) = allocate(pool, Kind::Thread, disk(), 0, size(random(Kind::Thread))) {
                send_away(pool, held);
            }
            irql::lower(found);
        }
        if random(Kind::Thread).is_multiple_of(16) {
            let trimmed = pool.trim_with(|_, _| true).is_ok();
            add(if trimmed { &TRIMS } else { &BUSY }, 1);
        }
        if me != 0 {
            quiet::park();
            continue;
        }
        let done = report::interruptions();
        // ORDERING: Relaxed - as in `disk`.
        let wanted = WANTED.load(Ordering::Relaxed);
        if done >= (turns + 1) * wanted.div_ceil(40) {
            turns += 1;
            removal::turn(pool);
        }
        if done >= wanted {
            quiet::stop();
        }
    }
    apic::arm(0);
    quiet::meet();
    // SAFETY: no handler or procedure runs any more; the flag is on, but nobody else uses the table.
    let (handler, leaving) = unsafe { (HANDLERS[me].table(), LEAVING[me].table()) };
    for held in table.iter_mut().chain(handler).chain(leaving).filter_map(Option::take) {
        must!(free(pool, held).is_ok(), "a block's adapter is still being removed");
    }
}

/// Puts a block where the next timer interrupt finds it, to be freed on another CPU; frees it here if there is no room.
fn send_away(pool: &Kernel, held: Held) {
    let were_on = flags::off();
    // SAFETY: interrupts are off.
    let table = unsafe { LEAVING[cpu::number() as usize].table() };
    let left = match table.iter_mut().find(|place| place.is_none()) {
        Some(place) => {
            *place = Some(held);
            None
        }
        None => Some(held),
    };
    flags::restore(were_on);
    if let Some(held) = left {
        must!(free(pool, held).is_ok(), "the disk is being removed");
    }
}

/// The timer's interrupt, at CLOCK; `address` was interrupted, at level `found`.
pub fn tick(address: u64, found: Irql) {
    if quiet::stopped() {
        return;
    }
    let me = cpu::number();
    let random = random(Kind::Handler);
    if let Some(pool) = KERNEL.get().filter(|_| !quiet::asked()) {
        // SAFETY: the handler's, and this is the handler. It does not interrupt itself.
        let table = unsafe { HANDLERS[me as usize].table() };
        if random.is_multiple_of(16) {
            try_above_dispatch(pool, table);
        }
        send_errands(me, random);
        // The second half: at the level that was interrupted, and at times with interrupts off, so that the fence of an
        // allocation there must answer the fences of others by itself.
        irql::lower(found);
        let off = random >> 4 & 7 == 0;
        if off {
            flags::off();
        }
        step(pool, table, Kind::Handler);
        step(pool, table, Kind::Handler);
        flags::restore(off);
        irql::raise(Irql::CLOCK);
        report::interrupted(me, found, address);
    }
    // Mostly soon, sometimes late: else the threads would get nowhere. Ticks are the instructions of all CPUs together,
    // where they count instructions.
    // ORDERING: Relaxed - as in `disk`.
    let pace = PACE.load(Ordering::Relaxed);
    let ticks = if random >> 20 & 7 == 0 { 8192 } else { 256 };
    apic::arm((50 + (random >> 24) as u32 % ticks) * quiet::cpus() * pace);
}

/// Both routines must refuse, and the block stays as it is.
fn try_above_dispatch(pool: &Kernel, table: &[Option<Held>]) {
    let mut address = 1;
    let status = pool.allocate(disk(), 64, tag!("High"), Some(&mut address));
    must!(status == Status::INVALID_IRQL && address == 0, "allocate at {}: {status}", irql::current());
    if let Some(held) = table.iter().flatten().next() {
        // SAFETY: a refused free leaves the block ours.
        let status = unsafe { pool.free(disk(), held.address) };
        must!(status == Status::INVALID_IRQL, "free at {}: {status}", irql::current());
        held.check();
    }
}

/// Queues a procedure on another CPU for each block that is to go there.
fn send_errands(me: u32, random: u64) {
    let cpus = quiet::cpus();
    let other = (me + 1 + (random >> 8) as u32 % (cpus - 1).max(1)) % cpus;
    let were_on = flags::off();
    // SAFETY: interrupts are off.
    let table = unsafe { LEAVING[me as usize].table() };
    for place in table.iter_mut().filter(|place| place.is_some()) {
        // ORDERING: Acquire - pairs with the Release in `deliver`.
        let Some(n) =
            ERRANDS[me as usize].iter().position(|errand| !errand.busy.swap(true, Ordering::Acquire))
        else {
            break;
        };
        let errand = &ERRANDS[me as usize][n];
        // SAFETY: we won it.
        unsafe { *errand.held.get() = place.take() };
        must!(errand.dpc.queue(other, u64::from(me) << 8 | n as u64), "a procedure is queued that has run");
    }
    flags::restore(were_on);
}

/// The deferred procedure: frees the block that another CPU sent, at DISPATCH; and sends one on, every other time.
fn deliver(which: u64) {
    let errand = &ERRANDS[(which >> 8) as usize][(which & 0xFF) as usize];
    // SAFETY: the handler queued us, and waits for `busy`.
    let held = unsafe { (*errand.held.get()).take() };
    let (Some(pool), Some(held)) = (KERNEL.get(), held) else {
        verdict::fail(format_args!("a procedure ran for nothing"))
    };
    must!(irql::current() == Irql::DISPATCH, "a procedure runs at {}", irql::current());
    must!(free(pool, held).is_ok(), "the disk is being removed");
    let random = random(Kind::Deferred);
    if random.is_multiple_of(2)
        && let Some(held) = allocate(pool, Kind::Deferred, disk(), 0, size(random >> 8))
    {
        send_away(pool, held);
    }
    // ORDERING: Release - the block was taken, and all is done; pairs with the Acquire in `send_errands` and
    // `wait_for_errands`.
    errand.busy.store(false, Ordering::Release);
}

/// Returns when no block is on its way. While no handler sends one.
pub fn wait_for_errands() {
    for errand in ERRANDS.iter().flatten() {
        // ORDERING: Acquire - pairs with the Release in `deliver`.
        while errand.busy.load(Ordering::Acquire) {
            spin_loop();
        }
    }
}
