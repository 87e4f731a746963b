//! The metadata's memory: words at offsets from one base, and the control block there.
//!
//! In the product it is raw memory. Under loom each word is one of loom's atomics, in the same places.

#[cfg(storport_pool_loom)]
pub use model::Memory;
#[cfg(storport_pool_loom)]
pub(crate) use model::Words;
#[cfg(not(storport_pool_loom))]
pub use raw::Memory;

#[cfg(not(storport_pool_loom))]
mod raw {
    use core::ptr::NonNull;

    use crate::layout::control::Control;
    use crate::sync::{AtomicU32, AtomicU64};

    /// Where the metadata lies. Copied freely inside the crate; every copy lives shorter than its pool.
    #[derive(Clone, Copy)]
    pub struct Memory {
        base: NonNull<u8>,
    }

    // SAFETY: it only gives out atomics and the immutable parts of the control block (I11).
    unsafe impl Send for Memory {}
    // SAFETY: as above.
    unsafe impl Sync for Memory {}

    impl Memory {
        /// # Safety
        /// `base` is the base of initialised metadata, which outlives every copy of the value (I4).
        pub(crate) const unsafe fn new(base: NonNull<u8>) -> Memory {
            Memory { base }
        }

        #[cfg(feature = "std")]
        #[inline(always)]
        pub(crate) fn base(self) -> NonNull<u8> {
            self.base
        }

        /// Words in a row, from an offset on.
        ///
        /// # Safety
        /// They lie in the metadata, behind or below the control block, and nobody else uses them meanwhile.
        #[cfg(feature = "alloc")]
        pub(crate) unsafe fn words<'a>(self, offset: isize, count: usize) -> &'a mut [u32] {
            // SAFETY: the caller's promise; all words are initialised (I4), and aligned.
            unsafe { core::slice::from_raw_parts_mut(self.base.byte_offset(offset).cast().as_ptr(), count) }
        }

        #[inline(always)]
        pub(crate) fn control(&self) -> &Control {
            // SAFETY: the control block lies at the base and lives as long as the metadata (I4).
            unsafe { self.base.cast().as_ref() }
        }

        #[inline(always)]
        pub(crate) fn word32(&self, offset: usize) -> &AtomicU32 {
            debug_assert!(offset.is_multiple_of(4) && offset < self.control().geometry.above);
            // SAFETY: the offset comes from the geometry and an index below its bound, so it names a
            // 32-bit word of the metadata, which is only accessed as such (I4).
            unsafe { self.base.byte_add(offset).cast().as_ref() }
        }

        #[inline(always)]
        pub(crate) fn word64(&self, offset: isize) -> &AtomicU64 {
            debug_assert!(offset % 8 == 0);
            debug_assert!(offset < self.control().geometry.above as isize);
            debug_assert!(offset >= -(self.control().geometry.below as isize));
            // SAFETY: as for `word32`, for a 64-bit word.
            unsafe { self.base.byte_offset(offset).cast().as_ref() }
        }
    }
}

#[cfg(storport_pool_loom)]
mod model {
    use std::boxed::Box;
    use std::collections::BTreeMap;

    use crate::layout::block::{Account, BlockId};
    use crate::layout::classes::{CLASS_SLOTS, CLASSES, Class, SLAB_CLASSES};
    use crate::layout::control::Control;
    use crate::layout::geometry::{ADAPTER_BYTES, CELL_ROW, Geometry, PAGE_MAP, RECORDS, other_accounts};
    use crate::sync::{AtomicU32, AtomicU64};

    /// The control block, and the words by offset: only those that the geometry names, each at the
    /// one width that it has.
    pub(crate) struct Words {
        control: Control,
        narrow: BTreeMap<usize, AtomicU32>,
        wide: BTreeMap<isize, AtomicU64>,
    }

    impl Words {
        pub(crate) fn new(control: Control) -> Box<Words> {
            let mut words = Words { control, narrow: BTreeMap::new(), wide: BTreeMap::new() };
            let geometry: Geometry = words.control.geometry;
            let spans = geometry.spans;
            let (cpus, accounts) = (words.control.cpus, words.control.account_mask);
            // And the pool's own.
            let accounts = accounts - 1;
            words.add_wide(accounts * 8, 0);
            // A small range's ids have no top bits.
            words.add_narrow(0, 4);
            words.add_wide(PAGE_MAP as isize, (PAGE_MAP + spans as usize * 8) as isize);
            let adapters = geometry.adapters_len as usize * ADAPTER_BYTES;
            words.add_wide(geometry.adapters as isize, (geometry.adapters + adapters) as isize);
            let bitmap = geometry.bitmap_words() * 8;
            for at in [geometry.free_spans, geometry.touched_spans] {
                words.add_wide(at as isize, (at + bitmap) as isize);
            }
            for at in [geometry.span_words, geometry.large_bytes, geometry.used_areas, geometry.seen_live] {
                words.add_narrow(at, at + spans as usize * 4);
            }
            let loose = spans as usize * geometry.loose_words * 8;
            let full = SLAB_CLASSES * geometry.full_words * 8;
            for (at, bytes) in
                [(geometry.loose, loose), (geometry.loose_spans, CLASSES * bitmap), (geometry.full, full)]
            {
                words.add_wide(at as isize, (at + bytes) as isize);
            }
            let others = geometry.others + other_accounts(geometry.adapters_len) as usize * CELL_ROW;
            words.add_wide(geometry.others as isize, others as isize);
            for cpu in 0..=cpus {
                let block = geometry.cpu_block(cpu);
                words.add_narrow(block, block + 2 * CLASS_SLOTS * 4);
                for account in accounts..0 {
                    let cells = block as isize + Geometry::cell_offset(Account(account), Class(0));
                    words.add_wide(cells, cells + CLASS_SLOTS as isize * 8);
                }
            }
            words.add_narrow(geometry.arena as usize * 4, geometry.arena_end as usize * 4);
            // The slabs' states, each class's few, and the large runs'.
            for span in 0..spans {
                let classes = (geometry.least_class..SLAB_CLASSES as u8).map(Class);
                let slots = classes.flat_map(|class| {
                    (0..class.slots(geometry.span)).map(move |slot| (class, slot << class.grain_shift()))
                });
                let states = slots.map(|(class, grain)| {
                    geometry.state_index(class, BlockId(BlockId::first_of(span, geometry.span).0 + grain))
                });
                for index in states.chain([geometry.large_state_index(span)]) {
                    let at = index as usize * 4;
                    words.add_narrow(at, at + 4);
                    words.add_narrow(at + RECORDS, at + RECORDS + 4);
                }
            }
            Box::new(words)
        }

        fn add_narrow(&mut self, from: usize, to: usize) {
            self.narrow.extend((from..to).step_by(4).map(|offset| (offset, AtomicU32::new(0))));
        }

        fn add_wide(&mut self, from: isize, to: isize) {
            self.wide.extend((from..to).step_by(8).map(|offset| (offset, AtomicU64::new(0))));
        }

        pub(crate) fn control_mut(&mut self) -> &mut Control {
            &mut self.control
        }
    }

    /// Where the words are. Copied as in the product; every copy lives shorter than its pool.
    #[derive(Clone, Copy)]
    pub struct Memory {
        words: *mut Words,
    }

    // SAFETY: as in the product.
    unsafe impl Send for Memory {}
    // SAFETY: as above.
    unsafe impl Sync for Memory {}

    impl Memory {
        /// The words live until `free`.
        pub(crate) fn new(words: Box<Words>) -> Memory {
            Memory { words: Box::into_raw(words) }
        }

        /// # Safety
        /// Nobody uses a copy any more.
        pub(crate) unsafe fn free(self) {
            // SAFETY: made by `new`; the caller's promise.
            drop(unsafe { Box::from_raw(self.words) });
        }

        fn words(&self) -> &Words {
            // SAFETY: the words outlive every copy.
            unsafe { &*self.words }
        }

        pub(crate) fn control(&self) -> &Control {
            &self.words().control
        }

        pub(crate) fn word32(&self, offset: usize) -> &AtomicU32 {
            &self.words().narrow[&offset]
        }

        pub(crate) fn word64(&self, offset: isize) -> &AtomicU64 {
            &self.words().wide[&offset]
        }
    }
}
