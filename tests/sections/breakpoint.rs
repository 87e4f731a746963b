//! One breakpoint at a time, in the text of this executable: the trap's signal aborts the section it lies in.

use std::cell::UnsafeCell;
use std::ffi::c_void;

use nix::libc::{self, REG_RIP, siginfo_t, ucontext_t};
use nix::sys::mman::{ProtFlags, mprotect};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

const INT3: u8 = 0xcc;

/// What happens when the breakpoint is reached. `aborted`: the section will not go on.
pub type Reached = fn(aborted: bool);

struct Armed {
    at: u64,
    instruction: u8,
    reached: Reached,
}

/// The breakpoint that is set.
struct Current(UnsafeCell<Option<Armed>>);
// SAFETY: one thread sets breakpoints and reaches them; its handler runs while it does neither.
unsafe impl Sync for Current {}
static CURRENT: Current = Current(UnsafeCell::new(None));

fn current() -> &'static mut Option<Armed> {
    // SAFETY: see `Current`.
    unsafe { &mut *CURRENT.0.get() }
}

/// Makes the text between these addresses writable, and takes the signal.
pub fn prepare(from: u64, to: u64) {
    let page = 4096;
    let from = from & !(page - 1);
    let length = (to - from).next_multiple_of(page);
    // SAFETY: the text stays readable and executable.
    unsafe {
        mprotect(
            std::ptr::NonNull::new(from as *mut c_void).unwrap(),
            length as usize,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE | ProtFlags::PROT_EXEC,
        )
        .unwrap();
        let action = SigAction::new(SigHandler::SigAction(trapped), SaFlags::empty(), SigSet::empty());
        sigaction(Signal::SIGTRAP, &action).unwrap();
    }
}

fn write(at: u64, byte: u8) {
    // SAFETY: `prepare` made the text writable; only this thread runs it, and x86-64 keeps a thread's own
    // stores and its instructions in order.
    unsafe { (at as *mut u8).write_volatile(byte) }
}

/// Sets the breakpoint.
pub fn arm(at: u64, reached: Reached) {
    disarm();
    // SAFETY: the caller's address lies in the text.
    let instruction = unsafe { (at as *const u8).read_volatile() };
    *current() = Some(Armed { at, instruction, reached });
    write(at, INT3);
}

/// Takes the breakpoint away, if it was not reached.
pub fn disarm() {
    if let Some(armed) = current().take() {
        write(armed.at, armed.instruction);
    }
}

extern "C" fn trapped(_: i32, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel's, for a handler with SA_SIGINFO.
    let instruction = unsafe { &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs[REG_RIP as usize] };
    let Some(armed) = current().take() else {
        // Nobody's breakpoint.
        // SAFETY: ends the process.
        unsafe { libc::abort() }
    };
    write(armed.at, armed.instruction);
    // Not aborted: the instruction has still to run.
    let aborted = *instruction != armed.at as i64 + 1;
    if !aborted {
        *instruction = armed.at as i64;
    }
    (armed.reached)(aborted);
}
