//! How all CPUs come to rest in the middle of the load, so that counts can be compared, and at its end.
//!
//! A thread parks between two rounds. Whatever interrupted it has ended by then, and what interrupts it later sees the
//! pause. (A part of the checks; nothing that a kernel needs.)

use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::cpu::{self, MOST_CPUS};
use crate::load;

/// How many CPUs take part.
static CPUS: AtomicU32 = AtomicU32::new(1);
/// Odd while all shall be quiet. Written by the first CPU.
static PAUSE: AtomicU64 = AtomicU64::new(0);
/// By CPU: the pause in which it is quiet.
static PARKED: [AtomicU64; MOST_CPUS] = [const { AtomicU64::new(0) }; MOST_CPUS];
static STOPPED: AtomicBool = AtomicBool::new(false);
/// How many threads have seen the stop.
static ENDED: AtomicU32 = AtomicU32::new(0);

pub fn set_cpus(cpus: u32) {
    // ORDERING: Relaxed - before the others have work.
    CPUS.store(cpus, Ordering::Relaxed);
}

pub fn cpus() -> u32 {
    // ORDERING: Relaxed - as in `set_cpus`.
    CPUS.load(Ordering::Relaxed)
}

/// Whether interrupts shall leave the pool alone.
pub fn asked() -> bool {
    // ORDERING: Acquire - what was compared meanwhile; pairs with the Release in `resume`.
    PAUSE.load(Ordering::Acquire) % 2 == 1
}

pub fn stopped() -> bool {
    // ORDERING: Acquire - pairs with the Release in `stop`.
    STOPPED.load(Ordering::Acquire)
}

/// Rests, if that is asked for. By each thread but the first CPU's, between two rounds.
pub fn park() {
    // ORDERING: Acquire - as in `asked`.
    let pause = PAUSE.load(Ordering::Acquire);
    if pause % 2 == 1 {
        // ORDERING: Release - this CPU's counts; pairs with the Acquire in `pause`.
        PARKED[cpu::number() as usize].store(pause, Ordering::Release);
        // ORDERING: Acquire - as in `asked`.
        while PAUSE.load(Ordering::Acquire) == pause {
            spin_loop();
        }
    }
}

/// Returns when no CPU is in a call, and nothing is on its way to one. By the first CPU.
pub fn pause() {
    // ORDERING: AcqRel - one writer; the value is what counts.
    let pause = PAUSE.fetch_add(1, Ordering::AcqRel) + 1;
    for parked in &PARKED[1..cpus() as usize] {
        // ORDERING: Acquire - pairs with the Release in `park`.
        while parked.load(Ordering::Acquire) != pause {
            spin_loop();
        }
    }
    load::wait_for_errands();
}

/// Lets all go on.
pub fn resume() {
    // ORDERING: AcqRel - Release: what was set meanwhile; pairs with the Acquire in `park` and `asked`.
    PAUSE.fetch_add(1, Ordering::AcqRel);
}

/// Tells all threads to end. By the first CPU, outside of a pause.
pub fn stop() {
    // ORDERING: Release - pairs with the Acquire in `stopped`.
    STOPPED.store(true, Ordering::Release);
}

/// Returns when all threads have seen the stop, and nothing is on its way.
pub fn meet() {
    // ORDERING: AcqRel - all that threads did comes before what any does after the meeting.
    ENDED.fetch_add(1, Ordering::AcqRel);
    // ORDERING: Acquire - as above.
    while ENDED.load(Ordering::Acquire) < cpus() {
        spin_loop();
    }
    load::wait_for_errands();
}
