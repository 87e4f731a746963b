//! Metadata that others use meanwhile, copied word by word into memory of one's own.

use super::meta::Meta;
use crate::sync::Ordering;

/// How wide the words of some of the metadata are. Each word is read at its own width (docs/CONCURRENCY.md).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Width {
    Narrow,
    Wide,
}

impl Meta {
    /// Makes words of this metadata what they are in `from`, a pool's of the same geometry that others use. `at`: in bytes
    /// from the base. Whether one of them was another one. This metadata is the caller's.
    pub(crate) fn draw(&self, from: &Meta, at: isize, bytes: usize, width: Width) -> bool {
        let mut changed = false;
        match width {
            Width::Narrow => {
                for at in (at as usize..at as usize + bytes).step_by(4) {
                    // ORDERING: Acquire - what comes later in the copy is read later; the second copy tells the rest.
                    let (word, ours) = (from.word32(at).load(Ordering::Acquire), self.word32(at));
                    // ORDERING: Relaxed, twice - the caller's.
                    if ours.load(Ordering::Relaxed) != word {
                        ours.store(word, Ordering::Relaxed);
                        changed = true;
                    }
                }
            }
            Width::Wide => {
                for at in (at..at + bytes as isize).step_by(8) {
                    // ORDERING: as above.
                    let (word, ours) = (from.word64(at).load(Ordering::Acquire), self.word64(at));
                    // ORDERING: as above.
                    if ours.load(Ordering::Relaxed) != word {
                        ours.store(word, Ordering::Relaxed);
                        changed = true;
                    }
                }
            }
        }
        changed
    }
}
