//! Draining another CPU's cursor where its sections cannot be excluded: write STOPPED, fence, look whether it still
//! stands (I7).

use super::platform::Stolen;
use crate::layout::classes::Class;
use crate::layout::cursor::Cursor;
use crate::layout::meta::Meta;
use crate::sync::Ordering;

/// How often a section may get in between.
const TRIES: u32 = 4;

/// Takes a CPU's loaded magazine of a class, if that has blocks. `fence` returns when each section that began on this CPU
/// before the call has ended or will restart; `false`: it could not.
///
/// Each stealer has a number of its own while it is here, and so a mark of its own: nobody else writes that one, and
/// nobody overwrites another one's.
pub(crate) fn stop_and_take(meta: &Meta, cpu: u32, class: Class, mut fence: impl FnMut() -> bool) -> Stolen {
    let word = meta.cursor(cpu, class);
    // ORDERING: Relaxed - a first look.
    let seen = Cursor(word.load(Ordering::Relaxed));
    if !seen.is_stopped() && meta.entries(class, seen) == 0 {
        return Stolen::Nothing;
    }
    let Some((_claim, stealer)) = meta.claim_stealer() else {
        return Stolen::Busy;
    };
    let generation = meta.generation();
    let stopped = Cursor::stopped(generation, stealer);
    for _ in 0..TRIES {
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
        if word.compare_exchange(seen.0, stopped.0, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            continue;
        }
        let fenced = fence();
        // Fenced, no section is left that could write here: if the mark stands, the magazine is ours. Not fenced, it goes
        // back, unless a section has written over the mark: then it never left.
        let to = if fenced { Cursor::NONE } else { seen };
        // ORDERING: AcqRel - Acquire: the entries of a section that committed before the fence; Release: those of the
        // magazine that goes back.
        let stood = word.compare_exchange(stopped.0, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        match (stood, fenced) {
            (true, true) => return Stolen::Magazine(seen),
            (_, false) => return Stolen::Busy,
            // A section had read the cursor before, and committed.
            (false, true) => {}
        }
    }
    Stolen::Busy
}
