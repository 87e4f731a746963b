//! How often the host's calls fence the sections. No test of behaviour tells reliably: what a missing fence lets pass is
//! a section that goes on for some nanoseconds on another CPU.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::ffi::c_void;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use common::*;
use nix::libc::{self, REG_RAX, REG_RDI, siginfo_t, ucontext_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use storport_pool::{Host, Irql, MaskInterrupts, Masked, Platform, Pool, PoolOptions};

/// What the calls did: fences of the sections since the last look.
fn check<P: Platform>(pool: &Pool<P>, fenced: impl Fn() -> u64) {
    let fences = |call: &dyn Fn()| {
        fenced();
        call();
        fenced()
    };
    assert_eq!(fences(&|| pool.set_not_implemented(true)), 1, "calls under way would still be served");
    assert_eq!(fences(&|| pool.set_not_implemented(false)), 1);
    let adapter = || {
        let id = pool.add_adapter("disk").unwrap();
        alloc(pool, id, 100).unwrap();
        id
    };
    let id = adapter();
    // Once before it looks at the counts, once more after the blocks have become the orphans'.
    assert_eq!(
        fences(&|| drop(pool.remove_adapter(id).unwrap())),
        2,
        "a free may still find its adapter's block"
    );
    let id = adapter();
    // SAFETY: nobody uses the block.
    assert_eq!(fences(&|| drop(unsafe { pool.release_adapter(id) }.unwrap())), 1);
}

/// A count of fences, and the level that it runs at.
struct OneCpu(AtomicU64, AtomicU8);

impl Host for OneCpu {
    fn cpu(&self) -> u32 {
        0
    }

    fn irql(&self) -> Irql {
        Irql::new(self.1.load(Ordering::Relaxed)).unwrap()
    }
}

// SAFETY: one thread, and no handler.
unsafe impl MaskInterrupts for OneCpu {
    type State = ();

    fn mask(&self) {}

    fn unmask(&self, (): ()) {}

    fn fence(&self, _: u32) {
        assert!(self.irql() <= Irql::DISPATCH, "as `fence` is promised");
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn masked() {
    let pool = PoolOptions::new(1 << 20)
        .cpus(1)
        .build_on(Masked::new(OneCpu(AtomicU64::new(0), AtomicU8::new(0))))
        .unwrap();
    let OneCpu(fenced, level) = pool.platform().host();
    check(&pool, || fenced.swap(0, Ordering::Relaxed));
    // Above DISPATCH nothing fences: what would is refused, and a dump's switch goes without.
    let id = pool.add_adapter("disk").unwrap();
    fenced.store(0, Ordering::Relaxed);
    level.store(Irql::HIGH.level(), Ordering::Relaxed);
    pool.set_not_implemented(true);
    assert!(pool.remove_adapter(id).is_err() && pool.add_adapter("tape").is_err() && pool.trim().is_err());
    pool.set_not_implemented(false);
    assert_eq!(fenced.load(Ordering::Relaxed), 0);
    level.store(0, Ordering::Relaxed);
    pool.remove_adapter(id).unwrap();
}

/// membarrier(2), MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ.
const RSEQ: u64 = 1 << 7;
static FENCED: AtomicU32 = AtomicU32::new(0);

/// In place of membarrier: there is one thread, so nothing is left to be done.
extern "C" fn trapped(_: i32, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel's, for a handler with SA_SIGINFO.
    let registers = unsafe { &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs };
    if registers[REG_RDI as usize] as u64 == RSEQ {
        FENCED.fetch_add(1, Ordering::Relaxed);
    }
    registers[REG_RAX as usize] = 0;
}

/// From now on, this thread's calls of membarrier come to `trapped`; unless the process may have no filter.
fn trap_membarrier() -> bool {
    let action = SigAction::new(SigHandler::SigAction(trapped), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler touches a static atomic and its own context.
    unsafe { sigaction(Signal::SIGSYS, &action) }.unwrap();
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut steps = [
        // The call's number is the first word.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_membarrier as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_TRAP),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the program outlives the call.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    }
}

#[test]
fn restartable_sequences() {
    let pool = PoolOptions::new(1 << 20).build().unwrap();
    if !pool.uses_rseq() || !trap_membarrier() {
        return println!("there are none, or their fences cannot be seen");
    }
    check(&pool, || u64::from(FENCED.swap(0, Ordering::Relaxed)));
}
