//! Interruptions: a signal that comes to the calling thread again and again.

use nix::sys::signal::{SaFlags, SigAction, SigEvent, SigHandler, SigSet, SigevNotify, Signal, sigaction};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;

/// Has SIGALRM handled by `handler`, which it interrupts nowhere.
///
/// # Safety
/// The handler does only what a signal handler may.
pub unsafe fn handle(handler: extern "C" fn(i32)) {
    let action = SigAction::new(SigHandler::Handler(handler), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the caller promises it.
    unsafe { sigaction(Signal::SIGALRM, &action) }.unwrap();
}

/// Sends SIGALRM to the calling thread every so many nanoseconds, until it is dropped.
pub fn every(nanoseconds: i64) -> Timer {
    let notify = SigevNotify::SigevThreadId {
        signal: Signal::SIGALRM,
        thread_id: nix::unistd::gettid().as_raw(),
        si_value: 0,
    };
    let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, SigEvent::new(notify)).unwrap();
    let (delay, interval) = (TimeSpec::new(0, 3 * nanoseconds), TimeSpec::new(0, nanoseconds));
    timer.set(Expiration::IntervalDelayed(delay, interval), TimerSetTimeFlags::empty()).unwrap();
    timer
}
