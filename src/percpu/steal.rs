//! Draining other CPUs' caches where their sections cannot be excluded: write STOPPED, fence,
//! look whether it still stands (I7).

use core::ops::Range;

use super::generation::Inside;
use crate::layout::classes::{Class, Classes};
use crate::layout::cursor::Cursor;
use crate::layout::meta::Meta;
use crate::sync::{AtomicU32, Ordering, store_swapped};

/// Cursors stopped by one fence: as many CPUs' as fit. They lie on the stack of whoever allocates.
const BATCH: usize = 256;
/// How often a section may get in between.
const TRIES: u32 = 4;

/// Takes every CPU's loaded magazines of the classes. `fence` returns when each section that began
/// on one of these CPUs before the call has ended or will restart; `false`: the system refused, and nothing is taken.
///
/// The caller holds the reclaim claim, so nobody else stops cursors.
pub(crate) fn stop_and_take(
    meta: &Meta,
    classes: Classes,
    mut fence: impl FnMut(Range<u32>) -> bool,
    mut each: impl FnMut(Class, Option<Cursor>),
) {
    // Inside the reclaim claim, so no generation is renewed meanwhile, though a handler may fork and let the child go
    // on here.
    let stopped = Cursor::stopped(meta.generation(&Inside::enter()));
    let cpus = meta.control().cpus;
    let at_once = (BATCH / classes.len()) as u32;
    let mut from = 0;
    while from < cpus {
        let to = cpus.min(from + at_once);
        for attempt in 1..=TRIES {
            let mut taken = [Cursor::NONE; BATCH];
            if !stop(meta, from..to, classes, stopped, &mut taken) {
                break;
            }
            if !fence(from..to) {
                put_back(meta, from..to, classes, stopped, &taken);
                return;
            }
            let mut overtaken = false;
            for ((cpu, class), magazine) in cursors(from..to, classes).zip(taken) {
                if magazine.is_none() {
                    continue;
                }
                if stands(meta.cursor(cpu, class), stopped) {
                    each(class, Some(magazine));
                } else {
                    overtaken = true;
                    if attempt == TRIES {
                        each(class, None);
                    }
                }
            }
            if !overtaken {
                break;
            }
        }
        from = to;
    }
}

fn cursors(cpus: Range<u32>, classes: Classes) -> impl Iterator<Item = (u32, Class)> {
    cpus.flat_map(move |cpu| classes.iter().map(move |class| (cpu, class)))
}

/// Stops the cursors that hold blocks, and says whether there is one.
fn stop(
    meta: &Meta,
    cpus: Range<u32>,
    classes: Classes,
    stopped: Cursor,
    taken: &mut [Cursor; BATCH],
) -> bool {
    let mut any = false;
    for ((cpu, class), taken) in cursors(cpus, classes).zip(taken) {
        let word = meta.cursor(cpu, class);
        // ORDERING: Relaxed - a first look; what is in flight is excepted.
        let seen = Cursor(word.load(Ordering::Relaxed));
        if meta.entries(class, seen) > 0 {
            // ORDERING: AcqRel - Acquire: the entries; Release: nothing of ours, but the
            // swap stays before the fence.
            *taken = Cursor(word.swap(stopped.0, Ordering::AcqRel));
            any = true;
        } else if !seen.is_magazine() && !seen.is_none() {
            // Stopped by a thread that did not survive a fork; its hand kept the magazine.
            // ORDERING: Relaxed - NONE publishes nothing.
            store_swapped(word, Cursor::NONE.0, Ordering::Relaxed);
        }
    }
    any
}

/// After a fence that was refused: what was stopped goes on. A section that read the cursor before may commit to it at
/// any time: then that is the cursor, whichever comes first.
fn put_back(meta: &Meta, cpus: Range<u32>, classes: Classes, stopped: Cursor, taken: &[Cursor; BATCH]) {
    for ((cpu, class), magazine) in cursors(cpus, classes).zip(taken) {
        if !magazine.is_none() {
            // ORDERING: Release - as a commit; Relaxed - a failure is a section's commit.
            let _ = meta.cursor(cpu, class).compare_exchange(
                stopped.0,
                magazine.0,
                Ordering::Release,
                Ordering::Relaxed,
            );
        }
    }
}

/// After the fence: whether the cursor is still stopped. Then what it held is ours.
fn stands(word: &AtomicU32, stopped: Cursor) -> bool {
    // ORDERING: Acquire - the entries of a section that committed before the fence.
    let stands = word.load(Ordering::Acquire) == stopped.0;
    if stands {
        // No section is left that could write here, and slow paths leave STOPPED alone.
        // ORDERING: Release - NONE publishes nothing; keeps the load above it.
        store_swapped(word, Cursor::NONE.0, Ordering::Release);
    }
    stands
}
