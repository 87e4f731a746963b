//! The driver: the run that counts, and one for each n.

use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use super::child::{Shared, in_child};
use super::options::FailEach;
use super::page::Page;
use super::report::{FailReport, FailRun, Leaked, Refused, RunEnd};
use super::run::run;
use crate::contract::hook::HookRecord;
use crate::contract::verify::options::VerifierOptions;
use crate::contract::violation::Violation;
use crate::percpu::platform::Platform;
use crate::pool::handle::Pool;
use crate::pool::verifier::{Verifier, VerifierError};
use crate::sync::Ordering;

/// Exit status of a child whose work did not begin.
const NOT_BEGUN: i32 = 213;

impl<P: Platform> Pool<P> {
    /// Does the work once to count its allocations. Then it does it once for each n, and refuses the n-th allocation
    /// (`INSUFFICIENT_RESOURCES`). It reports what each run left: blocks still allocated, a crash, a hang, violations.
    /// Feature `verifier`, Linux. PASSIVE, not in a handler, one call at a time for a pool. Each run walks all states.
    ///
    /// **Child processes.** Each run has one, so all begin alike, and nothing of them stays. The child has one thread,
    /// a copy of this one. It ends by `_exit`, so what it leaves in the buffers of C's streams is not written. What
    /// other threads held at the fork stays held in the child: a run that waits for such a lock counts as hung. So call
    /// this while the process has no other threads, or none that hold what the work needs. The work may start threads.
    /// The pool itself knows of forks (`docs/PROCESSES.md`), and so do allocators like glibc's.
    /// [`FailEach::in_process`] makes the runs without child processes.
    ///
    /// **Counting.** Allocations are counted in the order in which they come, those of handlers and other threads too.
    /// Where that order changes from run to run, so does what is refused. A run that made fewer than n allocations has
    /// [`missed`](FailRun::missed).
    ///
    /// **The hook.** During a run, the driver has the pool's violation hook. The report has what it heard, up to 8
    /// violations in full. The host's own hook hears of none. The work must not change the hook.
    ///
    /// **Blocks.** A verifier is made if the pool has none. Its notes tell which blocks are left. So blocks that the
    /// rule does not match are not looked at. A [`sweep`](Verifier::sweep) ends each run.
    ///
    /// # Errors
    /// [`VerifierError`]: `Os` (no memory, no process), `UnknownAdapter`, `TooManyRules`, `Busy`.
    ///
    /// ```
    /// use storport_pool::{FailEach, Pool, Rule, tag};
    /// let pool = Pool::new(64 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// let report = pool.fail_each(FailEach::new(Rule::new().adapter(disk)), || {
    ///     let (mut queue, mut ring) = (0, 0);
    ///     if !pool.allocate(disk, 256, tag!("Queu"), Some(&mut queue)).is_success() {
    ///         return;
    ///     }
    ///     if !pool.allocate(disk, 4096, tag!("Ring"), Some(&mut ring)).is_success() {
    ///         // The queue should be freed here.
    ///         return;
    ///     }
    ///     unsafe {
    ///         pool.free(disk, ring);
    ///         pool.free(disk, queue);
    ///     }
    /// })?;
    /// let run = report.findings().next().unwrap();
    /// assert_eq!((report.allocations, run.n, run.leaked_blocks), (2, 2, 1));
    /// assert_eq!(run.leaks[0].tag, Some(tag!("Queu")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fail_each(&self, options: FailEach, mut work: impl FnMut()) -> Result<FailReport, VerifierError> {
        let verifier = self.verifier(VerifierOptions::new())?;
        if options.rule.adapter.is_some_and(|adapter| !self.meta.adapter_live(adapter)) {
            return Err(VerifierError::UnknownAdapter);
        }
        if options.children {
            let shared = Shared::new()?;
            let page = core::ptr::from_ref(shared.page()).cast_mut();
            // SAFETY: only children publish it. They never leave this function, so it lives as long as they do, as the
            // page does; hearing is for any thread and any IRQL.
            let record = unsafe { HookRecord::new(hear, page.cast()) };
            drive(options, |n| {
                shared.page().clear();
                child_run(verifier, options, n, shared.page(), &record, &mut work)
            })
        } else {
            let page = Arc::new(Page::new());
            let hearing = Hearing::begin(verifier, Arc::clone(&page));
            let report = drive(options, |n| {
                page.clear();
                run(verifier, options.rule, n, &page, &mut work)?;
                Ok(read(&page, n, RunEnd::Exited(0)))
            });
            drop(hearing);
            report
        }
    }
}

/// The runs, one after the other.
fn drive(
    options: FailEach,
    mut run: impl FnMut(u64) -> Result<FailRun, VerifierError>,
) -> Result<FailReport, VerifierError> {
    let first = run(0)?;
    let allocations = first.allocations;
    let ended = first.end == RunEnd::Finished;
    let stop = options.stop && !first.is_clean();
    let mut report = FailReport { allocations, runs: Vec::from([first]), left_out: 0 };
    // What came to no end was not counted to its end.
    if !ended || stop {
        report.left_out = options.chosen(allocations).len() as u64;
        return Ok(report);
    }
    let chosen = options.chosen(allocations);
    for (tried, &n) in chosen.iter().enumerate() {
        let made = run(n)?;
        let stop = options.stop && !made.is_clean();
        report.runs.push(made);
        if stop {
            report.left_out = (chosen.len() - tried - 1) as u64;
            break;
        }
    }
    Ok(report)
}

/// One run in a child process.
fn child_run<P: Platform>(
    verifier: Verifier<'_, P>,
    options: FailEach,
    n: u64,
    page: &Page,
    record: &HookRecord,
    work: &mut dyn FnMut(),
) -> Result<FailRun, VerifierError> {
    let end = in_child(options.limit, || {
        verifier.pool.meta.publish_hook(core::ptr::from_ref(record).cast_mut());
        // SAFETY: the child never unmaps the page.
        unsafe { verifier.verifier.tell_refusals((&raw const page.refusal).cast_mut()) };
        if run(verifier, options.rule, n, page, work).is_err() {
            // SAFETY: a system call.
            unsafe { libc::_exit(NOT_BEGUN) };
        }
    })?;
    if end == RunEnd::Exited(NOT_BEGUN) && !page.begun() {
        // Rules are full, or another thread was changing them when it was forked.
        return Err(VerifierError::Busy);
    }
    Ok(read(page, n, end))
}

fn hear(violation: &Violation, page: *mut ()) {
    // SAFETY: the page of whoever published the record, which outlives it.
    unsafe { &*page.cast::<Page>() }.hear(violation);
}

/// The pool's violations go to a page, and its refusals; until it is dropped.
struct Hearing<'pool, P: Platform> {
    verifier: Verifier<'pool, P>,
    former: *mut HookRecord,
}

impl<'pool, P: Platform> Hearing<'pool, P> {
    /// The page is the pool's from now on, until its end: another thread may be writing there at any time.
    fn begin(verifier: Verifier<'pool, P>, page: Arc<Page>) -> Hearing<'pool, P> {
        // ORDERING: Acquire - the record, which is published again.
        let former = verifier.pool.meta.control().hook.load(Ordering::Acquire);
        let slot = (&raw const page.refusal).cast_mut();
        verifier.pool.on_violation(move |violation| page.hear(violation));
        // SAFETY: the hook's record has the page, and lives as long as the pool, whose the verifier is.
        unsafe { verifier.verifier.tell_refusals(slot) };
        Hearing { verifier, former }
    }
}

impl<P: Platform> Drop for Hearing<'_, P> {
    fn drop(&mut self) {
        // SAFETY: null is none.
        unsafe { self.verifier.verifier.tell_refusals(core::ptr::null_mut()) };
        self.verifier.pool.meta.publish_hook(self.former);
    }
}

/// What a run wrote, and how its process ended.
fn read(page: &Page, n: u64, end: RunEnd) -> FailRun {
    let written = page.end();
    let violations: Vec<_> = page.violations().collect();
    let refused = page.refusal.get().map(|refusal| Refused {
        tag: refusal.tag,
        bytes: refusal.bytes,
        stack: refusal.stack,
    });
    let mut made = FailRun {
        n,
        end,
        allocations: 0,
        refused,
        leaks: Vec::new(),
        leaked_blocks: 0,
        leaked_bytes: 0,
        violation_count: violations.len() as u64,
        violations,
        unknown: 0,
    };
    let Some(written) = written else {
        return made;
    };
    // What came later than the end of the work is no finding about it, but a crash of a thread that still ran.
    made.end = match (made.end, written.panicked) {
        (RunEnd::Exited(0) | RunEnd::Lost, true) => {
            RunEnd::Panicked(String::from_utf8_lossy(&written.said[..written.len as usize]).into_owned())
        }
        (RunEnd::Exited(0) | RunEnd::Lost, false) => RunEnd::Finished,
        (end, _) => end,
    };
    made.allocations = written.allocations;
    made.leaked_blocks = written.blocks;
    made.leaked_bytes = written.bytes;
    made.unknown = written.unknown;
    made.violation_count = written.violations.max(made.violation_count);
    let rows = written.leaks[..written.rows as usize].iter();
    made.leaks.extend(rows.map(|row| Leaked {
        tag: row.tag,
        bytes: row.bytes,
        blocks: row.blocks,
        allocated: row.allocated,
    }));
    made
}
