//! What a verifier needs, in a process: call stacks, guard pages, the blocks' bytes; and a handler for faults.

use std::cell::Cell;
use std::sync::OnceLock;
use std::thread_local;

use rustix::mm::{MprotectFlags, mprotect};

use crate::contract::verify::host::{Access, VerifierHost};
use crate::contract::verify::options::VerifierOptions;
use crate::contract::verify::rule::Rule;
use crate::percpu::platform::Platform;
use crate::pool::backing::os;
use crate::pool::handle::Pool;
use crate::pool::verifier::{Verifier, VerifierError};
use crate::pool::watched::{self, Watched};
use crate::sync::{AtomicU32, Ordering};
use crate::verify::tables::RULES;
use crate::verify::verifier;
use core::ptr::NonNull;

/// The verifier's host for memory of the process.
struct Process;

thread_local! {
    /// The thread is taking a call stack.
    static TAKING: Cell<bool> = const { Cell::new(false) };
    /// The thread's number + 1; 0: it has none yet.
    static THREAD: Cell<u32> = const { Cell::new(0) };
}

impl VerifierHost for Process {
    fn has_call_stacks(&self) -> bool {
        true
    }

    fn call_stack(&self, frames: &mut [u64]) -> Option<usize> {
        let inside = TAKING.try_with(|taking| taking.replace(true)).ok()?;
        if inside {
            return None;
        }
        let mut count = 0;
        // SAFETY: "unsynchronized" is about resolving names, which nobody does here: the unwinder itself keeps no state
        // of its own between calls, and glibc finds its tables without a lock (`_dl_find_object`). A thread is in here
        // once, as the flag says.
        unsafe {
            backtrace::trace_unsynchronized(|frame| {
                if let Some(to) = frames.get_mut(count) {
                    *to = frame.ip().addr() as u64;
                    count += 1;
                }
                count < frames.len()
            });
        }
        TAKING.with(|taking| taking.set(false));
        Some(count)
    }

    fn clock(&self) -> u64 {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: it writes to `now` alone; a call that signal handlers may make.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    }

    fn thread(&self) -> u32 {
        THREAD
            .try_with(|thread| {
                if thread.get() == 0 {
                    // ORDERING: Relaxed - numbers that differ.
                    thread.set(THREADS.fetch_add(1, Ordering::Relaxed) + 1);
                }
                thread.get() - 1
            })
            .unwrap_or(0)
    }

    fn can_protect(&self) -> bool {
        true
    }

    fn protect(&self, address: u64, bytes: u64, access: Access) -> bool {
        let flags = match access {
            Access::None => MprotectFlags::empty(),
            Access::ReadWrite => MprotectFlags::READ | MprotectFlags::WRITE,
        };
        let start = core::ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: whole pages of the pool's own mapping, of a run that is in the verifier's hand.
        unsafe { mprotect(start, bytes as usize, flags).is_ok() }
    }

    fn fill(&self, address: u64, bytes: u64, value: u8) -> bool {
        // Address sanitizer watches these bytes itself.
        if cfg!(storport_pool_asan) {
            return false;
        }
        let start = core::ptr::with_exposed_provenance_mut::<u8>(address as usize);
        // SAFETY: bytes of a block in the verifier's hand, accessible, or behind one that its owner has.
        unsafe { start.write_bytes(value, bytes as usize) };
        true
    }

    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        if cfg!(storport_pool_asan) {
            return false;
        }
        let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
        let from = core::ptr::with_exposed_provenance_mut(address as usize);
        let remote = libc::iovec { iov_base: from, iov_len: into.len() };
        // A sweep may look at a page that its owner has shut meanwhile; so the kernel copies, and says if it cannot.
        // SAFETY: it writes to `into` alone, whatever the other address is.
        let read = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
        if read == into.len() as isize {
            return true;
        }
        if std::io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT) || read >= 0 {
            return false;
        }
        // A sandbox refuses the call.
        let from = core::ptr::with_exposed_provenance::<u8>(address as usize);
        // SAFETY: bytes of a block in the verifier's hand, or of one that a sweep found a moment ago.
        unsafe { from.copy_to_nonoverlapping(into.as_mut_ptr(), into.len()) };
        true
    }
}

/// Gives the verifier's memory back: it lies in its own first bytes' mapping.
unsafe fn release(verifier: NonNull<verifier::Verifier>) {
    // SAFETY: `Pool::verifier` put the mapping there, and nobody uses the verifier any more.
    unsafe { drop(verifier.byte_sub(PAGE).cast::<os::Memory>().read()) }
}

const PAGE: usize = 4096;

impl<P: Platform> Pool<P> {
    /// The pool's verifier. If there is none yet, it is made now. If there is one, it is the answer, whatever the
    /// options. Feature `verifier`. PASSIVE.
    ///
    /// Its tables lie in memory of the operating system. It takes call stacks. It has guard pages if the pool's range
    /// is memory of its own ([`PoolOptions`](crate::PoolOptions)).
    ///
    /// # Errors
    /// [`VerifierError::Os`].
    ///
    /// ```
    /// use storport_pool::{Guard, Pool, Rule, Status, VerifierOptions, ViolationKind, tag};
    /// let pool = Pool::new(64 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// pool.on_violation(|violation| assert_eq!(violation.kind, ViolationKind::Overrun));
    /// pool.verifier(VerifierOptions::new())?.add(Rule::new().adapter(disk).guard(Guard::After))?;
    ///
    /// let mut block = 0;
    /// assert_eq!(pool.allocate(disk, 100, tag!("Srb0"), Some(&mut block)), Status::SUCCESS);
    /// // Four bytes behind the block, before its guard page.
    /// unsafe { (block as *mut u8).add(100).write(7) };
    /// assert_eq!(unsafe { pool.free(disk, block) }, Status::SUCCESS);
    /// assert_eq!(pool.snapshot().violations, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verifier(&self, options: VerifierOptions) -> Result<Verifier<'_, P>, VerifierError> {
        if let Some(verifier) = self.attached() {
            return Ok(verifier);
        }
        let accounts = self.meta.control().account_mask.unsigned_abs() as u32;
        let bytes = options.bytes(accounts);
        let os = |error| match error {
            crate::layout::create_error::CreateError::Os { code, .. } => VerifierError::Os(code),
            _ => VerifierError::Memory,
        };
        // One page more before it: the mapping itself lies there.
        let memory = os::Memory::reserve(PAGE + bytes, false).map_err(os)?;
        let start = memory.start();
        // SAFETY: the mapping is ours, aligned, and long enough; moved there, it is dropped by `release` alone.
        unsafe {
            start.cast::<os::Memory>().write(memory);
            let table = NonNull::slice_from_raw_parts(start.byte_add(PAGE), bytes);
            let host: &'static dyn VerifierHost = if self.backing.is_some() { &Process } else { &Foreign };
            self.attach(table, options, host, Some(release))
        }
    }
}

impl<P: Platform> Pool<P> {
    /// Verifies as a text says: one rule or more, with `;` between ([`Rule::list`]). With an environment variable or an
    /// argument as the text, a program is verified without a new build. If there is no verifier yet, it is made as by
    /// [`verifier`](Self::verifier), with default options. All rules are added, or none. PASSIVE.
    ///
    /// The library itself reads no variable. Its C host, its preload library and its replay read
    /// `STORPORT_POOL_VERIFY`.
    ///
    /// # Errors
    /// [`VerifierError`]: `Text` with the word that is wrong, `EmptyRule` for a text without a rule, and those of
    /// [`verifier`](Self::verifier) and [`Verifier::add`].
    ///
    /// ```
    /// use storport_pool::Pool;
    /// let pool = Pool::new(64 << 20)?;
    /// pool.verify("tags=Vio* special track; probability=600 after=1000")?;
    /// let error = pool.verify("tags=Vio* specail").unwrap_err();
    /// assert!(error.to_string().starts_with("'specail' is no word of a rule"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verify(&self, rules: &str) -> Result<Verifier<'_, P>, VerifierError> {
        let mut none = true;
        for rule in Rule::list(rules) {
            none = rule.map(|_| false).map_err(VerifierError::Text)?;
        }
        if none {
            return Err(VerifierError::EmptyRule);
        }
        let verifier = self.verifier(VerifierOptions::new())?;
        let mut added = [None; RULES];
        for (n, rule) in Rule::list(rules).flatten().enumerate() {
            let result = verifier.add(rule);
            if let (Ok(rule), Some(place)) = (result, added.get_mut(n)) {
                *place = Some(rule);
                continue;
            }
            for rule in added.into_iter().flatten() {
                let _ = verifier.remove(rule);
            }
            return Err(result.err().unwrap_or(VerifierError::TooManyRules));
        }
        Ok(verifier)
    }
}

/// Threads that have a number.
static THREADS: AtomicU32 = AtomicU32::new(0);

/// The verifier's host for a range that is not the process's memory: call stacks alone.
struct Foreign;

impl VerifierHost for Foreign {
    fn has_call_stacks(&self) -> bool {
        true
    }

    fn call_stack(&self, frames: &mut [u64]) -> Option<usize> {
        Process.call_stack(frames)
    }

    fn clock(&self) -> u64 {
        Process.clock()
    }

    fn thread(&self) -> u32 {
        Process.thread()
    }
}

/// Where faults go that no pool explains.
static FORMER: OnceLock<Result<[Former; 2], i32>> = OnceLock::new();

/// A signal's former action.
struct Former(libc::sigaction);

// SAFETY: plain numbers and a function's address.
unsafe impl Sync for Former {}
// SAFETY: as above.
unsafe impl Send for Former {}

const FAULTS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

impl<P: Platform> Pool<P> {
    /// From now on, the violation hook hears of a fault at a guarded block of this pool. It is called in the fault's
    /// handler. Then the process does what it would have done anyway: as a rule, it ends. Faults elsewhere are not
    /// touched. PASSIVE.
    ///
    /// The hook runs in a signal handler of a process that is about to end. It should write one line, or the
    /// [report](crate::Violation::report). The report resolves names, so it may wait for ever if the fault came in the
    /// middle of the program's allocator.
    ///
    /// The handler runs on the thread's own stack. So a thread that overflows its stack ends the process without the
    /// standard library's message.
    ///
    /// It works for up to eight pools at once. This pool lives for ever, in a static or leaked. For other pools there
    /// is [`explain_faults_in_place`](Self::explain_faults_in_place).
    ///
    /// ```
    /// use storport_pool::{Pool, Rule};
    /// let pool: &'static Pool = Box::leak(Box::new(Pool::new(1 << 20)?));
    /// pool.verify("special track")?;
    /// pool.on_violation(|violation| eprintln!("{violation}"));
    /// pool.explain_faults()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`VerifierError`]: `Os`, if the system refused the handler; `TooManyPools`.
    pub fn explain_faults(&'static self) -> Result<(), VerifierError> {
        // SAFETY: it neither moves nor ends.
        unsafe { self.explain_faults_in_place() }
    }

    /// As [`explain_faults`](Self::explain_faults), for a pool that ends. When it is dropped, another pool may have its
    /// place. PASSIVE.
    ///
    /// # Errors
    /// As [`explain_faults`](Self::explain_faults).
    ///
    /// # Safety
    /// The pool stays where it is until it is dropped, and its memory is not given back without that. Nobody touches
    /// its range while it is dropped.
    ///
    /// ```
    /// use storport_pool::Pool;
    /// let pool = Box::new(Pool::new(1 << 20)?);
    /// // SAFETY: it stays in its box, and is dropped there.
    /// unsafe { pool.explain_faults_in_place()? };
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub unsafe fn explain_faults_in_place(&self) -> Result<(), VerifierError> {
        let pool = core::ptr::from_ref(self).cast();
        if !watched::enter(Watched { pool, tell: tell::<P>, range: self.range() }) {
            return Err(VerifierError::TooManyPools);
        }
        let handled = FORMER.get_or_init(|| {
            let [segv, bus] = FAULTS.map(|signal| {
                // SAFETY: zeroed, the action is the default one; the handler is fit for a signal's.
                unsafe {
                    let mut former = core::mem::zeroed::<libc::sigaction>();
                    let mut action = core::mem::zeroed::<libc::sigaction>();
                    action.sa_sigaction = on_fault as *const () as usize;
                    action.sa_flags = libc::SA_SIGINFO;
                    match libc::sigaction(signal, &action, &mut former) {
                        0 => Ok(Former(former)),
                        _ => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)),
                    }
                }
            });
            Ok([segv?, bus?])
        });
        handled.as_ref().map(|_| ()).map_err(|&code| VerifierError::Os(code))
    }
}

fn tell<P: Platform>(pool: *const (), address: u64, instruction: Option<u64>) -> bool {
    // SAFETY: who entered it promised that it is there as long as its range is used.
    let pool = unsafe { &*pool.cast::<Pool<P>>() };
    let Some(mut violation) = pool.explain_fault(address) else { return false };
    if let Some(instruction) = instruction {
        // What lies above it is the handler.
        violation.called = violation.called.below(instruction);
    }
    pool.meta.report(&mut violation);
    true
}

extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel's, for this signal.
    let (address, code) = unsafe { ((*info).si_addr().addr() as u64, (*info).si_code) };
    // Not above 0: another process, or the program itself, has sent it (sigaction(2)).
    let sent = code <= 0;
    if !sent {
        let _ = watched::tell(address, instruction_of(context));
    }
    let Some(Ok(formers)) = FORMER.get() else { return };
    let former = &formers[usize::from(signal == libc::SIGBUS)].0;
    match former.sa_sigaction {
        libc::SIG_IGN if sent => {}
        // SAFETY: the default action is restored. A fault comes again, by its access; what was sent is sent again, and
        // comes when this handler has returned.
        libc::SIG_DFL | libc::SIG_IGN => unsafe {
            libc::signal(signal, libc::SIG_DFL);
            if sent {
                libc::raise(signal);
            }
        },
        // SAFETY: the action is one that the process had, called as the system would have.
        _ => unsafe { call_former(former, signal, info, context) },
    }
}

/// Calls a handler that the process had before, with the signals blocked that it wanted.
///
/// # Safety
/// The action has a handler, and the rest is the kernel's, of the signal that is being handled.
unsafe fn call_former(
    former: &libc::sigaction,
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the caller's promise; a handler's address is one of a function of this kind.
    unsafe {
        let mut before = core::mem::zeroed::<libc::sigset_t>();
        libc::pthread_sigmask(libc::SIG_BLOCK, &former.sa_mask, &mut before);
        if former.sa_flags & libc::SA_SIGINFO != 0 {
            let action: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                core::mem::transmute(former.sa_sigaction);
            action(signal, info, context);
        } else {
            let action: extern "C" fn(libc::c_int) = core::mem::transmute(former.sa_sigaction);
            action(signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, core::ptr::null_mut());
    }
}

/// The instruction that was interrupted.
fn instruction_of(context: *mut libc::c_void) -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel's, of the signal that is being handled.
    return Some(
        unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] } as u64
    );
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = context;
        None
    }
}
