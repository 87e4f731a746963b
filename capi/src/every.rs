//! The n-th allocation fails, for every n.

use core::ffi::{CStr, c_char, c_void};
use core::mem::offset_of;
use core::ptr;
use core::time::Duration;
use std::ffi::CString;

use pool::{FailEach, FailReport, FailRun, Rule, RunEnd, TagPattern};

use crate::error::{self, Why};
use crate::kind::{sp_pool, with_pool};
use crate::registry;
use crate::types::sp_bool;
use crate::violation::{kind, sp_violation_kind};

/// How the runs are made. Fill it with 0, set `size`, and then what shall differ.
#[repr(C)]
pub struct sp_fail_options {
    /// `sizeof(sp_fail_options)`.
    pub size: usize,
    /// Only allocations of these tags: 1 to 16 characters, `*` for any or none, `?` for one. NULL: all tags.
    pub tags: *const c_char,
    /// At most so many runs with a refusal. 0: no limit.
    pub most: u64,
    /// The first n and then each `step`-th one. 0: each.
    pub step: u64,
    /// In an order by chance, the same for the same seed. 0: ascending.
    pub seed: u64,
    /// Milliseconds that a run has; then its process is killed. 0: ten seconds.
    pub limit_ms: u32,
    /// The first run with a finding is the last one.
    pub stop_at_first: sp_bool,
    /// Without child processes: effects stay, a crash is a crash, and nothing ends a run that hangs.
    pub in_process: sp_bool,
    /// Must be 0.
    pub reserved: u16,
}

const _: () = assert!(offset_of!(sp_fail_options, reserved) + 2 == size_of::<sp_fail_options>());

/// How a run ended: one of the numbers below. More may come.
pub type sp_run_end = u32;
/// The work returned.
pub const SP_RUN_FINISHED: sp_run_end = 0;
/// The child process ended itself; `code` is its status.
pub const SP_RUN_EXITED: sp_run_end = 1;
/// The child process was ended by a signal; `code` is its number.
pub const SP_RUN_SIGNAL: sp_run_end = 2;
/// It did not return within the limit of time, and was killed.
pub const SP_RUN_HUNG: sp_run_end = 3;
/// The child process ended, and the system does not say how: SIGCHLD is ignored.
pub const SP_RUN_LOST: sp_run_end = 4;
/// None of these.
pub const SP_RUN_OTHER: sp_run_end = 99;

/// What one run did.
#[repr(C)]
pub struct sp_fail_run {
    /// Which allocation was to be refused, counted from 1; 0: none.
    pub n: u64,
    /// Allocations that it made, the refused one included; 0 if it came to no end.
    pub allocations: u64,
    /// Blocks that it left allocated.
    pub leaked_blocks: u64,
    /// Bytes that were requested for them.
    pub leaked_bytes: u64,
    /// Violations that were told meanwhile.
    pub violations: u64,
    /// Blocks that may be left and are not known: the verifier had no room for notes of them.
    pub unknown: u64,
    /// How it ended.
    pub end: sp_run_end,
    /// The status or the signal; else 0.
    pub code: i32,
    /// What the first violation was; 0: there was none.
    pub first_violation: sp_violation_kind,
    /// The refused allocation's tag; 0: none was refused.
    pub refused_tag: u32,
    /// Bytes that it asked for.
    pub refused_bytes: u32,
    /// Whether it has no finding.
    pub clean: sp_bool,
    /// Whether it made fewer than n allocations, so that none was refused.
    pub missed: sp_bool,
}

/// The work of a run. It may start threads. It must not unwind.
pub type sp_work_callback = Option<unsafe extern "C" fn(context: *mut c_void)>;

/// Hears of the runs, when all were made: of each in their order, with `text` NULL; then once with `run` NULL, and the
/// whole report as a text for a person. Both are gone when it returns.
pub type sp_fail_callback =
    Option<unsafe extern "C" fn(context: *mut c_void, run: *const sp_fail_run, text: *const c_char)>;

fn told(run: &FailRun) -> sp_fail_run {
    let (end, code) = match run.end {
        RunEnd::Finished => (SP_RUN_FINISHED, 0),
        RunEnd::Exited(status) => (SP_RUN_EXITED, status),
        RunEnd::Signal(signal) => (SP_RUN_SIGNAL, signal),
        RunEnd::Hung => (SP_RUN_HUNG, 0),
        RunEnd::Lost => (SP_RUN_LOST, 0),
        _ => (SP_RUN_OTHER, 0),
    };
    sp_fail_run {
        n: run.n,
        allocations: run.allocations,
        leaked_blocks: run.leaked_blocks,
        leaked_bytes: run.leaked_bytes,
        violations: run.violation_count,
        unknown: run.unknown,
        end,
        code,
        first_violation: run.violations.first().map_or(0, |violation| kind(violation.kind)),
        refused_tag: run.refused.map_or(0, |refused| refused.tag.raw()),
        refused_bytes: run.refused.map_or(0, |refused| refused.bytes),
        clean: run.is_clean().into(),
        missed: run.missed().into(),
    }
}

/// # Safety
/// NULL, or options whose fields hold what their comments promise.
unsafe fn read(options: *const sp_fail_options, rule: Rule) -> Result<FailEach, Why> {
    // SAFETY: the caller's promise.
    let Some(size) = (unsafe { options.cast::<usize>().as_ref() }) else { return Ok(FailEach::new(rule)) };
    if *size != size_of::<sp_fail_options>() {
        return Err(Why::Size(*size));
    }
    // SAFETY: it has today's size.
    let options = unsafe { &*options };
    if options.reserved != 0 {
        return Err(Why::Reserved(options.reserved.into()));
    }
    let tags = if options.tags.is_null() {
        TagPattern::ALL
    } else {
        // SAFETY: the caller's promise. What is no text has a character that no pattern has.
        let text = unsafe { CStr::from_ptr(options.tags) }.to_str().unwrap_or("\u{FFFD}");
        TagPattern::new(text).map_err(|_| Why::Pattern)?
    };
    let mut each = FailEach::new(rule.tags(tags)).step(options.step).seed(options.seed);
    if options.most != 0 {
        each = each.most(options.most);
    }
    if options.limit_ms != 0 {
        each = each.limit(Duration::from_millis(options.limit_ms.into()));
    }
    if options.in_process != 0 {
        each = each.in_process();
    }
    Ok(each.stop_at_first(options.stop_at_first != 0))
}

/// Does the work once to count its allocations, then once for each n with the n-th allocation refused
/// (STOR_STATUS_INSUFFICIENT_RESOURCES, or NULL). `report` hears what each run left: blocks still allocated, a crash, a
/// hang, violations. Allocations are counted in this adapter's name; NULL: in all adapters', and those of
/// `ExAllocatePool2` and its kind. `options` may be NULL.
///
/// Each run has a child process, which begins as a copy of this one with the calling thread alone, and ends by `_exit`.
/// What other threads held when it began stays held there: a run that waits for that counts as hung. So call it while
/// the process has no other threads, or none that hold what the work needs. What a run leaves in streams' buffers is not
/// written. The callback of `sp_on_violation` hears of nothing while a run goes on. The pool gets a verifier, with call
/// stacks, if it has none. Asks malloc for memory, and ends the process where there is none.
///
/// True: all runs were made, and none has a finding. False: some have, some n were not tried, or it failed before the
/// first run; `sp_last_error` says which. PASSIVE, one call at a time for a pool.
///
/// # Safety
/// `pool` is NULL or a pool that lives; `extension` is NULL or an address; `options` is NULL or points to options.
/// `work` and `report` may be called with `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_fail_each(
    pool: *mut sp_pool,
    extension: *mut c_void,
    options: *const sp_fail_options,
    work: sp_work_callback,
    context: *mut c_void,
    report: sp_fail_callback,
) -> sp_bool {
    // SAFETY: the caller's promise.
    let made = unsafe { make(pool, extension, options, work, context) };
    let made = made.and_then(|made| {
        // SAFETY: as above.
        unsafe { tell(&made, context, report) };
        let found = made.findings().count() as u64;
        match (found, made.left_out) {
            (0, 0) => Ok(1),
            (0, left) => Err(Why::LeftOut(left)),
            _ => Err(Why::Findings(found, made.runs.len() as u64)),
        }
    });
    error::told(made, 0)
}

/// # Safety
/// As `sp_fail_each`.
unsafe fn make(
    pool: *mut sp_pool,
    extension: *mut c_void,
    options: *const sp_fail_options,
    work: sp_work_callback,
    context: *mut c_void,
) -> Result<FailReport, Why> {
    // SAFETY: the caller's promise.
    let handle = unsafe { pool.as_ref() }.ok_or(Why::NullPool)?;
    let work = work.ok_or(Why::NullCallback)?;
    let rule = if extension.is_null() {
        Rule::new()
    } else {
        let found = registry::find(extension).filter(|(of, _)| ptr::eq(of.as_ptr(), handle));
        Rule::new().adapter(found.ok_or(Why::NoExtension)?.1)
    };
    // SAFETY: as above.
    let each = unsafe { read(options, rule)? };
    // SAFETY: as above.
    let work = || unsafe { work(context) };
    with_pool!(handle, pool => pool.fail_each(each, work)).map_err(Why::Verifier)
}

/// # Safety
/// The callback may be called with the context.
unsafe fn tell(made: &FailReport, context: *mut c_void, report: sp_fail_callback) {
    let Some(report) = report else { return };
    for run in &made.runs {
        // SAFETY: the caller's promise.
        unsafe { report(context, &told(run), ptr::null()) };
    }
    // No name of a function has a 0; what a panic of Rust's says might.
    let text = CString::new(made.to_string().replace('\0', "?")).unwrap_or_default();
    // SAFETY: as above.
    unsafe { report(context, ptr::null(), text.as_ptr()) };
}
