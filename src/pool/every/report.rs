//! What the runs did, as values.

use std::string::String;
use std::vec::Vec;

use crate::contract::tag::PoolTag;
use crate::contract::verify::stack::CallStack;
use crate::contract::violation::Violation;

/// What [`Pool::fail_each`](crate::Pool::fail_each) found. It displays as text for a person, with the names of
/// functions where the program has them. To display, it reads files and asks the program's allocator for memory.
///
/// ```
/// # use storport_pool::{FailEach, Pool, Rule, tag};
/// # let pool = Pool::new(1 << 20)?;
/// # let disk = pool.add_adapter("disk0")?;
/// let report = pool.fail_each(FailEach::new(Rule::new().adapter(disk)).in_process(), || {
///     let mut block = 0;
///     if pool.allocate(disk, 100, tag!("Srb0"), Some(&mut block)).is_success() {
///         // And is never freed.
///     }
/// })?;
/// assert!(!report.is_clean());
/// // The first run refuses nothing, and leaks.
/// let first = report.findings().next().unwrap();
/// assert!(!first.is_clean() && !first.missed());
/// assert_eq!((first.n, first.leaks[0].bytes), (0, 100));
/// println!("{report}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FailReport {
    /// Allocations that the first run made, in which none was refused.
    pub allocations: u64,
    /// The runs, in their order. The first one refuses nothing (n 0). Then there is one for each n that was tried.
    pub runs: Vec<FailRun>,
    /// Values of n that were not tried, though they should have been: the first run came to no end, or a finding was
    /// the last one.
    pub left_out: u64,
}

/// One run of a [`FailReport`], which has an example.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FailRun {
    /// Which allocation it was to refuse, counted from 1. 0: none.
    pub n: u64,
    /// How it ended.
    pub end: RunEnd,
    /// Allocations that it made, the refused one included; 0 if it came to no end. More or fewer than in the first run are
    /// no finding.
    pub allocations: u64,
    /// What was refused. `None`: the run made fewer than n allocations, or it was to refuse none.
    pub refused: Option<Refused>,
    /// Blocks that it left allocated, by tag, size and call stack: up to 32 rows. Empty if it came to no end.
    pub leaks: Vec<Leaked>,
    /// How many blocks it left allocated, in all.
    pub leaked_blocks: u64,
    /// Bytes that were requested for them.
    pub leaked_bytes: u64,
    /// The first violations during the run, up to 8.
    pub violations: Vec<Violation>,
    /// How many violations there were.
    pub violation_count: u64,
    /// Blocks that may be left, but are not known. The verifier had no room for their notes
    /// ([`VerifierOptions::notes`](crate::VerifierOptions::notes)).
    pub unknown: u64,
}

/// How a [run](FailRun) ended.
///
/// ```
/// use storport_pool::{FailEach, Pool, Rule, RunEnd, tag};
/// let pool = Pool::new(1 << 20)?;
/// let disk = pool.add_adapter("disk0")?;
/// // The work takes for granted that each allocation succeeds.
/// let report = pool.fail_each(FailEach::new(Rule::new().adapter(disk)).in_process(), || {
///     let block = pool.try_allocate(disk, 100, tag!("Srb0")).unwrap();
///     unsafe { pool.free(disk, block) };
/// })?;
/// let run = &report.runs[1];
/// assert!(matches!(run.end, RunEnd::Panicked(_)));
/// assert_eq!(run.refused.unwrap().tag, tag!("Srb0"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum RunEnd {
    /// The work returned.
    Finished,
    /// It panicked, and unwound. This is what it said, up to 240 bytes.
    Panicked(String),
    /// The child process ended itself with this status.
    Exited(i32),
    /// The child process was ended by this signal.
    Signal(i32),
    /// It did not return within the time limit. The child process was killed.
    Hung,
    /// The child process ended, and the system does not say how, since SIGCHLD is ignored.
    Lost,
}

/// An allocation that a [run](FailRun) refused on purpose. [`RunEnd`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Refused {
    /// Its tag.
    pub tag: PoolTag,
    /// Bytes that it asked for.
    pub bytes: u32,
    /// Who made it.
    pub stack: CallStack,
}

/// Blocks of one tag, size and call stack that a [run](FailRun) left allocated. [`FailReport`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Leaked {
    /// Their tag. `None`: it is not known any more, since their adapter was removed.
    pub tag: Option<PoolTag>,
    /// Bytes that were requested for each.
    pub bytes: u32,
    /// How many blocks.
    pub blocks: u64,
    /// Where they were allocated.
    pub allocated: CallStack,
}

impl FailReport {
    /// Whether no run has a finding, and all were made.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.left_out == 0 && self.runs.iter().all(FailRun::is_clean)
    }

    /// The runs with a finding. Any IRQL.
    pub fn findings(&self) -> impl Iterator<Item = &FailRun> {
        self.runs.iter().filter(|run| !run.is_clean())
    }
}

impl FailRun {
    /// Whether it finished, left no block, and no violation was told. Any IRQL. [`FailReport`] has an example.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.end == RunEnd::Finished
            && self.leaked_blocks == 0
            && self.violation_count == 0
            && self.unknown == 0
    }

    /// Whether it was to refuse an allocation, and made none with that number. Then it has shown nothing. Any IRQL.
    /// [`FailReport`] has an example.
    #[must_use]
    pub fn missed(&self) -> bool {
        self.n > 0 && self.refused.is_none()
    }
}
