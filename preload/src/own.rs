//! Rust's own memory here, for the report: ours, even in a program whose executable has a malloc of its own, which the
//! C names would lead to.

use core::alloc::{GlobalAlloc, Layout};

use crate::heap;

struct Own;

#[global_allocator]
static OWN: Own = Own;

// SAFETY: `heap` gives memory of the size and alignment that was asked for, nobody else's until it is released, and
// nothing there unwinds.
unsafe impl GlobalAlloc for Own {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        heap::allocate_aligned(layout.size(), layout.align())
    }

    unsafe fn dealloc(&self, start: *mut u8, _: Layout) {
        // SAFETY: the caller's promise.
        unsafe { heap::release(start) };
    }
}
