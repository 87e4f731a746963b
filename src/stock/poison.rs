//! Free blocks, poisoned for AddressSanitizer: it reports whoever touches one, or writes past what was asked
//! for. Under `--cfg storport_pool_asan` only, since its runtime must be linked (`-Zsanitizer=address`), and
//! for ranges that the pool reserved itself: others may be memory that this process cannot address.
//!
//! Free then always goes its slow way, since a block must be poisoned after its claim and before somebody
//! else may get it; the fast path does both in one section.
//!
//! Source: compiler-rt, `sanitizer/asan_interface.h`.

use core::ffi::c_void;

use crate::layout::block::BlockId;
use crate::layout::classes::{Class, LARGE, MOST_SPAN};
use crate::layout::meta::Meta;
use crate::stock::large::spans_for;

unsafe extern "C" {
    fn __asan_poison_memory_region(start: *const c_void, bytes: usize);
    fn __asan_unpoison_memory_region(start: *const c_void, bytes: usize);
    fn __asan_region_is_poisoned(start: *const c_void, bytes: usize) -> *const c_void;
}

fn poison(start: u64, bytes: u64) {
    // SAFETY: marks shadow memory; the caller's range is memory of this process.
    unsafe { __asan_poison_memory_region(start as *const c_void, bytes as usize) }
}

fn unpoison(start: u64, bytes: u64) {
    // SAFETY: as above.
    unsafe { __asan_unpoison_memory_region(start as *const c_void, bytes as usize) }
}

/// Lets everybody touch a range again, where it is poisoned: the rest of its shadow stays untouched.
pub(crate) fn unpoison_range(start: u64, bytes: u64) {
    let end = start + bytes / u64::from(MOST_SPAN) * u64::from(MOST_SPAN);
    for span in (start..end).step_by(MOST_SPAN as usize) {
        // SAFETY: looks at shadow memory.
        if !unsafe { __asan_region_is_poisoned(span as *const c_void, MOST_SPAN as usize) }.is_null() {
            unpoison(span, MOST_SPAN.into());
        }
    }
}

impl Meta {
    /// Bytes of the run that a request of so many gets.
    fn run(&self, bytes: u32) -> u64 {
        let size = self.span_size();
        u64::from(spans_for(bytes, size)) * u64::from(size.bytes())
    }

    /// Poisons a span that becomes a slab. (Not all of the range at creation: the shadow of 64 GiB are 8.)
    pub(crate) fn poison_span(&self, span: u32) {
        if self.control().poisons {
            poison(self.range().address(self.first_of(span)), self.span_size().bytes().into());
        }
    }

    /// Lets everybody touch all of the range: for metadata that is restored, whose free blocks are others than the poisoned
    /// ones. Each is poisoned when it is freed again.
    pub(crate) fn unpoison_all(&self) {
        if self.control().poisons {
            let geometry = &self.control().geometry;
            let bytes = u64::from(geometry.spans) * u64::from(geometry.span.bytes());
            unpoison_range(self.range().base.0, bytes);
        }
    }

    /// Poisons a claimed block.
    pub(crate) fn poison_block(&self, class: Class, block: BlockId) {
        if self.control().poisons {
            let bytes =
                if class == LARGE { self.run(self.record(LARGE, block).bytes) } else { class.bytes().into() };
            poison(self.range().address(block), bytes);
        }
    }

    /// Lets the caller have so many bytes of its block from now on, and no more.
    pub(crate) fn unpoison_part(&self, address: u64, bytes: u32, capacity: u64) {
        if self.control().poisons {
            unpoison(address, bytes.into());
            // In units of eight bytes, of which the first ones may be the caller's.
            let kept = u64::from(bytes).next_multiple_of(8);
            poison(address + kept, capacity - kept);
        }
    }

    /// Lets the caller have the bytes that it asked for, and no more.
    pub(crate) fn unpoison_block(&self, address: u64, bytes: u32) {
        if self.control().poisons && address != 0 {
            if bytes > self.span_size().max_slab_bytes() {
                poison(address, self.run(bytes));
            }
            unpoison(address, bytes.into());
        }
    }
}
