//! Draining other CPUs' caches where their sections cannot be excluded: write STOPPED, fence,
//! look whether it still stands (I7).

use crate::layout::classes::Class;
use crate::layout::cursor::Cursor;
use crate::layout::meta::Meta;
use crate::sync::{Ordering, store_swapped};

/// CPUs stopped by one fence.
const BATCH: usize = 64;
/// How often a section may get in between.
const TRIES: u32 = 4;

/// Takes every CPU's loaded magazine of the class. `fence` returns when each section that began
/// on one of these CPUs before the call has ended or will restart.
///
/// The caller holds the reclaim claim, so nobody else stops cursors.
pub(crate) fn stop_and_take(
    meta: &Meta,
    class: Class,
    mut fence: impl FnMut(core::ops::Range<u32>),
    mut each: impl FnMut(Option<Cursor>),
) {
    let stopped = Cursor::stopped(meta.generation());
    let cpus = meta.control().cpus;
    let mut from = 0;
    while from < cpus {
        let to = cpus.min(from + BATCH as u32);
        for attempt in 0..TRIES {
            let mut taken = [Cursor::NONE; BATCH];
            let mut any = false;
            for cpu in from..to {
                let word = meta.cursor(cpu, class);
                // ORDERING: Relaxed - a first look; what is in flight is excepted.
                let seen = Cursor(word.load(Ordering::Relaxed));
                if meta.entries(class, seen) > 0 {
                    // ORDERING: AcqRel - Acquire: the entries; Release: nothing of ours, but the
                    // swap stays before the fence.
                    taken[(cpu - from) as usize] = Cursor(word.swap(stopped.0, Ordering::AcqRel));
                    any = true;
                } else if !seen.is_magazine() && !seen.is_none() {
                    // Stopped by a thread that did not survive a fork; its hand kept the magazine.
                    // ORDERING: Relaxed - NONE publishes nothing.
                    store_swapped(word, Cursor::NONE.0, Ordering::Relaxed);
                }
            }
            if !any {
                break;
            }
            fence(from..to);
            let mut overtaken = false;
            for cpu in from..to {
                let magazine = taken[(cpu - from) as usize];
                if magazine.is_none() {
                    continue;
                }
                let word = meta.cursor(cpu, class);
                // ORDERING: Acquire - the entries of a section that committed before the fence.
                if word.load(Ordering::Acquire) == stopped.0 {
                    // No section is left that could write here, and slow paths leave STOPPED alone.
                    // ORDERING: Release - NONE publishes nothing; keeps the load above it.
                    store_swapped(word, Cursor::NONE.0, Ordering::Release);
                    each(Some(magazine));
                } else {
                    overtaken = true;
                    if attempt + 1 == TRIES {
                        each(None);
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
