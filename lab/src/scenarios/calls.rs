//! A batch's calls, timed: one by one, or by as many blocks as the subject takes at once.

use crate::meter::Meter;
use crate::subjects::{Subject, alloc_many_touched, alloc_touched};

/// Allocates blocks of these sizes, each touched. `equal`: they are all the same.
#[inline(always)]
pub(super) fn allocate<S: Subject>(
    subject: &S,
    meter: &mut Meter,
    sizes: &[u32],
    equal: bool,
    blocks: &mut [*mut u8],
) {
    let most = subject.allocs_at_once();
    if most > 1 && equal {
        meter.time_parts(blocks.len(), most, |part| {
            alloc_many_touched(subject, sizes[part.start], &mut blocks[part]);
        });
    } else {
        meter.time(blocks.len(), |index| blocks[index] = alloc_touched(subject, sizes[index]));
    }
}

/// Frees blocks.
///
/// # Safety
/// They are live blocks of the subject, of so many bytes each, and each occurs once.
#[inline(always)]
pub(super) unsafe fn free<S: Subject>(subject: &S, meter: &mut Meter, blocks: &[*mut u8], bytes: &[u32]) {
    let most = subject.frees_at_once();
    if most > 1 {
        meter.time_parts(blocks.len(), most, |part| {
            // SAFETY: the caller's promise; parts do not overlap.
            unsafe { subject.free_many(&blocks[part.clone()], &bytes[part]) };
        });
    } else {
        // SAFETY: the caller's promise.
        meter.time(blocks.len(), |index| unsafe { subject.free(blocks[index], bytes[index]) });
    }
}
