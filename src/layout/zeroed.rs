//! Zeroed memory of the allocator's: taken without touching it, so that what is never written costs nothing.

use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::ptr::NonNull;

use super::classes::PAGE;

/// Zeroed bytes, aligned to a page.
pub(crate) struct Zeroed {
    start: NonNull<u8>,
    bytes: usize,
    /// What the allocator gave.
    whole: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory belongs to the value.
unsafe impl Send for Zeroed {}
// SAFETY: as above; shared, it gives out its address alone.
unsafe impl Sync for Zeroed {}

impl Zeroed {
    /// `None`: there is no memory.
    pub(crate) fn new(bytes: usize) -> Option<Zeroed> {
        let bytes = bytes.checked_next_multiple_of(8)?.max(8);
        // Aligned by hand: of memory with a large alignment, the standard library's allocator writes each byte.
        let layout = Layout::from_size_align(bytes.checked_add(PAGE as usize)?, 8).ok()?;
        // SAFETY: the layout has a size.
        let whole = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let skip = whole.addr().get().next_multiple_of(PAGE as usize) - whole.addr().get();
        // SAFETY: less than a page, by which the memory is longer.
        let start = unsafe { whole.byte_add(skip) };
        Some(Zeroed { start, bytes, whole, layout })
    }

    pub(crate) const fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// The bytes as words.
    pub(crate) fn words(&mut self) -> &mut [u64] {
        // SAFETY: the memory is ours, aligned to a page, and initialised; any bytes are words.
        unsafe { core::slice::from_raw_parts_mut(self.start.cast().as_ptr(), self.bytes / 8) }
    }
}

impl Drop for Zeroed {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.whole.as_ptr(), self.layout) };
    }
}
