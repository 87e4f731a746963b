//! Zeroed memory of the allocator's: taken without touching it, so that what is never written costs nothing.

use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::ptr::NonNull;

use super::classes::PAGE;

/// Zeroed bytes, aligned to a page.
pub(crate) struct Zeroed {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory belongs to the value.
unsafe impl Send for Zeroed {}
// SAFETY: as above; shared, it gives out its address alone.
unsafe impl Sync for Zeroed {}

impl Zeroed {
    /// `None`: there is no memory.
    pub(crate) fn new(bytes: usize) -> Option<Zeroed> {
        let layout = Layout::from_size_align(bytes.max(1), PAGE as usize).ok()?;
        // SAFETY: the layout has a size.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Zeroed { start, layout })
    }

    pub(crate) const fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// The bytes as words.
    pub(crate) fn words(&mut self) -> &mut [u64] {
        // SAFETY: the memory is ours, aligned to a page, and initialised; any bytes are words.
        unsafe { core::slice::from_raw_parts_mut(self.start.cast().as_ptr(), self.layout.size() / 8) }
    }
}

impl Drop for Zeroed {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}
