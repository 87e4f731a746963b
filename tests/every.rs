//! The n-th allocation fails, for every n: what the driver finds, and what it leaves alone.

#![cfg(all(feature = "verifier", target_os = "linux"))]

use std::process::Command;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use storport_pool::{
    AdapterId, Commit, FailEach, FailReport, Native, Pool, PoolOptions, PoolTag, Rule, RunEnd, StackKind,
    Status, TagPattern, VerifierError, VerifierOptions, Violation, ViolationKind, tag,
};

/// Runs fork: one test at a time, so that no other thread holds what a child needs.
static ALONE: Mutex<()> = Mutex::new(());

struct Bench {
    pool: Pool<Native>,
    disk: AdapterId,
    heard: Arc<Mutex<Vec<Violation>>>,
    _alone: MutexGuard<'static, ()>,
}

impl Bench {
    fn new(commit: Commit) -> Bench {
        let alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let pool = PoolOptions::new(16 << 20).cpus(4).commit(commit).build().unwrap();
        let disk = pool.add_adapter("disk0").unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = Arc::clone(&heard);
        pool.on_violation(move |violation| ears.lock().unwrap().push(*violation));
        Bench { pool, disk, heard, _alone: alone }
    }

    fn get(&self, bytes: u32, tag: PoolTag) -> Option<u64> {
        let mut block = 0;
        self.pool.allocate(self.disk, bytes, tag, Some(&mut block)).is_success().then_some(block)
    }

    /// Whether it was freed.
    fn put(&self, block: u64) -> bool {
        // SAFETY: nobody uses the block, and a second free is refused.
        unsafe { self.pool.free(self.disk, block) }.is_success()
    }

    fn each(&self) -> FailEach {
        FailEach::new(Rule::new().adapter(self.disk)).limit(Duration::from_secs(60))
    }

    fn live(&self) -> u64 {
        self.pool.usage().live
    }
}

/// Each way of committing, in child processes and without.
fn each_way(mut check: impl FnMut(&Bench, FailEach, bool)) {
    for commit in [Commit::Auto, Commit::Portable] {
        for children in [true, false] {
            let bench = Bench::new(commit);
            let each = if children { bench.each() } else { bench.each().in_process() };
            check(&bench, each, children);
        }
    }
}

fn numbers(report: &FailReport) -> Vec<u64> {
    report.findings().map(|run| run.n).collect()
}

/// Five allocations, and a leak if the third one fails.
#[inline(never)]
fn forgets_one(bench: &Bench) {
    let Some(first) = bench.get(100, tag!("Frst")) else { return };
    let Some(second) = bench.get(200, tag!("Scnd")) else {
        bench.put(first);
        return;
    };
    let Some(third) = bench.get(300, tag!("Thrd")) else {
        // And the second one.
        bench.put(first);
        return;
    };
    let more = [bench.get(400, tag!("More")), bench.get(500, tag!("More"))];
    for block in more.into_iter().flatten().chain([third, second, first]) {
        bench.put(block);
    }
}

#[test]
fn a_leak_on_an_error_path_is_found_and_named() {
    each_way(|bench, each, children| {
        let report = bench.pool.fail_each(each, || forgets_one(bench)).unwrap();
        assert_eq!((report.allocations, report.runs.len(), report.left_out), (5, 6, 0));
        assert_eq!(report.runs.iter().map(|run| run.n).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(report.runs.iter().map(|run| run.allocations).collect::<Vec<_>>(), [5, 1, 2, 3, 5, 5]);
        assert!(!report.is_clean());
        assert_eq!(numbers(&report), [3]);
        let run = &report.runs[3];
        assert_eq!((&run.end, run.leaked_blocks, run.leaked_bytes), (&RunEnd::Finished, 1, 200));
        assert_eq!((run.leaks.len(), run.leaks[0].tag, run.leaks[0].bytes), (1, Some(tag!("Scnd")), 200));
        let refused = run.refused.unwrap();
        assert_eq!((refused.tag, refused.bytes), (tag!("Thrd"), 300));
        assert_eq!(refused.stack.kind(), StackKind::Taken);
        assert_ne!(refused.stack, run.leaks[0].allocated);
        // What a run in a child does stays there.
        assert_eq!(bench.live(), u64::from(!children));
        assert_eq!(bench.pool.usage().allocs, if children { 0 } else { 5 + 4 + 4 + 2 + 1 });

        let shown = report.to_string();
        let line = |call: &str| {
            let source = include_str!("every.rs");
            let at = source.lines().position(|line| line.contains(call)).unwrap() + 1;
            format!("every::forgets_one  tests/every.rs:{at}\n")
        };
        let lines: Vec<&str> = shown.lines().collect();
        let at = |text: &str| lines.iter().position(|line| line.contains(text)).expect(&shown);
        assert_eq!(
            at("error: it leaves 1 block allocated, 200 bytes, when allocation 3 fails"),
            0,
            "{shown}"
        );
        assert_eq!(at("refused: 300 bytes, tag 'Thrd', asked for here"), 1, "{shown}");
        assert!(at("left: 1 block of 200 bytes, tag 'Scnd', allocated here") > 2, "{shown}");
        assert!(shown.contains(&line("= bench.get(300,")), "{shown}");
        assert!(shown.contains(&line("= bench.get(200,")), "{shown}");
        assert!(!shown.contains("storport_pool::"), "{shown}");
        assert!(!shown.contains("lang_start") && !shown.contains("__libc_start"), "{shown}");
        assert!(
            shown.ends_with("5 allocations; 5 runs with one of them refused; 1 run with findings"),
            "{shown}"
        );
    });
}

#[test]
fn good_work_is_clean() {
    each_way(|bench, each, children| {
        let work = || {
            let first = bench.get(100, tag!("Frst"));
            // Tries again, once.
            let second = bench.get(5000, tag!("Scnd")).or_else(|| bench.get(5000, tag!("Scnd")));
            let many: Vec<_> = (0..20).map(|n| bench.get(n * 30 + 1, tag!("Many"))).collect();
            for block in many.into_iter().chain([first, second]).flatten() {
                assert!(bench.put(block));
            }
        };
        let report = bench.pool.fail_each(each, work).unwrap();
        assert!(report.is_clean(), "{report}");
        assert_eq!((report.allocations, report.runs.len()), (22, 23));
        assert!(report.runs[1..].iter().all(|run| run.refused.is_some() && !run.missed()));
        // The second one is tried again.
        let more: Vec<u64> =
            report.runs.iter().filter(|run| run.allocations != 22).map(|run| run.n).collect();
        assert_eq!((more, report.runs[2].allocations), (vec![2], 23));
        assert!(
            report
                .to_string()
                .contains("nothing found\nnote: more allocations than in the first run for n = 2")
        );
        assert_eq!((bench.live(), bench.heard.lock().unwrap().len()), (0, 0));
        // The rules are gone: nothing is refused or noted any more.
        let stats = bench.pool.attached().unwrap().stats();
        assert_eq!(stats.refused, if children { 0 } else { 22 });
        let block = bench.get(64, tag!("Aftr")).unwrap();
        assert_eq!(bench.pool.attached().unwrap().stats().verified, stats.verified);
        bench.put(block);
    });
}

#[test]
fn crashes_are_found_and_the_process_goes_on() {
    for commit in [Commit::Auto, Commit::Portable] {
        let bench = Bench::new(commit);
        let work = |crash: &dyn Fn()| {
            let first = bench.get(100, tag!("Frst"));
            let second = bench.get(100, tag!("Scnd"));
            if second.is_none() {
                crash();
            }
            first.into_iter().chain(second).for_each(|block| assert!(bench.put(block)));
        };
        let wild = || {
            let nothing = std::hint::black_box(std::ptr::without_provenance_mut::<u32>(8));
            // SAFETY: none: it is to crash.
            unsafe { nothing.write_volatile(1) }
        };
        let ends: [(&dyn Fn(), RunEnd, &str); 4] = [
            (&wild, RunEnd::Signal(libc::SIGSEGV), "it crashes by signal 11 (SIGSEGV: "),
            (&|| std::process::abort(), RunEnd::Signal(libc::SIGABRT), "it crashes by signal 6 (SIGABRT: "),
            (&|| std::process::exit(0), RunEnd::Exited(0), "it ends the process, with status 0"),
            (
                &|| std::panic::resume_unwind(Box::new("no second one")),
                RunEnd::Panicked("no second one".into()),
                "it panics (\"no second one\"); it leaves 1 block allocated",
            ),
        ];
        for (crash, end, text) in ends {
            let report = bench.pool.fail_each(bench.each(), || work(crash)).unwrap();
            assert_eq!((report.allocations, numbers(&report)), (2, vec![2]), "{report}");
            assert_eq!(report.runs[2].end, end);
            // It is known although the process is gone.
            let refused = report.runs[2].refused.unwrap();
            assert_eq!((refused.tag, refused.stack.kind()), (tag!("Scnd"), StackKind::Taken));
            let shown = report.to_string();
            assert!(shown.starts_with(&format!("error: {text}")), "{shown}");
            assert!(shown.contains("tests/every.rs:"), "{shown}");
            assert!(shown.contains("help: look at "), "{shown}");
        }
        assert_eq!(bench.live(), 0);
    }
}

#[test]
fn a_panic_without_child_processes_is_a_finding() {
    let bench = Bench::new(Commit::Auto);
    let work = || {
        let first = bench.get(100, tag!("Frst"));
        if first.is_none() {
            std::panic::resume_unwind(Box::new(String::from("nothing there")));
        }
        first.into_iter().for_each(|block| assert!(bench.put(block)));
    };
    let report = bench.pool.fail_each(bench.each().in_process(), work).unwrap();
    assert_eq!(numbers(&report), [1]);
    assert_eq!(report.runs[1].end, RunEnd::Panicked("nothing there".into()));
}

#[test]
fn a_run_that_hangs_is_killed() {
    let bench = Bench::new(Commit::Auto);
    let work = || {
        let first = bench.get(100, tag!("Frst"));
        while first.is_none() {
            std::thread::park();
        }
        first.into_iter().for_each(|block| assert!(bench.put(block)));
        let second = bench.get(100, tag!("Scnd"));
        second.into_iter().for_each(|block| assert!(bench.put(block)));
    };
    let report = bench.pool.fail_each(bench.each().limit(Duration::from_secs(3)), work).unwrap();
    assert_eq!((numbers(&report), report.runs.len()), (vec![1], 3), "{report}");
    assert_eq!((&report.runs[1].end, report.runs[1].refused.unwrap().tag), (&RunEnd::Hung, tag!("Frst")));
    assert!(
        report
            .to_string()
            .starts_with("error: it does not return within the limit of time, when allocation 1")
    );
}

#[test]
fn a_double_free_on_an_error_path_is_told() {
    each_way(|bench, each, _| {
        let work = || {
            let Some(first) = bench.get(100, tag!("Frst")) else { return };
            match bench.get(200, tag!("Scnd")) {
                Some(second) => assert!(bench.put(second)),
                None => assert!(bench.put(first)),
            }
            bench.put(first);
        };
        let report = bench.pool.fail_each(each, work).unwrap();
        assert_eq!(numbers(&report), [2], "{report}");
        let run = &report.runs[2];
        assert_eq!((run.violation_count, run.violations.len(), run.leaked_blocks), (1, 1, 0));
        let told = run.violations[0];
        assert_eq!((told.kind, told.tag), (ViolationKind::DoubleFree, Some(tag!("Frst"))));
        assert_eq!((told.allocated.kind(), told.freed.kind()), (StackKind::Taken, StackKind::Taken));
        let shown = report.to_string();
        assert!(shown.starts_with("error: 1 violation, when allocation 2 fails\n"), "{shown}");
        assert!(
            shown.contains("  violation: double free at 0x") && shown.contains("and freed here\n"),
            "{shown}"
        );
        // The host's own hook heard none of it, and hears again.
        assert_eq!(bench.heard.lock().unwrap().len(), 0);
        assert!(!bench.put(bench.pool.range().0));
        assert_eq!(bench.heard.lock().unwrap().len(), 1);
    });
}

#[test]
fn many_violations_are_counted_and_the_first_are_kept() {
    each_way(|bench, each, _| {
        let report = bench.pool.fail_each(each, || {
            if bench.get(100, tag!("Frst")).map(|block| bench.put(block)).is_none() {
                (0..20).for_each(|_| assert!(!bench.put(bench.pool.range().0)));
            }
        });
        let report = report.unwrap();
        assert_eq!((report.runs[1].violation_count, report.runs[1].violations.len()), (20, 8));
        assert!(report.to_string().contains("\n  violation: 16 more\n"), "{report}");
    });
}

/// A word that child processes share.
fn shared_word() -> &'static AtomicU32 {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a mapping of its own, zeroed, which is never unmapped.
    unsafe { &*libc::mmap(std::ptr::null_mut(), 4096, access, kind, -1, 0).cast::<AtomicU32>() }
}

#[test]
fn numbers_that_vary_are_said_and_are_no_finding() {
    each_way(|bench, each, _| {
        let runs = shared_word();
        let work = || {
            // Four allocations first; then two and six by turns.
            let count = [4, 2, 6][match runs.fetch_add(1, Ordering::Relaxed) {
                0 => 0,
                run => 1 + run as usize % 2,
            }];
            for _ in 0..count {
                bench.get(100, tag!("Some")).into_iter().for_each(|block| {
                    bench.put(block);
                });
            }
        };
        let report = bench.pool.fail_each(each, work).unwrap();
        assert!(report.is_clean());
        assert_eq!(report.runs.iter().map(|run| run.allocations).collect::<Vec<_>>(), [4, 6, 2, 6, 2]);
        assert_eq!(
            report.runs.iter().map(|run| run.missed()).collect::<Vec<_>>(),
            [false, false, false, false, true]
        );
        let shown = report.to_string();
        assert!(
            shown.starts_with("4 allocations; 3 runs with one of them refused; nothing found\n"),
            "{shown}"
        );
        assert!(
            shown.contains("note: fewer allocations than n, so nothing was refused, for n = 4\n"),
            "{shown}"
        );
        assert!(shown.ends_with("note: more allocations than in the first run for n = 1, 3"), "{shown}");
    });
}

#[test]
fn what_the_rule_is_not_for_is_left_alone() {
    each_way(|bench, each, _| {
        let other = bench.pool.add_adapter("disk1").unwrap();
        let rule = Rule::new().adapter(bench.disk).tags(TagPattern::new("S*").unwrap());
        let some = FailEach::new(rule);
        let some = if each == each.in_process() { some.in_process() } else { some };
        let report = bench.pool.fail_each(some, || {
            // Left each time, and no finding.
            let mut block = 0;
            assert_eq!(bench.pool.allocate(other, 64, tag!("Srb0"), Some(&mut block)), Status::SUCCESS);
            assert!(bench.get(64, tag!("Othr")).is_some());
            let _ = bench.get(64, tag!("Srb0")).map(|block| bench.put(block));
        });
        let report = report.unwrap();
        assert!(report.is_clean(), "{report}");
        assert_eq!((report.allocations, report.runs.len()), (1, 2));
        assert_eq!(report.runs[1].refused.unwrap().tag, tag!("Srb0"));
    });
}

#[test]
fn options_say_which_runs_are_made() {
    each_way(|bench, each, _| {
        let tried = |each: FailEach| {
            let report = bench.pool.fail_each(each, || {
                for _ in 0..10 {
                    let _ = bench.get(64, tag!("Some")).map(|block| bench.put(block));
                }
            });
            report.unwrap().runs.iter().skip(1).map(|run| run.n).collect::<Vec<_>>()
        };
        assert_eq!(tried(each.step(4)), [1, 5, 9]);
        assert_eq!(tried(each.most(2)), [1, 2]);
        assert_eq!(tried(each.seed(3).most(4)), tried(each.seed(3))[..4]);
        assert_ne!(tried(each.seed(3)), tried(each));
        let report = bench.pool.fail_each(each.stop_at_first(true), || forgets_one(bench)).unwrap();
        assert_eq!((report.runs.len(), report.left_out, report.is_clean()), (4, 2, false));
        assert!(report.to_string().ends_with("\nnote: 2 values of n not tried"), "{report}");
    });
}

#[test]
fn work_that_is_bad_by_itself_is_said_so() {
    let bench = Bench::new(Commit::Auto);
    let report = bench.pool.fail_each(bench.each(), || assert!(bench.get(64, tag!("Left")).is_some()));
    let report = report.unwrap();
    assert_eq!(numbers(&report), [0, 1]);
    assert!(report.to_string().contains("64 bytes, and no allocation was refused"), "{report}");
    // What comes to no end is not counted to its end.
    let report = bench.pool.fail_each(bench.each(), || std::process::exit(3)).unwrap();
    assert_eq!((report.runs.len(), &report.runs[0].end, report.is_clean()), (1, &RunEnd::Exited(3), false));
    assert!(report.to_string().contains("help: this needs no failing allocation"), "{report}");
}

/// The bench whose handler runs.
static HANDLERS: AtomicPtr<Bench> = AtomicPtr::new(std::ptr::null_mut());

#[inline(never)]
extern "C" fn on_signal(_signal: libc::c_int) {
    // SAFETY: the test sets it while the signal may come.
    let bench = unsafe { &*HANDLERS.load(Ordering::Relaxed) };
    let first = bench.get(100, tag!("Hndl"));
    let second = bench.get(200, tag!("Hndl"));
    if let (Some(first), Some(second)) = (first, second) {
        bench.put(first);
        bench.put(second);
    }
}

#[test]
fn allocations_in_a_handler_are_refused_too() {
    each_way(|bench, each, _| {
        HANDLERS.store(std::ptr::from_ref(bench).cast_mut(), Ordering::Relaxed);
        // SAFETY: the handler is fit for a signal's: it calls the pool alone.
        unsafe { libc::signal(libc::SIGUSR1, on_signal as *const () as libc::sighandler_t) };
        let report = bench.pool.fail_each(each, || {
            let block = bench.get(64, tag!("Some"));
            // SAFETY: this thread's own signal.
            unsafe { libc::raise(libc::SIGUSR1) };
            block.into_iter().for_each(|block| assert!(bench.put(block)));
        });
        let report = report.unwrap();
        assert_eq!((report.allocations, numbers(&report)), (3, vec![2, 3]), "{report}");
        assert_eq!((report.runs[2].leaked_bytes, report.runs[3].leaked_bytes), (200, 100));
        assert!(report.to_string().contains("every::on_signal  tests/every.rs:"), "{report}");
    });
}

#[test]
fn threads_of_the_works_are_seen_too() {
    each_way(|bench, each, _| {
        let report = bench.pool.fail_each(each, || {
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        let first = bench.get(100, tag!("Frst"));
                        // The first one is left if this one fails.
                        let second = bench.get(200, tag!("Scnd"));
                        if let (Some(first), Some(second)) = (first, second) {
                            bench.put(first);
                            bench.put(second);
                        } else if let (None, Some(second)) = (first, second) {
                            bench.put(second);
                        }
                    });
                }
            });
        });
        let report = report.unwrap();
        assert_eq!(report.allocations, 6, "{report}");
        for run in &report.runs[1..] {
            let second = run.refused.unwrap().tag == tag!("Scnd");
            assert_eq!((run.leaked_blocks, run.is_clean()), (second.into(), !second), "{report}");
        }
    });
}

#[test]
fn blocks_of_an_adapter_that_is_gone_are_found() {
    each_way(|bench, each, children| {
        let all = if children { FailEach::new(Rule::new()) } else { FailEach::new(Rule::new()).in_process() };
        assert_eq!(each == each.in_process(), !children);
        let report = bench.pool.fail_each(all, || {
            let guest = bench.pool.add_adapter("guest").unwrap();
            let get = |bytes| {
                let mut block = 0;
                bench
                    .pool
                    .allocate(guest, bytes, tag!("Gest"), Some(&mut block))
                    .is_success()
                    .then_some(block)
            };
            // SAFETY: nobody uses the blocks.
            let put = |block| unsafe { bench.pool.free(guest, block) }.is_success();
            let first = get(100);
            if let Some(second) = get(200) {
                put(second);
                first.map(put);
            }
            bench.pool.remove_adapter(guest).unwrap();
        });
        let report = report.unwrap();
        assert_eq!(numbers(&report), [2], "{report}");
        let run = &report.runs[2];
        assert_eq!((run.leaked_bytes, run.leaks[0].tag), (100, Some(tag!("Gest"))));
    });
}

#[test]
fn blocks_without_a_note_are_not_called_clean() {
    each_way(|bench, each, _| {
        bench.pool.verifier(VerifierOptions::new().notes(64)).unwrap();
        let report = bench.pool.fail_each(each.most(1), || {
            let blocks: Vec<_> = (0..200).map(|_| bench.get(16, tag!("Many"))).collect();
            blocks.into_iter().flatten().for_each(|block| assert!(bench.put(block)));
        });
        let report = report.unwrap();
        assert!(!report.is_clean() && report.runs[0].unknown > 0);
        assert!(report.to_string().contains("without a note, which may be left"), "{report}");
    });
}

#[test]
fn checks_of_the_rule_hold_in_the_runs() {
    each_way(|bench, each, children| {
        let rule = Rule::new().adapter(bench.disk).canary();
        let checked = if children { FailEach::new(rule) } else { FailEach::new(rule).in_process() };
        let work = || {
            let Some(first) = bench.get(100, tag!("Frst")) else { return };
            if bench.get(64, tag!("Scnd")).map(|block| bench.put(block)).is_none() {
                // SAFETY: behind the block, where canaries lie.
                unsafe { (first as *mut u8).add(101).write(1) };
            }
            bench.put(first);
        };
        assert!(bench.pool.fail_each(each, work).unwrap().is_clean());
        let report = bench.pool.fail_each(checked, work).unwrap();
        assert_eq!((numbers(&report), report.runs[2].violations[0].kind), (vec![2], ViolationKind::Overrun));
    });
}

#[test]
fn an_adapter_that_is_not_there_is_refused() {
    let bench = Bench::new(Commit::Auto);
    bench.pool.remove_adapter(bench.disk).unwrap();
    for each in [bench.each(), bench.each().in_process()] {
        let refused = bench.pool.fail_each(each, || unreachable!());
        assert_eq!(refused.unwrap_err(), VerifierError::UnknownAdapter);
    }
}

#[test]
fn all_of_it_without_restartable_sequences() {
    if std::env::var_os("STORPORT_POOL_EVERY_AGAIN").is_some() {
        let bench = Bench::new(Commit::Auto);
        assert!(!bench.pool.uses_rseq());
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .env("GLIBC_TUNABLES", "glibc.pthread.rseq=0")
        .env("STORPORT_POOL_EVERY_AGAIN", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("running 0 tests"));
}
