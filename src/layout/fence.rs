//! What the pool remembers of fences that the system refused.

use super::meta::Meta;
use crate::sync::{AtomicU32, Ordering};

/// A fence was refused, and the host does not know.
const REFUSED: u32 = 1;
/// The host knows.
const TOLD: u32 = 2;

impl Meta {
    fn fence_word(&self) -> &AtomicU32 {
        &self.control().fence_refused
    }

    /// Whether a fence was refused, ever. From then on a section may still be under way, whatever was fenced.
    pub(crate) fn fence_refused(&self) -> bool {
        // ORDERING: Relaxed - it says something of the system, nothing of another word.
        self.fence_word().load(Ordering::Relaxed) != 0
    }

    /// Remembers that a fence was refused; answers `false`, as that fence does.
    #[cfg(all(feature = "std", target_os = "linux", target_arch = "x86_64"))]
    #[cold]
    pub(crate) fn refuse_fence(&self) -> bool {
        // ORDERING: Relaxed - as in `fence_refused`. A failure says that it is remembered already.
        let _ = self.fence_word().compare_exchange(0, REFUSED, Ordering::Relaxed, Ordering::Relaxed);
        false
    }

    /// Whether the caller is the one who tells the host of a refused fence: `true` once.
    pub(crate) fn tells_refused_fence(&self) -> bool {
        let word = self.fence_word();
        // ORDERING: Relaxed, all - as in `fence_refused`; the CAS decides who tells.
        word.load(Ordering::Relaxed) == REFUSED
            && word.compare_exchange(REFUSED, TOLD, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
