//! Verified blocks under load: rules that come and go, threads, handlers, removals, forks.
#![cfg(all(feature = "verifier", target_os = "linux"))]

#[path = "common/timer.rs"]
mod timer;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use storport_pool::{
    AdapterId, Commit, Guard, LowResources, Pool, PoolOptions, PoolTag, Rule, Status, TagPattern,
    VerifierOptions, tag,
};

/// Numbers that look random.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

const TAGS: [PoolTag; 4] = [tag!("Srb0"), tag!("Srb1"), tag!("VioS"), tag!("Sens")];

fn some_rule(dice: &mut Dice, adapter: AdapterId) -> Rule {
    let rule = match dice.roll(6) {
        0 => Rule::new().track(),
        1 => Rule::new().canary(),
        2 => Rule::new().quarantine().canary(),
        3 => Rule::new().guard(Guard::After),
        4 => Rule::new().guard(Guard::Before),
        _ => Rule::new().track().low_resources(LowResources::new().probability(500).seed(dice.roll(1000))),
    };
    let rule = if dice.roll(2) == 0 { rule } else { rule.adapter(adapter) };
    match dice.roll(3) {
        0 => rule.tags(TagPattern::new("Srb?").unwrap()),
        1 => rule.tags(TagPattern::new("V*").unwrap()),
        _ => rule,
    }
}

/// Writes all of a block, and tells later whether it is as it was.
fn stamp(address: u64, bytes: u32) {
    // SAFETY: the caller has the block.
    unsafe { (address as *mut u8).write_bytes((address >> 4) as u8, bytes as usize) };
}

fn is_stamped(address: u64, bytes: u32) -> bool {
    // SAFETY: the caller has the block.
    let found = unsafe { std::slice::from_raw_parts(address as *const u8, bytes as usize) };
    found.iter().all(|&byte| byte == (address >> 4) as u8)
}

type Held = (AdapterId, u64, u32);

/// Threads free each other's blocks, while rules come and go, adapters are removed, and all is swept and trimmed.
fn under_load(commit: Commit, bytes: u64) {
    let pool = PoolOptions::new(bytes).cpus(4).commit(commit).build().unwrap();
    let verifier = pool.verifier(VerifierOptions::new().quarantine(64).notes(2048)).unwrap();
    verifier.sample(500, 8);
    let heard = std::sync::Arc::new(AtomicU64::new(0));
    let ears = heard.clone();
    pool.on_violation(move |violation| {
        if violation.kind != storport_pool::ViolationKind::Leak {
            eprintln!("{violation}");
            ears.fetch_add(1, Ordering::Relaxed);
        }
    });
    let stays = pool.add_adapter("stays").unwrap();
    let stop = AtomicBool::new(false);
    let shared: Vec<Mutex<Option<Held>>> = (0..64).map(|_| Mutex::new(None)).collect();
    let (allocated, removed) = (AtomicU64::new(0), AtomicU64::new(0));
    let enough = || {
        let stats = verifier.stats();
        stats.verified > 3000
            && stats.guarded > 50
            && removed.load(Ordering::Relaxed) > 100
            && allocated.load(Ordering::Relaxed) > 20_000
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|thread| {
                let (pool, shared, allocated, enough) = (&pool, &shared, &allocated, &enough);
                scope.spawn(move || {
                    let mut dice = Dice(thread + 1);
                    while !enough() {
                        let mut slot = shared[dice.roll(64) as usize].lock().unwrap();
                        if let Some((owner, address, bytes)) = slot.take() {
                            assert!(is_stamped(address, bytes));
                            // SAFETY: it was taken.
                            assert_eq!(unsafe { pool.free(owner, address) }, Status::SUCCESS);
                        } else {
                            let most = if dice.roll(10) == 0 { 20_000 } else { 300 };
                            let bytes = 1 + dice.roll(most) as u32;
                            let mut address = 0;
                            let status =
                                pool.allocate(stays, bytes, TAGS[dice.roll(4) as usize], Some(&mut address));
                            if status.is_success() {
                                allocated.fetch_add(1, Ordering::Relaxed);
                                stamp(address, bytes);
                                *slot = Some((stays, address, bytes));
                            } else {
                                assert_eq!(status, Status::INSUFFICIENT_RESOURCES);
                            }
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let mut dice = Dice(99);
            let mut rules = vec![];
            while !stop.load(Ordering::Relaxed) {
                match dice.roll(8) {
                    0 | 1 => rules.extend(verifier.add(some_rule(&mut dice, stays)).ok()),
                    2 | 3 if !rules.is_empty() => {
                        let rule = rules.swap_remove(dice.roll(rules.len() as u64) as usize);
                        verifier.remove(rule).unwrap();
                    }
                    4 => {
                        verifier.sweep();
                    }
                    5 => {
                        let _ = pool.trim();
                    }
                    6 => {
                        // One that goes while others work: its blocks are counted exactly.
                        let goes = pool.add_adapter("goes").unwrap();
                        let mut had = 0;
                        for n in 0..20 {
                            let mut address = 0;
                            had += u64::from(
                                pool.allocate(goes, 1 + n * 40, TAGS[n as usize % 4], Some(&mut address))
                                    .is_success(),
                            );
                        }
                        let removal = if dice.roll(2) == 0 {
                            // SAFETY: nobody uses the blocks.
                            unsafe { pool.release_adapter(goes).unwrap() }
                        } else {
                            let removal = pool.remove_adapter(goes).unwrap();
                            for row in pool.leaks(Some(goes)).rows {
                                assert!(row.blocks > 0);
                            }
                            removal
                        };
                        assert_eq!((removal.blocks(), removal.exact), (had, true));
                        removed.fetch_add(had, Ordering::Relaxed);
                    }
                    _ => {
                        verifier.tick();
                        let snapshot = pool.snapshot();
                        assert!(snapshot.tags.iter().all(|row| row.totals.live <= row.totals.allocs));
                    }
                }
            }
        });
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        stop.store(true, Ordering::Relaxed);
    });
    for slot in &shared {
        if let Some((owner, address, bytes)) = slot.lock().unwrap().take() {
            assert!(is_stamped(address, bytes));
            // SAFETY: nobody uses it.
            assert_eq!(unsafe { pool.free(owner, address) }, Status::SUCCESS);
        }
    }
    let snapshot = pool.snapshot();
    let own: u64 =
        snapshot.accounts.iter().filter(|row| row.adapter == Some(stays)).map(|row| row.totals.allocs).sum();
    assert_eq!(own, allocated.load(Ordering::Relaxed));
    assert_eq!(heard.load(Ordering::Relaxed), 0);
    // What removed adapters left.
    for row in pool.leaks(Some(AdapterId::ORPHANS)).rows {
        assert!(row.blocks > 0);
    }
    // SAFETY: nobody uses the blocks.
    unsafe { pool.release_adapter(stays).unwrap() };
    verifier.sweep();
    // (A guarded block's run goes on behind it.)
    let (base, range) = pool.range();
    let live = (base..base + range).step_by(16).filter_map(|at| pool.block_at(at)).filter(|block| block.live);
    let left: std::collections::BTreeSet<u64> = live.map(|block| block.address).collect();
    for block in left {
        // SAFETY: nobody uses the orphans.
        assert_eq!(unsafe { pool.free(AdapterId::ORPHANS, block) }, Status::SUCCESS);
    }
    verifier.sweep();
    pool.trim().unwrap();
    let snapshot = pool.snapshot();
    assert_eq!(snapshot.free_bytes, snapshot.range_bytes);
}

#[test]
fn rules_come_and_go_under_load() {
    under_load(Commit::Auto, 64 << 20);
}

#[test]
fn rules_come_and_go_under_load_in_the_twin() {
    under_load(Commit::Portable, 64 << 20);
}

#[test]
fn rules_come_and_go_under_load_in_a_small_pool() {
    under_load(Commit::Auto, 2 << 20);
}

static POOL: std::sync::OnceLock<(Pool, AdapterId)> = std::sync::OnceLock::new();
static INTERRUPTED: AtomicU64 = AtomicU64::new(0);
static VERIFIED: AtomicU64 = AtomicU64::new(0);
static DAMAGE: AtomicU64 = AtomicU64::new(0);
static WELL: AtomicU64 = AtomicU64::new(0);
static CHILD: AtomicBool = AtomicBool::new(false);
static HELD: AtomicU64 = AtomicU64::new(0);

fn must(well: bool) {
    DAMAGE.fetch_add(u64::from(!well), Ordering::Relaxed);
}

extern "C" fn interrupt(_: i32) {
    let errno = nix::errno::Errno::last_raw();
    let (pool, disk) = POOL.get().unwrap();
    let count = INTERRUPTED.fetch_add(1, Ordering::Relaxed);
    // Frees what the code below, or another interruption, has left for it; leaves another one.
    let given = HELD.swap(0, Ordering::AcqRel);
    if given != 0 {
        // SAFETY: it was left for whoever takes it.
        must(unsafe { pool.free(*disk, given) }.is_success());
    }
    let mut block = 0;
    let bytes = 1 + (count % 700) as u32;
    must(pool.allocate(*disk, bytes, tag!("Hand"), Some(&mut block)).is_success());
    stamp(block, bytes);
    must(is_stamped(block, bytes));
    VERIFIED.fetch_add(
        u64::from(pool.block_at(block).is_some_and(|found| found.capacity == u64::from(bytes))),
        Ordering::Relaxed,
    );
    // SAFETY: nobody uses it.
    must(unsafe { pool.free(*disk, block) }.is_success());
    if count % 200 == 199 && !CHILD.load(Ordering::Relaxed) {
        // SAFETY: the child goes on here and in the code below, then ends.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => CHILD.store(true, Ordering::Relaxed),
            Ok(ForkResult::Parent { child }) => {
                let ended = waitpid(child, None);
                WELL.fetch_add(u64::from(ended == Ok(WaitStatus::Exited(child, 42))), Ordering::Relaxed);
                must(ended == Ok(WaitStatus::Exited(child, 42)));
            }
            Err(_) => must(false),
        }
    }
    nix::errno::Errno::set_raw(errno);
}

/// A handler comes anywhere, allocates and frees verified blocks, and forks; the child goes on in what was interrupted.
#[test]
fn a_handler_allocates_and_frees_verified_blocks() {
    let pool = Pool::new(64 << 20).unwrap();
    let disk = pool.add_adapter("disk0").unwrap();
    pool.on_violation(|_| must(false));
    assert!(POOL.set((pool, disk)).is_ok());
    let (pool, disk) = POOL.get().unwrap();
    let verifier = pool.verifier(VerifierOptions::new().quarantine(32)).unwrap();
    // SAFETY: it does what a handler may.
    unsafe { timer::handle(interrupt) };
    let timer = timer::every(50_000);
    let mut dice = Dice(7);
    let mut last = None;
    for round in 0u64.. {
        let rule = verifier.add(some_rule(&mut dice, *disk).low_resources(LowResources::new())).ok();
        for _ in 0..20 {
            let bytes = 1 + dice.roll(5000) as u32;
            let mut block = 0;
            must(pool.allocate(*disk, bytes, tag!("Main"), Some(&mut block)).is_success());
            stamp(block, bytes);
            must(is_stamped(block, bytes));
            let left = HELD.swap(block, Ordering::AcqRel);
            if left != 0 {
                // SAFETY: it was left for whoever takes it.
                must(unsafe { pool.free(*disk, left) }.is_success());
            }
        }
        if let Some(rule) = rule.filter(|_| round % 3 != 0).or(last.take()) {
            must(verifier.remove(rule).is_ok());
        }
        if round % 7 == 0 {
            verifier.sweep();
        }
        if CHILD.load(Ordering::Relaxed) && dice.roll(20) == 0 {
            verifier.sweep();
            std::process::exit(if DAMAGE.load(Ordering::Relaxed) == 0 { 42 } else { 43 });
        }
        let (count, verified) = (INTERRUPTED.load(Ordering::Relaxed), VERIFIED.load(Ordering::Relaxed));
        if !CHILD.load(Ordering::Relaxed) && count > 4000 && verified > 500 {
            break;
        }
    }
    drop(timer);
    assert_eq!(DAMAGE.load(Ordering::Relaxed), 0);
    assert!(WELL.load(Ordering::Relaxed) > 10);
    let left = HELD.swap(0, Ordering::AcqRel);
    // SAFETY: nobody uses it.
    assert!(left == 0 || unsafe { pool.free(*disk, left) }.is_success());
    verifier.sweep();
    pool.trim().unwrap();
    let snapshot = pool.snapshot();
    assert_eq!(snapshot.free_bytes, snapshot.range_bytes);
}
