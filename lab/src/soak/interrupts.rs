//! A signal that interrupts each worker, whose handler uses the pool too, at DISPATCH and above.

use std::cell::Cell;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigEvent, SigHandler, SigSet, SigevNotify, Signal, sigaction};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use storport_pool::{AdapterId, Irql, Native, Pool, Status, tag};

const SIZES: [u32; 6] = [64, 208, 4096, 80, 20_000, 300_000];

static POOL: AtomicPtr<Pool<Native>> = AtomicPtr::new(std::ptr::null_mut());
static ADAPTER: AtomicU64 = AtomicU64::new(0);
pub(super) static ALLOCS: AtomicU64 = AtomicU64::new(0);
pub(super) static FREES: AtomicU64 = AtomicU64::new(0);
pub(super) static REFUSED: AtomicU64 = AtomicU64::new(0);
/// Answers that were wrong.
pub(super) static WRONG: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// What the thread's handler keeps until it comes again. Constant and without destructor: a handler may
    /// touch it.
    static KEPT: Cell<[u64; 8]> = const { Cell::new([0; 8]) };
    static TURN: Cell<usize> = const { Cell::new(0) };
}

extern "C" fn interrupt(_: i32) {
    // SAFETY: the pool outlives the timers.
    let Some(pool) = (unsafe { POOL.load(Ordering::Acquire).as_ref() }) else { return };
    let id = AdapterId::from_raw(ADAPTER.load(Ordering::Relaxed) as u32);
    let turn = TURN.get();
    TURN.set(turn + 1);
    let mut kept = KEPT.get();
    let slot = &mut kept[turn % 8];
    let level = Irql::raise(Irql::DISPATCH);
    if *slot != 0 {
        free(pool, id, std::mem::take(slot));
    }
    match pool.allocate(id, SIZES[turn % SIZES.len()], tag!("Intr"), Some(slot)) {
        Status::SUCCESS => drop(ALLOCS.fetch_add(1, Ordering::Relaxed)),
        Status::INSUFFICIENT_RESOURCES => {}
        _ => drop(WRONG.fetch_add(1, Ordering::Relaxed)),
    }
    KEPT.set(kept);
    let higher = Irql::raise(Irql::DEVICE);
    let mut none = 1;
    let allocate = pool.allocate(id, 64, tag!("Intr"), Some(&mut none));
    // SAFETY: it is refused, whatever it is.
    let free = unsafe { pool.free(id, kept[turn % 8].max(16)) };
    if (allocate, free, none) == (Status::INVALID_IRQL, Status::INVALID_IRQL, 0) {
        REFUSED.fetch_add(2, Ordering::Relaxed);
    } else {
        WRONG.fetch_add(1, Ordering::Relaxed);
    }
    drop(higher);
    drop(level);
}

fn free(pool: &Pool<Native>, id: AdapterId, address: u64) {
    // SAFETY: nobody else knows the block.
    match unsafe { pool.free(id, address) } {
        Status::SUCCESS => FREES.fetch_add(1, Ordering::Relaxed),
        _ => WRONG.fetch_add(1, Ordering::Relaxed),
    };
}

/// Has interruptions use this pool, in this adapter's name.
pub(super) fn prepare(pool: &Pool<Native>, id: AdapterId) -> Result<(), String> {
    ADAPTER.store(u64::from(id.raw()), Ordering::Relaxed);
    POOL.store(std::ptr::from_ref(pool).cast_mut(), Ordering::Release);
    handle(interrupt)
}

/// Has this handler handle interruptions. It calls the pool, and touches atomics and its thread's cells, no more.
pub(super) fn handle(handler: extern "C" fn(i32)) -> Result<(), String> {
    let action = SigAction::new(SigHandler::Handler(handler), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: both handlers of the soak are such as this function's documentation says.
    unsafe { sigaction(Signal::SIGALRM, &action) }
        .map_err(|error| format!("the signal's handler: {error}"))?;
    Ok(())
}

/// No interruption uses a pool any more.
pub(super) fn retire() {
    POOL.store(std::ptr::null_mut(), Ordering::Release);
}

/// Interrupts the calling thread every so many microseconds, until it is dropped.
pub(super) fn every(microseconds: i64) -> Result<Timer, String> {
    let notify = SigevNotify::SigevThreadId {
        signal: Signal::SIGALRM,
        thread_id: nix::unistd::gettid().as_raw(),
        si_value: 0,
    };
    let start = || -> nix::Result<Timer> {
        let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, SigEvent::new(notify))?;
        let interval = TimeSpec::new(0, microseconds * 1000);
        timer.set(Expiration::IntervalDelayed(interval, interval), TimerSetTimeFlags::empty())?;
        Ok(timer)
    };
    start().map_err(|error| format!("a timer: {error}"))
}

/// Gives back what the calling thread's handler keeps. Its timer is gone.
pub(super) fn settle(pool: &Pool<Native>, id: AdapterId) {
    for address in KEPT.take().into_iter().filter(|&address| address != 0) {
        free(pool, id, address);
    }
}
