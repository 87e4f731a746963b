//! Draining CPUs' cursors where their sections cannot be excluded: write STOPPED, fence, look whether it still stands
//! (I7).

use core::ops::Range;

use super::platform::Stolen;
use crate::layout::classes::Class;
use crate::layout::cursor::Cursor;
use crate::layout::meta::Meta;
use crate::sync::{AtomicU32, Ordering};

/// How often a section may get in between.
const TRIES: u32 = 4;
/// How many CPUs' cursors share a fence. (Loom: it has no more.)
const BATCH: u32 = if cfg!(storport_pool_loom) { 2 } else { 16 };

/// Takes these CPUs' loaded magazines of a class. `fence` returns when each section that began on one of these CPUs before
/// the call has ended or will restart; `false`: it could not.
///
/// Each stealer has a number of its own while it is here, and so a mark of its own: nobody else writes that one, and
/// nobody overwrites another one's.
pub(crate) fn stop_and_take(
    meta: &Meta,
    cpus: Range<u32>,
    class: Class,
    mut fence: impl FnMut(Range<u32>) -> bool,
    mut each: impl FnMut(Stolen),
) {
    let is_empty = |cpu| {
        // ORDERING: Relaxed - a first look.
        let seen = Cursor(meta.cursor(cpu, class).load(Ordering::Relaxed));
        !seen.is_stopped() && meta.entries(class, seen) == 0
    };
    if cpus.clone().all(is_empty) {
        return;
    }
    let Some((claim, stealer)) = meta.claim_stealer() else {
        return each(Stolen::Busy);
    };
    // Inside the claim, so no generation is renewed meanwhile, though a handler may fork and let the child go on here.
    let generation = meta.generation(&claim.inside);
    let stopped = Cursor::stopped(generation, stealer);
    let mut from = cpus.start;
    while from < cpus.end {
        let batch = from..cpus.end.min(from + BATCH);
        for attempt in 1..=TRIES {
            let mut taken = [Cursor::NONE; BATCH as usize];
            for (cpu, taken) in batch.clone().zip(&mut taken) {
                match stop(meta, meta.cursor(cpu, class), class, stopped, generation) {
                    Stolen::Magazine(magazine) => *taken = magazine,
                    Stolen::Busy => each(Stolen::Busy),
                    Stolen::Nothing => {}
                }
            }
            if taken.iter().all(|taken| taken.is_none()) {
                break;
            }
            let fenced = fence(batch.clone());
            let mut overtaken = false;
            for (cpu, taken) in batch.clone().zip(taken).filter(|(_, taken)| !taken.is_none()) {
                match after_fence(meta.cursor(cpu, class), stopped, taken, fenced) {
                    Stolen::Nothing => overtaken = true,
                    stolen => each(stolen),
                }
            }
            if !overtaken {
                break;
            }
            if attempt == TRIES {
                each(Stolen::Busy);
            }
        }
        from = batch.end;
    }
}

/// Stops a cursor that has blocks, and gives what it named; it may not stay so until the fence.
fn stop(meta: &Meta, word: &AtomicU32, class: Class, stopped: Cursor, generation: u32) -> Stolen {
    // ORDERING: Relaxed - the exchange decides.
    let seen = Cursor(word.load(Ordering::Relaxed));
    if seen.is_stopped_before(generation) {
        // By a thread that did not survive a fork; its hand kept the magazine.
        // ORDERING: Relaxed, twice - NONE publishes nothing.
        let _ = word.compare_exchange(seen.0, Cursor::NONE.0, Ordering::Relaxed, Ordering::Relaxed);
        return Stolen::Nothing;
    }
    if seen.is_stopped() {
        return Stolen::Busy;
    }
    if meta.entries(class, seen) == 0 {
        return Stolen::Nothing;
    }
    // ORDERING: AcqRel - Acquire: the entries; Release: nothing of ours, but it stays before the fence.
    let stands = word.compare_exchange(seen.0, stopped.0, Ordering::AcqRel, Ordering::Relaxed).is_ok();
    // Else its owner is faster, or another stealer.
    if stands { Stolen::Magazine(seen) } else { Stolen::Busy }
}

/// What comes of a stopped cursor. Fenced, no section is left that could write here: if the mark stands, the magazine is
/// ours. Not fenced, it goes back, unless a section has written over the mark: then it never left. `Nothing`: a section
/// had read the cursor before, and committed.
fn after_fence(word: &AtomicU32, stopped: Cursor, taken: Cursor, fenced: bool) -> Stolen {
    let to = if fenced { Cursor::NONE } else { taken };
    // ORDERING: AcqRel - Acquire: the entries of a section that committed before the fence; Release: those of the
    // magazine that goes back.
    let stood = word.compare_exchange(stopped.0, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok();
    match (stood, fenced) {
        (true, true) => Stolen::Magazine(taken),
        (false, true) => Stolen::Nothing,
        (_, false) => Stolen::Busy,
    }
}
