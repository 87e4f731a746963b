//! A simulated machine, for the pool's commit that masks interrupts. Each thread is a CPU, and has its number as long as
//! it works; the CPU's interrupt flag is a word that its thread alone writes. The interrupts are signals: one that comes
//! while the flag is set is noted, and its work runs when the flag is cleared.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering, compiler_fence, fence};

use crossbeam_utils::Backoff;
use storport_pool::{Host, Irql, MaskInterrupts, Masked};

use crate::subjects::LabPlatform;

/// CPUs that have a cache: as many as a scenario has threads at a time, and some.
pub(crate) const CPUS: u32 = 72;

/// Numbers that there are. Those from [`CPUS`] on take the pool's shared path.
const NUMBERS: usize = 256;

/// Cache lines of its own, two at a time, as the processor fetches them.
#[repr(align(128))]
struct Cpu {
    number: u32,
    /// A thread has this number.
    on: AtomicBool,
    /// Odd while interrupts are masked. It grows by one with each change.
    flag: AtomicU64,
    /// An interrupt waits.
    pending: AtomicBool,
    /// An interrupt's work is under way. It keeps other ones out, as its level would.
    serving: AtomicBool,
    /// The last interrupt's work: an `fn()`.
    work: AtomicPtr<()>,
}

static ALL: [Cpu; NUMBERS] = {
    let mut all = [const { Cpu::numbered(0) }; NUMBERS];
    let mut number = 0;
    while number < NUMBERS {
        all[number].number = number as u32;
        number += 1;
    }
    all
};

thread_local! {
    // Constant and without destructor: reading it is one load, in a signal handler too.
    static HERE: Cell<Option<&'static Cpu>> = const { Cell::new(None) };
}

fn nothing() {}

impl Cpu {
    const fn numbered(number: u32) -> Cpu {
        Cpu {
            number,
            on: AtomicBool::new(false),
            flag: AtomicU64::new(0),
            pending: AtomicBool::new(false),
            serving: AtomicBool::new(false),
            work: AtomicPtr::new(nothing as *mut ()),
        }
    }

    /// The thread's own one; at its first use, the one that it gets.
    #[inline(always)]
    fn here() -> &'static Cpu {
        HERE.get().unwrap_or_else(Cpu::claim)
    }

    /// Gives the thread the lowest number that nobody has.
    #[cold]
    #[inline(never)]
    fn claim() -> &'static Cpu {
        // ORDERING: SeqCst - what the number's thread before us wrote; pairs with the Release in `leave`.
        let free =
            |cpu: &&Cpu| cpu.on.compare_exchange(false, true, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        let cpu = ALL.iter().find(free).expect("no more threads than the simulated machine has CPUs");
        // ORDERING: SeqCst - pairs with the one in `fence`: whoever finds the number free has written before we read.
        fence(Ordering::SeqCst);
        // A handler that comes in between takes another number, which is then nobody's for good: no harm.
        HERE.set(Some(cpu));
        cpu
    }

    /// Does the work of the interrupts that wait, unless that is under way below us. Only while they are not masked.
    #[cold]
    #[inline(never)]
    fn serve(&self) {
        // ORDERING: Relaxed, for all of these - the thread's own words, which its handlers change too. The compiler's
        // fences keep their order.
        if self.serving.load(Ordering::Relaxed) {
            return;
        }
        while self.pending.load(Ordering::Relaxed) {
            self.serving.store(true, Ordering::Relaxed);
            compiler_fence(Ordering::SeqCst);
            // One that comes from here on finds us at work, and is seen by the loop.
            self.pending.store(false, Ordering::Relaxed);
            compiler_fence(Ordering::SeqCst);
            let work = self.work.load(Ordering::Relaxed);
            // SAFETY: only `interrupt` stores there, and what it stores is of this type; or it is `nothing`.
            let work: fn() = unsafe { std::mem::transmute(work) };
            work();
            compiler_fence(Ordering::SeqCst);
            self.serving.store(false, Ordering::Relaxed);
            compiler_fence(Ordering::SeqCst);
        }
    }
}

/// What `mask` found.
pub(crate) struct Found {
    cpu: &'static Cpu,
    /// Its flag: odd if it was set already.
    before: u64,
}

/// The machine. There is one in a process, however many of these.
#[derive(Debug)]
pub(crate) struct Machine(());

impl Machine {
    /// # Errors
    /// A sentence, when the system cannot fence the threads' CPUs.
    pub(crate) fn new() -> Result<Machine, String> {
        barrier::register().map(Machine)
    }
}

impl Host for Machine {
    #[inline(always)]
    fn cpu(&self) -> u32 {
        // Before a thread's first `mask`, no CPU of the pool's.
        HERE.get().map_or(u32::MAX, |cpu| cpu.number)
    }

    /// A load, as the level of a kernel's CPU is.
    #[inline(always)]
    fn irql(&self) -> Irql {
        Irql::current()
    }

    fn relax(&self) {
        std::thread::yield_now();
    }
}

// SAFETY: a number is one thread's at a time, which keeps it while its flag is set: `leave` sees to that. A signal's
// work waits until the flag is cleared, so that no other code of the thread calls the pool meanwhile. That the thread
// is preempted does no harm, since no other has its number then. For `fence`, see there.
unsafe impl MaskInterrupts for Machine {
    type State = Found;

    #[inline(always)]
    fn mask(&self) -> Found {
        let cpu = Cpu::here();
        // ORDERING: Relaxed - only this thread writes the flag, and a handler leaves it as it found it.
        let before = cpu.flag.load(Ordering::Relaxed);
        // ORDERING: Release, which costs a plain store here - who waits for an older section may see this one's
        // beginning instead of that one's end. The section's loads may run before the store is visible to other CPUs:
        // `fence` makes up for that, so that no locked instruction is needed here. The compiler must keep the order.
        cpu.flag.store(before | 1, Ordering::Release);
        compiler_fence(Ordering::SeqCst);
        Found { cpu, before }
    }

    #[inline(always)]
    fn unmask(&self, Found { cpu, before }: Found) {
        if before % 2 == 1 {
            return;
        }
        compiler_fence(Ordering::SeqCst);
        // ORDERING: Release - all of the section; pairs with the Acquire in `fence`.
        cpu.flag.store(before + 2, Ordering::Release);
        // A signal before the store has noted that it waits; one after it is served at once.
        compiler_fence(Ordering::SeqCst);
        // ORDERING: Relaxed - a handler of this thread wrote it.
        if cpu.pending.load(Ordering::Relaxed) {
            cpu.serve();
        }
    }

    fn fence(&self, cpu: u32) {
        let Some(cpu) = ALL.get(cpu as usize) else { return };
        // ORDERING: SeqCst - what we wrote, before we look who is there; pairs with the one in `claim`.
        fence(Ordering::SeqCst);
        // ORDERING: Acquire - what the last thread of this number wrote; pairs with the Release in `leave`.
        if !cpu.on.load(Ordering::Acquire) || HERE.get().is_some_and(|here| std::ptr::eq(here, cpu)) {
            return;
        }
        // ORDERING: each thread of the process passes a full fence somewhere during this call. Where it set its flag
        // before that, we see the flag below. Where it sets it later, its section reads what we wrote before.
        barrier::pass();
        let backoff = Backoff::new();
        // ORDERING: Acquire, twice - all of the section that has ended; pairs with the Release in `unmask`, or with that
        // of the next `mask`.
        let seen = cpu.flag.load(Ordering::Acquire);
        while seen % 2 == 1 && cpu.flag.load(Ordering::Acquire) == seen {
            // Its thread may be preempted: other than a CPU, it has to get one to go on.
            backoff.snooze();
        }
    }
}

impl LabPlatform for Masked<Machine> {
    fn enter() {
        Cpu::here();
    }

    fn leave() {
        // In this order: a handler in between takes another number.
        let Some(cpu) = HERE.take() else { return };
        // ORDERING: Relaxed - the thread's own word.
        assert!(cpu.flag.load(Ordering::Relaxed).is_multiple_of(2), "a thread leaves with interrupts masked");
        // ORDERING: Release - all that the thread did; pairs with `claim` and `fence`.
        cpu.on.store(false, Ordering::Release);
    }

    fn interrupt(work: fn()) {
        let cpu = Cpu::here();
        // ORDERING: Relaxed, for all of these - the thread's own words, in the order that the compiler's fence keeps.
        cpu.work.store(work as *mut (), Ordering::Relaxed);
        cpu.pending.store(true, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        if cpu.flag.load(Ordering::Relaxed).is_multiple_of(2) {
            cpu.serve();
        }
    }
}

#[cfg(target_os = "linux")]
mod barrier {
    use nix::errno::Errno;

    fn membarrier(command: libc::c_int) -> nix::Result<()> {
        // SAFETY: these commands take no pointer.
        Errno::result(unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }).map(drop)
    }

    /// What [`pass`] needs once.
    pub(super) fn register() -> Result<(), String> {
        membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
            .map_err(|error| format!("the simulated machine needs membarrier: {error}"))
    }

    /// Each thread of the process passes a full fence.
    pub(super) fn pass() {
        membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED).expect("membarrier was registered");
    }
}

#[cfg(not(target_os = "linux"))]
mod barrier {
    pub(super) fn register() -> Result<(), String> {
        Err("the simulated machine needs Linux's membarrier".to_owned())
    }

    pub(super) fn pass() {
        unreachable!("no machine was made");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
