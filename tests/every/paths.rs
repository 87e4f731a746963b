//! What is found on error paths.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use storport_pool::{Commit, FailEach, Rule, RunEnd, StackKind, Status, TagPattern, ViolationKind, tag};

use crate::{Bench, each_way, numbers};

/// Five allocations, and a leak if the third one fails.
#[inline(never)]
pub(crate) fn forgets_one(bench: &Bench) {
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
            let source = include_str!("paths.rs");
            let at = source.lines().position(|line| line.contains(call)).unwrap() + 1;
            format!("every::paths::forgets_one  tests/every/paths.rs:{at}\n")
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
            assert!(shown.contains("tests/every/paths.rs:"), "{shown}");
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
