//! The free of a verified block: what lies around it is looked at, and it waits before it is used again.

use super::quarantine::{Waiting, leave, remember_freed};
use super::report::Call;
use super::verified::call_event;
use crate::contract::status::Status;
use crate::contract::tag::PoolTag;
use crate::contract::verify::evidence::Evidence;
use crate::contract::verify::rule::checks;
use crate::contract::violation::ViolationKind;
use crate::layout::classes::PAGE;
use crate::layout::meta::{Located, Meta};
use crate::percpu::platform::Platform;
use crate::stock::put::put_claimed_slow;
use crate::trace::event::{TraceEvent, TraceKind};
use crate::verify::bytes::{BEHIND, FREED};
use crate::verify::notes::Note;
use crate::verify::stacks::StackId;
use crate::verify::verifier::Verifier;

/// Gives a claimed block away that was set aside: a verified one, or what an adapter left.
pub(crate) fn put_set_aside<P: Platform>(meta: Meta, platform: &P, found: Located, call: Call) -> Status {
    let start = found.start;
    let noted = meta.verifier().and_then(|verifier| Some((verifier, verifier.note_of(start, found.state)?)));
    let Some((verifier, note)) = noted else {
        return put_claimed_slow(meta, platform, start);
    };
    let recorded = (note.checks & checks::RECORD != 0 && verifier.ring().is_some()).then(|| TraceEvent {
        address: meta.address_of(found.class, start),
        ..call_event(&meta, platform, verifier, TraceKind::Free, call.caller, PoolTag::from_raw(0))
    });
    let guarded = meta.is_guarded(found);
    let wrong = around(&meta, verifier, found, &note, guarded);
    // Read before the block goes.
    let violation = wrong.map(|(kind, evidence)| meta.evident(call, kind, found, evidence));
    let stack = if note.checks & checks::TRACK != 0 { verifier.take_stack() } else { StackId::NOT_TRACKED };
    let ticket = verifier.note_freed(start, stack);
    let wanted = note.checks & checks::QUARANTINE != 0;
    let shut = wanted && guarded && meta.shut(verifier, start);
    let filled = wanted && !guarded && {
        let bytes = meta.record(found.class, start).bytes;
        verifier.fill(meta.address_of(found.class, start), bytes.into(), FREED)
    };
    if shut || filled {
        let longest = verifier.quarantine().put(Waiting::new(start, filled).0);
        if longest != 0 {
            let _ = leave(meta, platform, verifier, Waiting(longest));
        }
    } else {
        if let Some(ticket) = ticket {
            remember_freed(verifier, start, ticket);
        }
        let _ = put_claimed_slow(meta, platform, start);
    }
    if let Some(event) = recorded {
        verifier.record(&event);
    }
    if let Some(mut violation) = violation {
        meta.report(&mut violation);
    }
    Status::SUCCESS
}

/// What is wrong behind a block, or before a guarded one. The caller has it, or looks at its note again.
pub(super) fn around(
    meta: &Meta,
    verifier: &Verifier,
    found: Located,
    note: &Note,
    guarded: bool,
) -> Option<(ViolationKind, Evidence)> {
    if note.checks & checks::CANARY == 0 {
        return None;
    }
    let address = meta.address_of(found.class, found.start);
    let bytes = u64::from(note.bytes);
    let behind = verifier.changed(address + bytes, u64::from(note.room) - bytes, BEHIND);
    if let Some(evidence) = behind {
        return Some((ViolationKind::Overrun, evidence));
    }
    if !guarded {
        return None;
    }
    let first = meta.range().address(found.start) + u64::from(PAGE);
    let before = verifier.changed(first, address - first, BEHIND)?;
    Some((ViolationKind::Underrun, before))
}

/// Looks at what lies around all live blocks that are verified; how many are wrong. Walks all states.
pub(crate) fn sweep_live(meta: &Meta, call: Call) -> u64 {
    let Some(verifier) = meta.verifier() else { return 0 };
    let mut wrong = 0;
    meta.walk(|live| {
        let found = Located { start: live.block, state: live.state, class: live.class, at_start: true };
        let Some(note) = verifier.note_of(found.start, found.state) else { return };
        // Its pages may become inaccessible at any time; they are looked at when it is freed.
        if meta.is_guarded(found) {
            return;
        }
        let Some((kind, evidence)) = around(meta, verifier, found, &note, false) else { return };
        // Neither freed nor given to others meanwhile: what was read lies around it.
        let again = verifier.note_of(found.start, found.state).is_some_and(|now| now.ticket == note.ticket);
        if again && meta.state(found.class, found.start) == found.state {
            wrong += 1;
            meta.report(&mut meta.evident(call, kind, found, evidence));
        }
    });
    wrong
}
