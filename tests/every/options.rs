//! Which runs are made, and what they may be.

use std::process::Command;
use std::sync::atomic::{AtomicPtr, Ordering};

use storport_pool::{Commit, FailEach, Rule, RunEnd, VerifierError, VerifierOptions, ViolationKind, tag};

use crate::{Bench, each_way, numbers};

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
        let report =
            bench.pool.fail_each(each.stop_at_first(true), || crate::paths::forgets_one(bench)).unwrap();
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
        assert!(
            report.to_string().contains("every::options::on_signal  tests/every/options.rs:"),
            "{report}"
        );
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
