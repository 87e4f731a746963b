//! What docs/PROCESSES.md says of system calls and stacks, looked at.
#![cfg(all(
    target_os = "linux",
    target_arch = "x86_64",
    not(storport_pool_steps),
    not(storport_pool_stretch)
))]

mod common;

use std::process::Command;

use common::*;
use nix::libc;
use storport_pool::{AdapterId, Commit, Native, Pool, PoolOptions, TaggedAlloc};

/// From now on, any other system call ends the process.
fn allow(calls: &[i64]) {
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut steps = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for &call in calls.iter().chain(&[libc::SYS_exit_group]) {
        steps.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call as u32));
        steps.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
    }
    steps.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_KILL_PROCESS));
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the program outlives the calls.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}

const WELL: i32 = 42;

/// What a process does, and which system calls that takes: with restartable sequences, and with the twin.
struct Phase {
    name: &'static str,
    calls: [&'static [i64]; 2],
    work: fn(&Pool<Native>, AdapterId, &mut Vec<u64>),
}

fn take(pool: &Pool<Native>, id: AdapterId, bytes: u32, blocks: &mut Vec<u64>) -> bool {
    let mut block = 0;
    let got = pool.allocate(id, bytes, TAG, Some(&mut block)).is_success();
    if got {
        blocks.push(block);
    }
    got
}

fn give(pool: &Pool<Native>, id: AdapterId, blocks: &mut Vec<u64>) {
    blocks.drain(..).for_each(|block| must_free(pool, id, block));
}

const FENCE: &[i64] = &[libc::SYS_membarrier];

const PHASES: [Phase; 6] = [
    Phase {
        name: "a first call, allocations while memory is left, and frees, refused ones too",
        calls: [&[], &[]],
        work: |pool, id, blocks| {
            for bytes in [64, 208, 4096, 100_000] {
                (0..20).for_each(|_| assert!(take(pool, id, bytes, blocks)));
                give(pool, id, blocks);
            }
            let mut many = [0; 64];
            assert!(pool.allocate_bulk(id, 64, TAG, &mut many).is_success());
            // SAFETY: nobody uses them.
            assert_eq!(unsafe { pool.free_bulk(id, &many, &mut []) }, 64);
            assert!(!free(pool, id, many[0]).is_success());
            pool.hint_free(many[0]);
        },
    },
    Phase {
        name: "allocations of all that is there",
        calls: [FENCE, &[]],
        work: |pool, id, blocks| {
            for bytes in [4096, 32_768] {
                while take(pool, id, bytes, blocks) {}
                give(pool, id, blocks);
            }
        },
    },
    Phase {
        name: "trim",
        calls: [&[libc::SYS_membarrier, libc::SYS_madvise], &[libc::SYS_madvise]],
        work: |pool, id, blocks| {
            assert!(take(pool, id, 4096, blocks));
            give(pool, id, blocks);
            assert!(pool.trim().unwrap().bytes > 0);
        },
    },
    Phase {
        name: "adapters that come and go",
        calls: [FENCE, &[]],
        work: |pool, _, blocks| {
            let id = pool.add_adapter("more").unwrap();
            assert!(take(pool, id, 4096, blocks));
            pool.remove_adapter_with(id, |_| {}).unwrap();
        },
    },
    Phase {
        name: "the host's switch",
        calls: [FENCE, &[]],
        work: |pool, _, _| {
            pool.set_not_implemented(true);
            pool.set_not_implemented(false);
        },
    },
    Phase {
        name: "the pool's end",
        calls: [&[libc::SYS_munmap], &[libc::SYS_munmap]],
        // SAFETY: the caller forgets its own.
        work: |pool, _, _| drop(unsafe { std::ptr::read(pool) }),
    },
];

fn run_phase(phase: &Phase, twin: bool) -> ! {
    let commit = if twin { Commit::Portable } else { Commit::Auto };
    let pool = PoolOptions::new(64 * SPAN).cpus(2).commit(commit).build().unwrap();
    if !twin && !pool.uses_rseq() {
        std::process::exit(WELL);
    }
    let id = pool.add_adapter("disk").unwrap();
    let mut blocks = Vec::with_capacity(1 << 14);
    allow(phase.calls[usize::from(twin)]);
    (phase.work)(&pool, id, &mut blocks);
    // SAFETY: ends the process, without another call.
    unsafe { libc::_exit(WELL) }
}

#[test]
fn system_calls() {
    const PHASE: &str = "STORPORT_POOL_TEST_PHASE";
    if let Ok(phase) = std::env::var(PHASE) {
        let phase: usize = phase.parse().unwrap();
        run_phase(&PHASES[phase / 2], phase % 2 == 1);
    }
    for n in 0..2 * PHASES.len() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "system_calls", "--nocapture"])
            .env(PHASE, n.to_string())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let Phase { name, calls, .. } = &PHASES[n / 2];
        assert_eq!(
            output.status.code(),
            Some(WELL),
            "{name} takes more than {:?}: {} {said}",
            calls[n % 2],
            output.status
        );
    }
}

/// Runs `work` on a stack of its own, and says how many bytes of that it wrote.
fn stack_of(work: impl FnOnce()) -> usize {
    const MARK: u8 = 0xA5;
    extern "C" fn enter<F: FnOnce()>(work: *mut Option<F>) {
        // SAFETY: the caller's, who waits.
        if let Some(work) = unsafe { (*work).take() } {
            work();
        }
    }
    fn run<F: FnOnce()>(work: &mut Option<F>, top: *mut u8) {
        // SAFETY: a call on another stack, which is large enough, and back.
        unsafe {
            core::arch::asm!(
                "mov r12, rsp",
                "mov rsp, {top}",
                "call {enter}",
                "mov rsp, r12",
                top = in(reg) top,
                enter = sym enter::<F>,
                in("rdi") std::ptr::from_mut(work),
                out("r12") _,
                clobber_abi("C"),
            );
        }
    }
    let mut stack = vec![MARK; 256 << 10];
    let top = stack.as_mut_ptr_range().end;
    run(&mut Some(work), top.wrapping_sub(top.addr() % 16));
    stack.len() - stack.iter().position(|&byte| byte != MARK).unwrap_or(stack.len())
}

/// In the release build, with restartable sequences and with the twin. With other options the compiler may take more.
#[test]
fn stacks() {
    if cfg!(debug_assertions) || cfg!(feature = "checked") {
        return;
    }
    for commit in [Commit::Auto, Commit::Portable] {
        let pool = PoolOptions::new(16 * SPAN).cpus(2).commit(commit).build().unwrap();
        pin(0);
        let check = |what: &str, most: usize, work: &dyn Fn()| {
            let taken = stack_of(work);
            println!("{what}: {taken} bytes");
            assert!(taken <= most, "{what}: {taken} bytes of stack, documented are {most}");
        };
        let id = pool.add_adapter("disk").unwrap();
        let blocks = std::cell::RefCell::new(Vec::with_capacity(1 << 14));
        let take = |bytes| take(&pool, id, bytes, &mut blocks.borrow_mut());
        let give = || give(&pool, id, &mut blocks.borrow_mut());
        check("allocate, a thread's first", 1024, &|| assert!(take(64)));
        check("free, fast", 256, &give);
        check("allocate, fast", 256, &|| assert!(take(64)));
        check("allocate, all ways", 1280, &|| {
            while take(4096) {}
            assert!(!take(100_000));
        });
        check("free, all ways", 512, &give);
        check("free, refused", 512, &|| assert!(!free(&pool, id, 0x1234_5678).is_success()));
        let many = std::cell::RefCell::new([0; 64]);
        check("allocate_bulk", 1280, &|| {
            assert!(pool.allocate_bulk(id, 64, TAG, &mut *many.borrow_mut()).is_success());
        });
        check("free_bulk", 512, &|| {
            // SAFETY: nobody uses them.
            assert_eq!(unsafe { pool.free_bulk(id, &*many.borrow(), &mut []) }, 64);
        });
        check("trim", 2048, &|| _ = pool.trim().unwrap());
        check("set_not_implemented", 512, &|| {
            pool.set_not_implemented(true);
            pool.set_not_implemented(false);
        });
        let added = std::cell::Cell::new(None);
        check("add_adapter", 1024, &|| added.set(Some(pool.add_adapter("more").unwrap())));
        check("remove_adapter_with", 1024, &|| {
            pool.remove_adapter_with(added.get().unwrap(), |_| {}).map(drop).unwrap()
        });
        check("snapshot", 4096, &|| drop(pool.snapshot()));
        let own: &TaggedAlloc = Box::leak(Box::new(TaggedAlloc::new(TAG, 16 * SPAN).commit(commit)));
        check("a TaggedAlloc's first use", 24 << 10, &|| assert!(own.pool().is_some()));
    }
}
