//! A timer's signals, and what a handler frees.

use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::parcel::BATCH;
use super::turn::{Bench, Meters, Turn};
use crate::meter::Mode;
use crate::subjects::{Subject, alloc_touched};
use crate::timer;

const BYTES: u32 = 64;

/// A signal handler frees what the code below it has laid out, wherever in the allocator that code is.
pub(super) struct Interrupted;

/// What the handler and the code below it share: the handler's own thread, so each word is by itself.
struct Table {
    /// Of the blocks, how many wait for the handler.
    waiting: AtomicUsize,
    /// Whether each free is timed, or all at once.
    each: AtomicUsize,
    begin: AtomicU64,
    end: AtomicU64,
    blocks: [AtomicPtr<u8>; BATCH],
    ticks: [AtomicU64; BATCH],
}

static TABLE: Table = Table {
    waiting: AtomicUsize::new(0),
    each: AtomicUsize::new(0),
    begin: AtomicU64::new(0),
    end: AtomicU64::new(0),
    blocks: [const { AtomicPtr::new(std::ptr::null_mut()) }; BATCH],
    ticks: [const { AtomicU64::new(0) }; BATCH],
};

/// Frees all that waits.
fn interrupt<S: Subject>() {
    // ORDERING: Acquire and Release, here and in `turn` - one thread, but the compiler must not move the
    // blocks over the count. All else is Relaxed for the same reason.
    let waiting = TABLE.waiting.load(Ordering::Acquire);
    if waiting == 0 {
        return;
    }
    // SAFETY: the turn's timer is for this subject.
    let subject = unsafe { interrupted::<S>() };
    let each = TABLE.each.load(Ordering::Relaxed) != 0;
    TABLE.begin.store(timer::start(), Ordering::Relaxed);
    for (block, ticks) in TABLE.blocks.iter().zip(&TABLE.ticks).take(waiting) {
        let block = block.load(Ordering::Relaxed);
        if each {
            let begin = timer::start();
            // SAFETY: laid out for us, once.
            unsafe { subject.free(block, BYTES) };
            ticks.store(timer::stop().wrapping_sub(begin), Ordering::Relaxed);
        } else {
            // SAFETY: as above.
            unsafe { subject.free(block, BYTES) };
        }
    }
    TABLE.end.store(timer::stop(), Ordering::Relaxed);
    TABLE.waiting.store(0, Ordering::Release);
}

impl Bench for Interrupted {
    type State = ();

    fn start<S: Subject>(&self, _: &S) {}

    fn turn<S: Subject>(&self, subject: &S, (): &mut (), turn: &mut Turn<'_>) {
        let timer = Timer::calling(subject, interrupt::<S>);
        turn.drive(4, |meters| {
            for block in &TABLE.blocks {
                block.store(alloc_touched(subject, BYTES), Ordering::Relaxed);
            }
            TABLE.each.store(usize::from(meters.free.mode == Mode::Each), Ordering::Relaxed);
            TABLE.waiting.store(BATCH, Ordering::Release);
            // Where the interrupt finds it.
            while TABLE.waiting.load(Ordering::Acquire) != 0 {
                churn(subject);
            }
            record(meters);
        });
        drop(timer);
    }

    fn end<S: Subject>(&self, _: &S, (): ()) {}
}

fn churn<S: Subject>(subject: &S) {
    for _ in 0..32 {
        let block = alloc_touched(subject, BYTES);
        // SAFETY: just allocated.
        unsafe { subject.free(block, BYTES) };
    }
}

fn record(meters: &mut Meters) {
    let begin = TABLE.begin.load(Ordering::Relaxed);
    match meters.free.mode {
        Mode::Warm => {}
        Mode::Whole => meters.free.batch(begin, TABLE.end.load(Ordering::Relaxed), BATCH),
        Mode::Each => {
            let ticks = TABLE.ticks.each_ref().map(|ticks| ticks.load(Ordering::Relaxed));
            meters.free.each(begin, &ticks);
        }
    }
}

/// A timer whose signal comes every so many us, until it is dropped.
pub(super) struct Timer;

/// What the signal's handler calls: an `fn()` that knows whom the signals interrupt.
static CALL: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());
/// The subject that they interrupt, and what they are for: an `fn()`.
static SUBJECT: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());
static WORK: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());

fn nothing() {}

/// The subject of the timer.
///
/// # Safety
/// A timer for such a subject was made, and no other one since.
unsafe fn interrupted<'a, S: Subject>() -> &'a S {
    // SAFETY: the subject lives as long as the process's work.
    unsafe { &*SUBJECT.load(Ordering::Relaxed).cast::<S>() }
}

/// Tells the subject of an interrupt.
fn deliver<S: Subject>() {
    // SAFETY: the timer that made us the handler's call is for this subject.
    let subject = unsafe { interrupted::<S>() };
    // SAFETY: `calling` stored a function of this type.
    let work: fn() = unsafe { std::mem::transmute(WORK.load(Ordering::Relaxed)) };
    subject.interrupt(work);
}

impl Timer {
    const INTERVAL: Duration = Duration::from_micros(100);

    /// Interrupts, and does nothing.
    pub(super) fn start<S: Subject>(subject: &S) -> Timer {
        Timer::calling(subject, nothing)
    }

    fn calling<S: Subject>(subject: &S, work: fn()) -> Timer {
        // ORDERING: Relaxed - no signal is under way before the system calls below.
        SUBJECT.store(std::ptr::from_ref(subject).cast_mut().cast(), Ordering::Relaxed);
        WORK.store(work as *mut (), Ordering::Relaxed);
        CALL.store(deliver::<S> as *mut (), Ordering::Relaxed);
        // SAFETY: all zeros is a valid action: no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: the action is whole, and its handler does what a handler may.
        unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
        Timer::set(Timer::INTERVAL);
        Timer
    }

    fn set(interval: Duration) {
        let every = libc::timeval { tv_sec: 0, tv_usec: interval.subsec_micros().into() };
        let timer = libc::itimerval { it_interval: every, it_value: every };
        // SAFETY: the timer is whole.
        unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // A signal that is still under way finds the handler in place.
        Timer::set(Duration::ZERO);
        CALL.store(nothing as *mut (), Ordering::Relaxed);
    }
}

extern "C" fn handler(_: libc::c_int) {
    let call = CALL.load(Ordering::Relaxed);
    // SAFETY: `calling` stored a function of this type before it set the handler.
    let call: fn() = unsafe { std::mem::transmute(call) };
    call();
}
