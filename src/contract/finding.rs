//! What a look at all of a pool's metadata finds: what is wrong, and where every block is.

use alloc::vec::Vec;
use core::fmt;

use super::block::BlockState;
use super::fault::ImageFault;

/// What a [`Finding`]'s number counts.
///
/// ```
/// use storport_pool::Subject;
/// assert_eq!(Subject::Span.describe(), "span");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Subject {
    /// A block: its offset in the range, in units of 16 bytes.
    Block,
    /// A span, from 0 up: 64 KiB of the range, or 4 KiB in pools below 8 MiB.
    Span,
    /// A magazine: where it lies, in words of four bytes from the base of the metadata.
    Magazine,
    /// A magazine of the depot: its number, from 0 up.
    DepotMagazine,
    /// A CPU's number.
    Cpu,
    /// An adapter's place, from 1 up.
    Adapter,
    /// An account's place.
    Account,
    /// The pool as a whole.
    Pool,
}

impl Subject {
    /// A word for a person. Any IRQL.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Subject::Block => "block",
            Subject::Span => "span",
            Subject::Magazine => "magazine",
            Subject::DepotMagazine => "magazine of the depot",
            Subject::Cpu => "CPU",
            Subject::Adapter => "adapter's place",
            Subject::Account => "account",
            Subject::Pool => "pool",
        }
    }
}

/// One thing that is wrong with a pool's metadata.
///
/// It displays as one line: what, where, and the numbers. [`Pool::check`](crate::Pool::check) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Finding {
    /// What is wrong: the words of [`ImageFault::what`], for the same rule.
    pub what: &'static str,
    /// What `number` counts.
    pub subject: Subject,
    /// Which one.
    pub number: u64,
    /// The address of the block or span; `None` for what has none in the range.
    pub address: Option<u64>,
    /// The number or word that is wrong, where it is not `number` itself.
    pub found: Option<u64>,
    /// What it should be, or the most that it may be, where that is one number.
    pub expected: Option<u64>,
    /// For a block in two places: the second place that was looked at.
    pub place: Option<BlockState>,
}

impl Finding {
    pub(crate) const fn new(what: &'static str, subject: Subject, number: u64) -> Finding {
        Finding { what, subject, number, address: None, found: None, expected: None, place: None }
    }

    pub(crate) const fn found(self, found: u64) -> Finding {
        Finding { found: Some(found), ..self }
    }

    pub(crate) const fn expected(self, expected: u64) -> Finding {
        Finding { expected: Some(expected), ..self }
    }

    pub(crate) const fn fault(&self) -> ImageFault {
        ImageFault::new(self.what, self.number)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.what, self.subject.describe(), self.number)?;
        if let Some(address) = self.address {
            write!(f, " at {address:#x}")?;
        }
        if let Some(found) = self.found {
            write!(f, ", found {found:#x}")?;
        }
        if let Some(expected) = self.expected {
            write!(f, ", expected {expected:#x}")?;
        }
        if let Some(place) = self.place {
            write!(f, ", the second one is {place}")?;
        }
        Ok(())
    }
}

/// Where a pool's blocks and spans are. Each is counted once. [`Pool::check`](crate::Pool::check) has an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Places {
    /// Blocks of all slabs. `live`, `loaded`, `spare`, `depot`, `loose`, `never_carved` and `in_hand` add up to it, unless
    /// something is wrong.
    pub blocks: u64,
    /// Blocks that callers have.
    pub live: u64,
    /// Free blocks in the magazines that CPUs have loaded.
    pub loaded: u64,
    /// Free blocks in CPUs' spare magazines.
    pub spare: u64,
    /// Free blocks in magazines of the depot.
    pub depot: u64,
    /// Free blocks in no magazine.
    pub loose: u64,
    /// Blocks that were never handed out.
    pub never_carved: u64,
    /// Blocks that calls have in hand: those under way, or, at rest, those that never ended.
    pub in_hand: u64,
    /// Large runs that callers have.
    pub live_runs: u64,
    /// Large runs that were freed, and are not collected yet.
    pub freed_runs: u64,
    /// Large runs that calls have in hand.
    pub runs_in_hand: u64,
    /// Spans of the range. `slab_spans`, `run_spans`, `free_spans` and `spans_in_hand` add up to it, unless something is
    /// wrong.
    pub spans: u64,
    /// Spans that are slabs.
    pub slab_spans: u64,
    /// Spans of large runs.
    pub run_spans: u64,
    /// Spans that nobody uses.
    pub free_spans: u64,
    /// Spans that calls have in hand.
    pub spans_in_hand: u64,
}

/// What [`Pool::check`](crate::Pool::check) found in all of a pool's metadata. That function has an example.
///
/// ```
/// use storport_pool::{CheckReport, Pool};
/// let report = Pool::new(1 << 20)?.check()?;
/// assert!(report.is_good() && report.findings.len() <= CheckReport::MOST);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CheckReport {
    /// What is wrong, in the order of the look. These are the first [`MOST`](CheckReport::MOST) findings. One fault may
    /// cause several.
    pub findings: Vec<Finding>,
    /// How many things are wrong. It counts those, too, that the list has no room for.
    pub faults: u64,
    /// Whether the metadata stood still during the look. If not, calls were under way. Then `findings` has only faults
    /// that a single word proves, and `places` mixes several moments.
    pub settled: bool,
    /// Whether adapters and accounts stood still, too. If not, one was being added or removed. Then what a removal
    /// changes step by step was not judged.
    pub owners_settled: bool,
    /// Where the blocks and spans are.
    pub places: Places,
}

impl CheckReport {
    /// The most findings that a report lists.
    pub const MOST: usize = 1000;

    /// Whether nothing is wrong. Any IRQL.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.faults == 0
    }
}

/// The allocator had no memory for the look. [`Pool::check`](crate::Pool::check) returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NoMemory;

impl fmt::Display for NoMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no memory to look at the pool")
    }
}

impl core::error::Error for NoMemory {}
