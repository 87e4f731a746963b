//! Deferred procedure calls: work that an interrupt leaves to a CPU, which does it at DISPATCH.
//!
//! An interrupt runs above DISPATCH, where the pool refuses both routines. So it queues a procedure, on this or another
//! CPU, and that allocates and frees. For another kernel: `KeInsertQueueDpc`, a softirq, a tasklet.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use crate::cpu::MOST_CPUS;
use crate::{apic, cpu, interrupts};

/// One procedure; in one queue at a time.
pub struct Dpc {
    routine: fn(u64),
    /// Written by whoever won `queued`.
    argument: AtomicU64,
    /// Written by whoever won `queued`.
    next: AtomicPtr<Dpc>,
    queued: AtomicBool,
}

/// By CPU: a stack of procedures. Pushed by all, taken whole by its CPU, so no address can come back in between.
static QUEUES: [AtomicPtr<Dpc>; MOST_CPUS] = [const { AtomicPtr::new(null_mut()) }; MOST_CPUS];

impl Dpc {
    pub const fn new(routine: fn(u64)) -> Dpc {
        Dpc {
            routine,
            argument: AtomicU64::new(0),
            next: AtomicPtr::new(null_mut()),
            queued: AtomicBool::new(false),
        }
    }

    /// Queues the procedure on a CPU. `false`: it is queued already. Any IRQL.
    pub fn queue(&'static self, on: u32, argument: u64) -> bool {
        // ORDERING: Acquire - what the last run's argument was read by; pairs with the Release in `run`.
        if self.queued.swap(true, Ordering::Acquire) {
            return false;
        }
        // ORDERING: Relaxed - the push below publishes it.
        self.argument.store(argument, Ordering::Relaxed);
        let queue = &QUEUES[on as usize];
        let ours = core::ptr::from_ref(self).cast_mut();
        // ORDERING: Relaxed - nothing is read through it.
        let mut first = queue.load(Ordering::Relaxed);
        loop {
            // ORDERING: Relaxed - as above.
            self.next.store(first, Ordering::Relaxed);
            // ORDERING: Release - the procedure, and those below it; pairs with the Acquire in `run`.
            match queue.compare_exchange_weak(first, ours, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => first = now,
            }
        }
        // Whoever finds the queue empty wakes the CPU. Others come before it takes the queue, so it finds them, too.
        if first.is_null() {
            apic::send(on, interrupts::DISPATCH);
        }
        true
    }
}

/// Runs what is queued on this CPU, last come first. At DISPATCH, in the handler of `interrupts::DISPATCH`.
pub fn run() {
    let queue = &QUEUES[cpu::number() as usize];
    loop {
        // ORDERING: Acquire - pairs with the Release of the pushes. A read-modify-write goes on with their release
        // sequence, so one Acquire is enough for all that are on the stack.
        let mut next = queue.swap(null_mut(), Ordering::Acquire);
        if next.is_null() {
            return;
        }
        // SAFETY: what is queued is a static, by `queue`'s signature.
        while let Some(dpc) = unsafe { next.as_ref() } {
            // ORDERING: Relaxed, twice - the swap above.
            next = dpc.next.load(Ordering::Relaxed);
            let argument = dpc.argument.load(Ordering::Relaxed);
            // ORDERING: Release - both were read; pairs with the Acquire in `queue`. From here it may be queued again.
            dpc.queued.store(false, Ordering::Release);
            (dpc.routine)(argument);
        }
    }
}
