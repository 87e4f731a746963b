//! What further CPUs do: they sleep until the first one has work for them, and stop for good in the end.
//!
//! For another kernel: its scheduler. What matters to the pool: a CPU that sleeps does so with interrupts on, so that
//! the fence's interrupt wakes it; one that stops says so first (`cpu::go_offline`).

use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::{apic, cpu, flags, interrupts, load};

/// Nothing to do yet.
const NOTHING: u32 = 0;
/// Allocate and free, interrupted without pause.
pub const LOAD: u32 = 1;
/// Stop.
pub const STOP: u32 = 2;

static WORK: AtomicU32 = AtomicU32::new(NOTHING);
/// How many CPUs have done the work.
static DONE: AtomicU32 = AtomicU32::new(0);

/// A further CPU, from its beginning to its end.
pub fn serve() -> ! {
    let mut last = NOTHING;
    loop {
        // ORDERING: Acquire - pairs with the Release in `give`.
        let work = || WORK.load(Ordering::Acquire);
        flags::sleep_unless(|| work() != last);
        if work() == last {
            continue;
        }
        last = work();
        if last == STOP {
            flags::off();
            cpu::go_offline();
            done();
            flags::stop();
        }
        load::run();
        done();
    }
}

fn done() {
    // ORDERING: Release - what the work wrote; pairs with the Acquire in `wait`.
    DONE.fetch_add(1, Ordering::Release);
}

/// Gives work to the other CPUs.
pub fn give(work: u32, cpus: u32) {
    // ORDERING: Relaxed - the store below publishes it.
    DONE.store(0, Ordering::Relaxed);
    // ORDERING: Release - what was prepared; pairs with the Acquire in `serve`.
    WORK.store(work, Ordering::Release);
    (1..cpus).for_each(|cpu| apic::send(cpu, interrupts::DISPATCH));
}

/// Waits until all of them have done it.
pub fn wait(cpus: u32) {
    // ORDERING: Acquire - pairs with the Release in `done`.
    while DONE.load(Ordering::Acquire) < cpus - 1 {
        spin_loop();
    }
}
