//! Stacks of their own for the machine's threads, so that one thread of the system runs them all.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Bytes of a stack.
const STACK: usize = 256 << 10;

/// Whatever a panic carries.
pub type Panic = Box<dyn std::any::Any + Send>;

/// Code that can be left in the middle, and be gone on with.
pub struct Fiber {
    _stack: Box<[MaybeUninit<u128>]>,
    at: Cell<*mut u8>,
}

/// What a fiber runs. `exit` is told how it ended, and says which fiber it was and which is next.
pub struct Job {
    pub work: Box<dyn FnOnce()>,
    pub exit: Box<dyn FnOnce(Result<(), Panic>) -> [*const Fiber; 2]>,
}

impl Fiber {
    /// The code that calls this, to come back to.
    pub fn caller() -> Fiber {
        Fiber { _stack: Box::new_uninit_slice(0), at: Cell::new(std::ptr::null_mut()) }
    }

    /// A fiber that will run `job` when it is switched to.
    pub fn new(job: Job) -> Fiber {
        let mut stack = Box::new_uninit_slice(STACK / 16);
        let words = stack.as_mut_ptr_range().end.cast::<*mut ()>();
        // What `switch` pops: six registers, the last of them the job, and where to return to.
        // SAFETY: the words lie in the stack.
        let at = unsafe {
            words.sub(2).write(start as *mut ());
            words.sub(3).write(Box::into_raw(Box::new(job)).cast());
            words.sub(8)
        };
        Fiber { _stack: stack, at: Cell::new(at.cast()) }
    }

    /// Leaves `self`, whose code calls this, and goes on with `to`; returns when somebody switches back.
    ///
    /// # Safety
    /// `self` is what runs now; `to` was left, or is new, and its stack lives until it ends.
    pub unsafe fn switch(&self, to: &Fiber) {
        // SAFETY: the caller's promise.
        unsafe { switch(self.at.as_ptr(), to.at.get()) }
    }
}

/// Saves what calls preserve, and takes it from the other stack.
#[unsafe(naked)]
unsafe extern "sysv64" fn switch(from: *mut *mut u8, to: *mut u8) {
    core::arch::naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// A fiber's first code; its job came in a register that `switch` fills.
#[unsafe(naked)]
unsafe extern "sysv64" fn start() -> ! {
    core::arch::naked_asm!("mov rdi, rbp", "xor ebp, ebp", "sub rsp, 8", "call {run}", "ud2", run = sym run)
}

extern "sysv64" fn run(job: *mut Job) -> ! {
    // SAFETY: made by `new`, and run once.
    let Job { work, exit } = *unsafe { Box::from_raw(job) };
    let [this, next] = exit(catch_unwind(AssertUnwindSafe(work)));
    // SAFETY: both live; nothing on this stack is needed any more.
    unsafe { (*this).switch(&*next) };
    unreachable!("a fiber that ended went on");
}
