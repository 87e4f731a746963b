//! One run, in the process that makes it.

use core::fmt::Write;
use std::boxed::Box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::string::String;

use super::page::{Ended, Page, ROWS, Row, SAID};
use crate::contract::verify::rule::{LowResources, Rule};
use crate::contract::verify::stack::{CallStack, StackKind};
use crate::contract::words::beginning;
use crate::percpu::platform::Platform;
use crate::pool::verifier::{Verifier, VerifierError};
use crate::stock::walk::Live;
use crate::sync::Ordering;

/// Does the work once, with the n-th allocation refused, and writes what it did. The page's refusal slot must be the
/// verifier's.
pub(crate) fn run<P: Platform>(
    verifier: Verifier<'_, P>,
    rule: Rule,
    n: u64,
    page: &Page,
    work: &mut dyn FnMut(),
) -> Result<(), VerifierError> {
    let counters = &verifier.verifier.counters;
    // ORDERING: Relaxed, twice - the thread's own blocks come later.
    let first = counters.tickets.load(Ordering::Relaxed) as u32;
    let unnoted = counters.notes_left_out.load(Ordering::Relaxed);
    let violations = verifier.pool.violations();
    let added = verifier.add(rule.low_resources(LowResources::new().only(n)))?;
    page.begin();
    page.refusal.wait_for((n > 0).then_some(added.place));
    let ended = catch_unwind(AssertUnwindSafe(work));
    // Counted before the rule goes.
    let allocations = verifier.counts(added).map_or(0, |counts| counts.seen);
    // Another thread of the work's may be changing rules.
    while verifier.remove(added) == Err(VerifierError::Busy) {
        std::thread::yield_now();
    }
    let mut end = Ended {
        allocations,
        violations: 0,
        unknown: 0,
        blocks: 0,
        bytes: 0,
        rows: 0,
        leaks: [Row { tag: None, bytes: 0, blocks: 0, allocated: CallStack::none(StackKind::NotTracked) };
            ROWS],
        panicked: false,
        len: 0,
        said: [0; SAID],
    };
    if let Err(said) = ended {
        end.panicked = true;
        keep_said(&mut end, &said);
        // What a panic carries may panic once more when it is dropped.
        core::mem::forget(said);
    }
    verifier.sweep();
    verifier.pool.meta.walk(|live| count_live(verifier, rule, first, live, &mut end));
    // ORDERING: Relaxed - a statistic.
    end.unknown = counters.notes_left_out.load(Ordering::Relaxed).wrapping_sub(unnoted);
    end.violations = verifier.pool.violations().wrapping_sub(violations);
    page.finish(&end);
    Ok(())
}

/// What a panic said, as far as there is room.
fn keep_said(end: &mut Ended, said: &Box<dyn core::any::Any + Send>) {
    let text = said.downcast_ref::<&str>().copied().or(said.downcast_ref::<String>().map(String::as_str));
    let mut into = Cut(end);
    // It is cut where there is no room.
    let _ = into.write_str(text.unwrap_or("no text"));
}

struct Cut<'a>(&'a mut Ended);

impl Write for Cut<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let text = beginning(text, SAID);
        self.0.said[..text.len()].copy_from_slice(text.as_bytes());
        self.0.len = text.len() as u32;
        Ok(())
    }
}

/// Counts a live block, if it was allocated in this run, and the rule is for it.
fn count_live<P: Platform>(verifier: Verifier<'_, P>, rule: Rule, first: u32, live: Live, end: &mut Ended) {
    let Some(note) = verifier.verifier.note_of(live.block, live.state) else { return };
    // Tickets are given in the order of allocations, and half of them are less than a run makes.
    if note.ticket.wrapping_sub(first) >= 1 << 31 {
        return;
    }
    let owner = live.state.owner().plain();
    let tag = verifier.pool.meta.key_of(live.state, live.record).map(|key| key.tag());
    let its = rule.adapter.is_none_or(|adapter| adapter == owner);
    if !its || tag.is_some_and(|tag| !rule.tags.matches(tag)) {
        return;
    }
    end.blocks += 1;
    end.bytes += u64::from(note.bytes);
    let allocated = verifier.verifier.stack(note.allocated);
    let rows = end.rows as usize;
    let same = |row: &&mut Row| row.tag == tag && row.bytes == note.bytes && row.allocated == allocated;
    if let Some(row) = end.leaks[..rows].iter_mut().find(same) {
        row.blocks += 1;
    } else if rows < ROWS {
        end.leaks[rows] = Row { tag, bytes: note.bytes, blocks: 1, allocated };
        end.rows += 1;
    }
}
