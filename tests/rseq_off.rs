//! Without restartable sequences the pool commits by its twin, and nothing else changes.
#![cfg(target_os = "linux")]

mod common;

use std::process::Command;

use common::*;
use storport_pool::{Commit, CreateError, Pool, PoolOptions, Status};

const CHILD: &str = "STORPORT_POOL_TEST_EXPECT_RSEQ";
const NO_MEMBARRIER: &str = "STORPORT_POOL_TEST_NO_MEMBARRIER";

/// What a child process does, in every case the same.
fn self_check(pool: &Pool<storport_pool::Native>) {
    let id = pool.add_adapter("disk").unwrap();
    for _ in 0..3 {
        for size in SIZES {
            let mut blocks = Vec::new();
            fill(pool, id, size, &mut blocks);
            assert_eq!(blocks.len() as u64, fitting(4 * SPAN, size));
            std::thread::scope(|scope| {
                for half in blocks.chunks(blocks.len().div_ceil(2)) {
                    scope.spawn(|| half.iter().for_each(|&address| must_free(pool, id, address)));
                }
            });
            assert_eq!(free(pool, id, blocks[0]), Status::INVALID_PARAMETER);
        }
    }
    assert_eq!(totals(&pool.snapshot()).2, 0);
    pool.trim().unwrap();
    assert_eq!(pool.snapshot().free_bytes, pool.range().1);
    pool.set_not_implemented(true);
    pool.set_not_implemented(false);
    pool.remove_adapter(id).unwrap();
}

/// Makes the kernel refuse `membarrier` to this process from now on, as sandboxes do.
fn refuse_membarrier() {
    use nix::libc::{SYS_membarrier, prctl, sock_filter, sock_fprog};
    const fn filter(code: u16, jump_false: u8, k: u32) -> sock_filter {
        sock_filter { code, jt: 0, jf: jump_false, k }
    }
    // Load the call's number; refuse this one with ENOSYS, allow all others (uapi linux/seccomp.h).
    let mut filters = [
        filter(0x20, 0, 0),
        filter(0x15, 1, SYS_membarrier as u32),
        filter(0x06, 0, 0x0005_0000 | nix::libc::ENOSYS as u32),
        filter(0x06, 0, 0x7FFF_0000),
    ];
    let program = sock_fprog { len: filters.len() as u16, filter: filters.as_mut_ptr() };
    // SAFETY: the program and its filters outlive the calls.
    unsafe {
        assert_eq!(prctl(nix::libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(prctl(nix::libc::PR_SET_SECCOMP, nix::libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}

#[test]
fn child() {
    if std::env::var_os(NO_MEMBARRIER).is_some() {
        refuse_membarrier();
    }
    let pool = PoolOptions::new(4 * SPAN).build().unwrap();
    if let Ok(expected) = std::env::var(CHILD) {
        assert_eq!(pool.uses_rseq().to_string(), expected);
    }
    self_check(&pool);
}

fn run_child(expected: &str, variable: &str, value: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, expected)
        .env(variable, value)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_c_library_has_none() {
    run_child("false", "GLIBC_TUNABLES", "glibc.pthread.rseq=0");
}

#[test]
fn membarrier_is_refused() {
    run_child("false", NO_MEMBARRIER, "1");
}

#[test]
fn the_environment_forbids_it() {
    run_child("false", "STORPORT_POOL_COMMIT", "portable");
}

/// Any other word is an error, which names the variable and its words. An empty one is none.
#[test]
fn the_environment_says_what_it_wants_in_two_words() {
    const WORD: &str = "STORPORT_POOL_TEST_WORD";
    if let Ok(word) = std::env::var(WORD) {
        let made = PoolOptions::new(4 * SPAN).build().map(drop);
        match word.as_str() {
            "" | "auto" | "portable" => assert_eq!(made, Ok(())),
            _ => {
                assert_eq!(made, Err(CreateError::CommitVariable));
                let said = made.unwrap_err().to_string();
                assert_eq!(said, "STORPORT_POOL_COMMIT must be \"auto\" or \"portable\", or not be set");
            }
        }
        return;
    }
    for word in ["", "auto", "portable", "Portable", "protable", "rseq", "1"] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_environment_says_what_it_wants_in_two_words"])
            .env(WORD, word)
            .env("STORPORT_POOL_COMMIT", word)
            .output()
            .unwrap();
        assert!(output.status.success(), "{word}: {output:?}");
    }
}

#[test]
fn the_program_forbids_it() {
    let pool = PoolOptions::new(4 * SPAN).commit(Commit::Portable).build().unwrap();
    assert!(!pool.uses_rseq());
    self_check(&pool);
}

/// Pools of both kinds side by side, used by the same threads.
#[test]
fn both_kinds_in_one_process() {
    std::thread::scope(|scope| {
        for commit in [Commit::Auto, Commit::Portable, Commit::Auto, Commit::Portable] {
            scope.spawn(move || {
                let pool = PoolOptions::new(4 * SPAN).commit(commit).build().unwrap();
                self_check(&pool);
                // Thread-local storage of libraries loaded later still works: nothing of the
                // thread's own area was overwritten.
                let name = std::thread::Builder::new().name("after".into());
                name.spawn(thread_locals_work).unwrap().join().unwrap();
                thread_locals_work();
            });
        }
    });
}

fn thread_locals_work() {
    thread_local! {
        static LOCAL: std::cell::RefCell<Vec<u64>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    LOCAL.with_borrow_mut(|local| local.extend(0..1000));
    LOCAL.with_borrow(|local| assert_eq!(local.iter().sum::<u64>(), 499_500));
}
