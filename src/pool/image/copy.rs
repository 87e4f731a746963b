//! A copy of the metadata of a pool that others use: made anew until two in a row are the same.
//!
//! Each word is read at its own width, one after the other. If the second of two copies is the same as the first, no word
//! changed between its two looks, so both are what the metadata was between the copies. (A word may change and come back.
//! Of those that say where a block is none can: a block that moves away comes back by an allocation, and that counts in a
//! cell, which only goes up. One that a call takes and puts back unused looks as if it had stayed, or as if in hand.)

use super::parts::{of_span, tables_by_width, used};
use crate::layout::control::Control;
use crate::layout::copied::Width;
use crate::layout::meta::Meta;
use crate::sync::{Ordering, fence};

/// How many copies are made at most.
const COPIES: u32 = 8;

/// Copies `from`, which others use, into `to`, the caller's, of the same geometry. Whether it stood still.
pub(super) fn until_settled(to: &Meta, from: &Meta) -> bool {
    let mut changed = true;
    for _ in 0..COPIES {
        changed = once(to, from);
        if !changed {
            break;
        }
        // ORDERING: SeqCst - between the copies: what the next one reads is not older than what this one did.
        fence(Ordering::SeqCst);
    }
    !changed
}

/// Copies all; whether anything was another.
fn once(to: &Meta, from: &Meta) -> bool {
    let mut changed = counters(to.control(), from.control());
    let geometry = to.control().geometry;
    // ORDERING: Relaxed - the caller's.
    let arena_next = to.control().arena_next.load(Ordering::Relaxed);
    for (part, width) in tables_by_width(&geometry, to.control(), arena_next) {
        changed |= part.draw(to, from, width);
    }
    for span in used(to) {
        // The loose blocks' bits come first.
        for (n, part) in of_span(&geometry, span).enumerate() {
            changed |= part.draw(to, from, if n == 0 { Width::Wide } else { Width::Narrow });
        }
    }
    changed
}

/// Copies the control block's counters that say where something is, and the claim of who ends accounts.
fn counters(to: &Control, from: &Control) -> bool {
    let mut changed = false;
    let wide = [(&to.arena_next, &from.arena_next), (&to.empties, &from.empties)];
    let carve = to.depots.iter().zip(&from.depots).map(|(to, from)| (&to.slabs.carve, &from.slabs.carve));
    for (to, from) in wide.into_iter().chain(carve) {
        // ORDERING: Acquire - as in `Meta::draw`.
        let now = from.load(Ordering::Acquire);
        // ORDERING: Relaxed, twice - the caller's.
        changed |= to.load(Ordering::Relaxed) != now;
        to.store(now, Ordering::Relaxed);
    }
    // ORDERING: as above.
    let claim = from.bury_claim.load(Ordering::Acquire);
    changed |= to.bury_claim.load(Ordering::Relaxed) != claim;
    to.bury_claim.store(claim, Ordering::Relaxed);
    changed
}
