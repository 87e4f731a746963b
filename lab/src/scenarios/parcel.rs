//! Blocks on their way to another thread.

use super::calls;
use crate::meter::{Meter, Mode};
use crate::subjects::{Subject, look};

/// Blocks of a batch.
pub(super) const BATCH: usize = 64;

/// Some blocks, and how their frees are to be timed.
#[derive(Clone, Copy)]
pub(super) struct Parcel {
    blocks: [*mut u8; BATCH],
    bytes: [u32; BATCH],
    count: usize,
    pub(super) mode: Mode,
    /// Nothing follows from this sender.
    pub(super) last: bool,
}

// SAFETY: blocks of all subjects that get so far may be freed on any thread.
unsafe impl Send for Parcel {}

impl Default for Parcel {
    fn default() -> Parcel {
        Parcel {
            blocks: [std::ptr::null_mut(); BATCH],
            bytes: [0; BATCH],
            count: 0,
            mode: Mode::Warm,
            last: false,
        }
    }
}

impl Parcel {
    /// None yet, to be timed like this.
    pub(super) fn of(mode: Mode) -> Parcel {
        Parcel { mode, ..Parcel::default() }
    }

    pub(super) fn push(&mut self, block: *mut u8, bytes: u32) {
        self.blocks[self.count] = block;
        self.bytes[self.count] = bytes;
        self.count += 1;
    }

    pub(super) fn blocks(&self) -> &[*mut u8] {
        &self.blocks[..self.count]
    }

    pub(super) fn is_full(&self) -> bool {
        self.count == BATCH
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Looks into each block, as a completion does, then frees them all. Only the frees are timed.
    ///
    /// # Safety
    /// The blocks are live blocks of `subject`, each once.
    #[inline(always)]
    pub(super) unsafe fn free<S: Subject>(&self, subject: &S, meter: &mut Meter) {
        for &block in self.blocks() {
            // SAFETY: it is live, and its writer gave it away: the caller's promise.
            unsafe { look(block) };
        }
        // SAFETY: as above.
        unsafe { calls::free(subject, meter, self.blocks(), &self.bytes[..self.count]) };
    }
}
