//! The report as text: finding by finding, as a compiler has them.

use core::fmt;
use std::vec::Vec;

use super::report::{FailReport, FailRun, Leaked, Refused, RunEnd};
use crate::contract::tag::PoolTag;
use crate::contract::verify::stack::{CallStack, StackKind};
use crate::contract::words::Count;
use crate::pool::symbols::write_stack;

const INDENT: &str = "        ";
/// Rows of leaks, and violations, that are shown of a run.
const SHOWN: usize = 4;

/// `'Srb0'`.
struct Tag(Option<PoolTag>);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(tag) => write!(f, "tag '{tag}'"),
            None => f.write_str("tag not known"),
        }
    }
}

/// The numbers of some runs; of many the first ones.
fn write_numbers(f: &mut fmt::Formatter<'_>, numbers: &[u64]) -> fmt::Result {
    const MOST: usize = 12;
    for (at, n) in numbers.iter().take(MOST).enumerate() {
        write!(f, "{}{n}", if at == 0 { "" } else { ", " })?;
    }
    match numbers.len().saturating_sub(MOST) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

/// The last signals' names that a run ends by.
fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGSEGV => " (SIGSEGV: an access to memory that is not there)",
        libc::SIGBUS => " (SIGBUS)",
        libc::SIGABRT => " (SIGABRT: abort, or a panic that does not unwind)",
        libc::SIGILL => " (SIGILL)",
        libc::SIGFPE => " (SIGFPE)",
        libc::SIGKILL => " (SIGKILL)",
        _ => "",
    }
}

/// Whether two runs show the same, but for how many blocks: as of a loop's turns.
fn same(one: &FailRun, other: &FailRun) -> bool {
    let left = |run: &FailRun| -> Vec<_> {
        run.leaks.iter().map(|row| (row.tag, row.bytes, row.allocated)).collect()
    };
    let kinds = |run: &FailRun| run.violations.iter().map(|violation| violation.kind).collect::<Vec<_>>();
    let from = |run: &FailRun| run.refused.map(|refused: Refused| (refused.tag, refused.stack));
    one.end == other.end
        && left(one) == left(other)
        && from(one) == from(other)
        && kinds(one) == kinds(other)
        && (one.n == 0) == (other.n == 0)
}

fn write_headline(f: &mut fmt::Formatter<'_>, run: &FailRun) -> fmt::Result {
    f.write_str("error: ")?;
    match &run.end {
        RunEnd::Finished => {}
        RunEnd::Panicked(said) => write!(f, "it panics (\"{said}\")")?,
        RunEnd::Exited(status) => write!(f, "it ends the process, with status {status}")?,
        RunEnd::Signal(signal) => write!(f, "it crashes by signal {signal}{}", signal_name(*signal))?,
        RunEnd::Hung => f.write_str("it does not return within the limit of time")?,
        RunEnd::Lost => f.write_str("its process ended, and SIGCHLD is ignored, so nobody knows how")?,
    }
    let mut next = if run.end == RunEnd::Finished { "" } else { "; " };
    if run.leaked_blocks > 0 {
        let blocks = Count(run.leaked_blocks, "block");
        write!(f, "{next}it leaves {blocks} allocated, {}", Count(run.leaked_bytes, "byte"))?;
        next = "; ";
    }
    if run.violation_count > 0 {
        write!(f, "{next}{}", Count(run.violation_count, "violation"))?;
        next = "; ";
    }
    if run.unknown > 0 {
        write!(f, "{next}{} without a note, which may be left", Count(run.unknown, "block"))?;
    }
    match run.n {
        0 => f.write_str(", and no allocation was refused"),
        n => write!(f, ", when allocation {n} fails"),
    }
}

/// A call stack, if anybody asked for one.
fn write_where(f: &mut fmt::Formatter<'_>, what: &str, stack: &CallStack) -> fmt::Result {
    if stack.kind() == StackKind::NotTracked {
        return Ok(());
    }
    write!(f, "\n    {what}")?;
    write_stack(f, stack, INDENT)
}

fn write_leaks(f: &mut fmt::Formatter<'_>, run: &FailRun) -> fmt::Result {
    for Leaked { tag, bytes, blocks, allocated } in run.leaks.iter().take(SHOWN) {
        let (blocks, size) = (Count(*blocks, "block"), Count(u64::from(*bytes), "byte"));
        write!(f, "\n  left: {blocks} of {size}, {}, allocated here", Tag(*tag))?;
        write_stack(f, allocated, INDENT)?;
    }
    let shown: u64 = run.leaks.iter().take(SHOWN).map(|row| row.blocks).sum();
    match run.leaked_blocks.saturating_sub(shown) {
        0 => Ok(()),
        more => write!(f, "\n  left: {} more", Count(more, "block")),
    }
}

fn write_violations(f: &mut fmt::Formatter<'_>, run: &FailRun) -> fmt::Result {
    for violation in run.violations.iter().take(SHOWN) {
        write!(f, "\n  violation: {violation}")?;
        write_where(f, "the block was allocated here", &violation.allocated)?;
        write_where(f, "and freed here", &violation.freed)?;
    }
    match run.violation_count.saturating_sub(run.violations.len().min(SHOWN) as u64) {
        0 => Ok(()),
        more => write!(f, "\n  violation: {more} more"),
    }
}

/// What to look at.
fn write_help(f: &mut fmt::Formatter<'_>, run: &FailRun) -> fmt::Result {
    let refused = run.refused.is_some();
    let help = match &run.end {
        RunEnd::Signal(_) | RunEnd::Panicked(_) if refused => {
            "look at what uses the result of the refused allocation, and whether its status is checked"
        }
        RunEnd::Hung if refused => {
            "look at what waits for something that only a successful allocation brings: a retry without end, a lock, a \
             completion"
        }
        RunEnd::Exited(_) if refused => "look at who calls exit on the way back from the refused allocation",
        RunEnd::Finished if run.leaked_blocks > 0 && refused => {
            "look at the way back from the refused allocation: what was allocated before it must be freed there"
        }
        RunEnd::Finished if run.violation_count > 0 && refused => {
            "look at the way back from the refused allocation: what is freed there was freed already, or is not its own"
        }
        RunEnd::Finished if run.unknown > 0 => {
            "make the verifier's table of notes larger (VerifierOptions::notes)"
        }
        _ => "this needs no failing allocation: mend it first, since each run shows it",
    };
    write!(f, "\n  help: {help}")
}

fn write_run(f: &mut fmt::Formatter<'_>, run: &FailRun, also: &[u64]) -> fmt::Result {
    write_headline(f, run)?;
    if let Some(refused) = &run.refused {
        let size = Count(u64::from(refused.bytes), "byte");
        write!(f, "\n  refused: {size}, {}, asked for here", Tag(Some(refused.tag)))?;
        write_stack(f, &refused.stack, INDENT)?;
    }
    write_leaks(f, run)?;
    write_violations(f, run)?;
    write_help(f, run)?;
    if !also.is_empty() {
        f.write_str("\n  note: the same, of more or fewer blocks, for n = ")?;
        write_numbers(f, also)?;
    }
    f.write_str("\n\n")
}

impl fmt::Display for FailReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups: Vec<(&FailRun, Vec<u64>)> = Vec::new();
        for run in self.findings() {
            match groups.iter_mut().find(|(first, _)| same(first, run)) {
                Some((_, also)) => also.push(run.n),
                None => groups.push((run, Vec::new())),
            }
        }
        for (run, also) in &groups {
            write_run(f, run, also)?;
        }
        let refused = self.runs.iter().filter(|run| run.refused.is_some()).count() as u64;
        let (allocations, runs) = (Count(self.allocations, "allocation"), Count(refused, "run"));
        write!(f, "{allocations}; {runs} with one of them refused; ")?;
        match self.findings().count() as u64 {
            0 => f.write_str("nothing found")?,
            found => write!(f, "{} with findings", Count(found, "run"))?,
        }
        let missed: Vec<u64> = self.runs.iter().filter(|run| run.missed()).map(|run| run.n).collect();
        if !missed.is_empty() {
            f.write_str("\nnote: fewer allocations than n, so nothing was refused, for n = ")?;
            write_numbers(f, &missed)?;
        }
        let more = |run: &&FailRun| run.allocations > self.allocations;
        let more: Vec<u64> = self.runs.iter().filter(more).map(|run| run.n).collect();
        if !more.is_empty() {
            f.write_str("\nnote: more allocations than in the first run for n = ")?;
            write_numbers(f, &more)?;
        }
        if self.left_out > 0 {
            write!(f, "\nnote: {} of n not tried", Count(self.left_out, "value"))?;
        }
        Ok(())
    }
}
