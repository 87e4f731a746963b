//! AddressSanitizer reports who touches a free block of the pool. Needs `--cfg storport_pool_asan` and
//! `-Zsanitizer=address`; `ci/sanitizers.sh` runs it.
#![cfg(storport_pool_asan)]

mod common;

use std::process::Command;

use common::*;
use storport_pool::{AdapterId, Native, Pool, PoolOptions};

/// Which mistake a child process makes.
const MISTAKE: &str = "STORPORT_POOL_TEST_MISTAKE";

fn read(address: u64) {
    // SAFETY: none, where a test makes a mistake; the sanitizer says so.
    std::hint::black_box(unsafe { (address as *const u8).read() });
}

fn write(address: u64) {
    // SAFETY: as above.
    unsafe { (address as *mut u8).write(1) };
}

fn touch_all(address: u64, bytes: u32) {
    for n in [0, bytes / 2, bytes - 1] {
        write(address + u64::from(n));
    }
}

type Mistake = fn(&Pool<Native>, AdapterId);

const MISTAKES: [(&str, Mistake); 9] = [
    ("a read after free", |pool, id| {
        let block = alloc(pool, id, 64).unwrap();
        must_free(pool, id, block);
        read(block);
    }),
    ("a write to the end of a freed page", |pool, id| {
        let block = alloc(pool, id, 4096).unwrap();
        must_free(pool, id, block);
        write(block + 4095);
    }),
    ("a write behind what was asked for", |pool, id| {
        let block = alloc(pool, id, 50).unwrap();
        write(block + 50);
    }),
    ("the end of a freed block between live ones", |pool, id| {
        let blocks = [0; 4].map(|_| alloc(pool, id, 64).unwrap());
        must_free(pool, id, blocks[1]);
        read(blocks[1] + 63);
    }),
    ("the rest of a slab", |pool, id| read(alloc(pool, id, 4096).unwrap() + 4096)),
    ("a freed run", |pool, id| {
        let block = alloc(pool, id, 200_000).unwrap();
        must_free(pool, id, block);
        write(block + 199_999);
    }),
    ("a write behind a run", |pool, id| {
        let block = alloc(pool, id, 200_000).unwrap();
        write(block + 200_000);
    }),
    ("a block that another thread freed", |pool, id| {
        let block = alloc(pool, id, 128).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| must_free(pool, id, block));
        });
        write(block);
    }),
    ("a block that went with its adapter", |pool, id| {
        let block = alloc(pool, id, 128).unwrap();
        // SAFETY: none; that is the mistake.
        unsafe { pool.release_adapter(id) }.unwrap();
        write(block);
    }),
];

#[test]
fn child() {
    let Ok(name) = std::env::var(MISTAKE) else { return };
    for resident in [false, true] {
        let pool = PoolOptions::new(4 << 20).resident(resident).build().unwrap();
        let id = pool.add_adapter("disk").unwrap();
        // What is right is let pass: all that was asked for, and again after a free.
        for bytes in [1, 50, 64, 4096, 20_000, 200_000] {
            for _ in 0..3 {
                let block = alloc(&pool, id, bytes).unwrap();
                touch_all(block, bytes);
                must_free(&pool, id, block);
            }
        }
        pool.trim().unwrap();
        let chosen = |known: &str| name == format!("{known}, resident: {resident}");
        if let Some((_, mistake)) = MISTAKES.iter().find(|(known, _)| chosen(known)) {
            mistake(&pool, id);
        }
        let (base, bytes) = pool.range();
        drop(pool);
        map_and_use(base, bytes);
    }
}

/// Whoever is mapped where the pool was may use it. (The sanitizer knows of the C library's `mmap`, and would
/// unpoison for it.)
fn map_and_use(base: u64, bytes: u64) {
    use nix::libc::{
        MAP_ANONYMOUS, MAP_FIXED_NOREPLACE, MAP_PRIVATE, PROT_READ, PROT_WRITE, SYS_mmap, syscall,
    };
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    // SAFETY: a new mapping, where there is none.
    let got = unsafe { syscall(SYS_mmap, base, bytes, PROT_READ | PROT_WRITE, flags, -1, 0) };
    assert_eq!(got as u64, base);
    (base..base + bytes).step_by(4096).for_each(write);
}

fn run_child(name: &str) -> (bool, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(MISTAKE, name)
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn mistakes_are_reported() {
    for (name, _) in MISTAKES {
        for resident in [false, true] {
            let name = format!("{name}, resident: {resident}");
            let (passed, said) = run_child(&name);
            assert!(!passed && said.contains("use-after-poison"), "{name}: {said}");
        }
    }
}

#[test]
fn what_is_right_passes() {
    let (passed, said) = run_child("none");
    assert!(passed, "{said}");
}
