//! Size classes.
//!
//! Up to a page, the sizes are the multiples of 16 that change how many blocks fit a page, so no
//! block crosses one. Above, multiples of a page up to 32 KiB. Above that, runs of spans.

/// Bytes of a page, as the contract's layout rules count it.
pub(crate) const PAGE: u32 = 4096;
/// log2 of a span: the unit of the page map, and the size of a slab.
pub(crate) const SPAN_SHIFT: u32 = 16;
/// Bytes of a span.
pub(crate) const SPAN: u32 = 1 << SPAN_SHIFT;
/// log2 of the unit in which block ids count.
pub(crate) const GRAIN_SHIFT: u32 = 4;
/// Bytes of the unit in which block ids count; the alignment of every block.
pub(crate) const GRAIN: u32 = 1 << GRAIN_SHIFT;
const PAGE_GRAINS: u32 = PAGE / GRAIN;
/// Block ids to a span.
pub(crate) const SPAN_GRAINS: u32 = SPAN / GRAIN;

/// Block sizes of the classes that live in slabs. (Loom: two, so that its metadata has few words; of one k,
/// so that their slabs share states.)
#[cfg(storport_pool_loom)]
pub(crate) const SIZES: [u32; SLAB_CLASSES] = [8192, 12288];
/// Block sizes of the classes that live in slabs.
#[cfg(not(storport_pool_loom))]
pub(crate) const SIZES: [u32; SLAB_CLASSES] = [
    16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 272, 288, 304, 336, 368, 400,
    448, 512, 576, 672, 816, 1024, 1360, 2048, 4096, 8192, 12288, 16384, 20480, 32768,
];
/// How many classes live in slabs.
pub(crate) const SLAB_CLASSES: usize = if cfg!(storport_pool_loom) { 2 } else { 36 };
/// The class of large runs, which have no magazines.
pub(crate) const LARGE: Class = Class(SLAB_CLASSES as u8);
/// The page map's mark for the second and later spans of a large run.
pub(crate) const LARGE_BODY: Class = Class(SLAB_CLASSES as u8 + 1);
/// Classes with a depot: all of [`SIZES`] and [`LARGE`].
pub(crate) const CLASSES: usize = SLAB_CLASSES + 1;
/// Length of every array by class, so that rows are a whole number of cache lines.
pub(crate) const CLASS_SLOTS: usize = if cfg!(storport_pool_loom) { 4 } else { 40 };
/// The largest request that a slab serves.
pub(crate) const MAX_SLAB_BYTES: u32 = SIZES[SLAB_CLASSES - 1];
/// Entries of a full magazine at most.
pub(crate) const MAGAZINE_ENTRIES: u32 = super::cursor::MAX_ROOM;
/// A CPU's two magazines of one class hold about twice this many bytes at most.
const PARKED_BYTES: u32 = 4 * SPAN;

/// Which size class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Class(pub(crate) u8);

/// Class by `(bytes - 1) / 16`, for requests of up to a page.
pub(crate) const SMALL: [u8; (PAGE / GRAIN) as usize] = {
    let mut table = [0; (PAGE / GRAIN) as usize];
    let mut class = 0;
    let mut grains = 0;
    while grains < table.len() {
        if (grains as u32 + 1) * GRAIN > SIZES[class] {
            class += 1;
        }
        table[grains] = class as u8;
        grains += 1;
    }
    table
};

const _: () = {
    let mut i = 0;
    while i < SLAB_CLASSES {
        assert!(SIZES[i].is_multiple_of(GRAIN), "SIZES: each a multiple of 16");
        assert!(i == 0 || SIZES[i] > SIZES[i - 1], "SIZES: in ascending order");
        assert!(
            SIZES[i] <= PAGE || SIZES[i].is_multiple_of(PAGE),
            "SIZES: above a page, multiples of a page"
        );
        i += 1;
    }
    assert!(
        CLASSES < CLASS_SLOTS,
        "more classes than CLASS_SLOTS: enlarge it, and CELL_SHIFT in percpu/rseq.rs with it"
    );
};

impl Class {
    /// Where the class's rows lie. Larger numbers, of which there are none, would be the last one: so that
    /// free has no panic to reach.
    #[inline(always)]
    pub(crate) const fn index(self) -> usize {
        debug_assert!((self.0 as usize) < CLASS_SLOTS);
        if (self.0 as usize) < CLASS_SLOTS { self.0 as usize } else { CLASS_SLOTS - 1 }
    }

    /// The class that serves `bytes`, 1 to [`MAX_SLAB_BYTES`].
    pub(crate) fn for_slab_bytes(bytes: u32) -> Class {
        debug_assert!((1..=MAX_SLAB_BYTES).contains(&bytes));
        if bytes <= PAGE {
            return Class(SMALL[((bytes - 1) / GRAIN) as usize]);
        }
        let mut class = SMALL[SMALL.len() - 1] + 1;
        while SIZES[class as usize] < bytes {
            class += 1;
        }
        Class(class)
    }

    /// This class, or `least` if that is larger.
    pub(crate) fn at_least(self, least: u8) -> Class {
        Class(self.0.max(least))
    }

    /// Bytes of a block of this slab class.
    pub(crate) const fn bytes(self) -> u32 {
        debug_assert!(self.index() < SLAB_CLASSES);
        SIZES[if self.index() < SLAB_CLASSES { self.index() } else { SLAB_CLASSES - 1 }]
    }

    /// k - 4, where block starts lie at least 2^k bytes apart: no two blocks of a slab share a state word.
    pub(crate) const fn grain_shift(self) -> u32 {
        self.bytes().ilog2() - GRAIN_SHIFT
    }

    /// Which word of its slab's area is the state of the block that begins at this grain.
    pub(crate) const fn slot_of(self, grain: u32) -> u32 {
        grain >> self.grain_shift()
    }

    /// Words of a slab's area that may be the state of a block.
    pub(crate) const fn slots(self) -> u32 {
        SPAN_GRAINS >> self.grain_shift()
    }

    /// The grain at which the block begins whose state is this word of its slab's area.
    pub(crate) const fn grain_at(self, slot: u32) -> u32 {
        let grain = slot << self.grain_shift();
        let (page, in_page) = (grain / PAGE_GRAINS, grain % PAGE_GRAINS * GRAIN);
        if self.bytes() <= PAGE {
            page * PAGE_GRAINS + in_page.div_ceil(self.bytes()) * self.bytes() / GRAIN
        } else {
            (grain * GRAIN).div_ceil(self.bytes()) * self.bytes() / GRAIN
        }
    }

    const fn per_page(self) -> u32 {
        PAGE / self.bytes()
    }

    /// Blocks in a slab.
    pub(crate) const fn per_slab(self) -> u32 {
        if self.bytes() <= PAGE { self.per_page() * (SPAN / PAGE) } else { SPAN / self.bytes() }
    }

    /// Offset in a slab, in grains, of the `n`th block to be carved of it. Slabs begin at different
    /// blocks: the first ones and their states are the busiest, and would otherwise compete for the
    /// same few cache sets, since all slabs begin at whole pages.
    pub(crate) const fn nth_carved(self, n: u32, span: u32) -> u32 {
        const STARTS: u32 = 16;
        let first = span * 5 % STARTS * self.per_slab() / STARTS;
        self.nth_block((first + n) % self.per_slab())
    }

    /// Offset in the slab, in grains, of its `n`th block.
    pub(crate) const fn nth_block(self, n: u32) -> u32 {
        let bytes = if self.bytes() <= PAGE {
            n / self.per_page() * PAGE + n % self.per_page() * self.bytes()
        } else {
            n * self.bytes()
        };
        bytes / GRAIN
    }

    /// Offset in grains of the block that holds this grain of the slab, unless it is waste.
    pub(crate) const fn block_of(self, grain: u32) -> Option<u32> {
        let byte = grain * GRAIN;
        let n = if self.bytes() <= PAGE {
            let in_page = byte % PAGE / self.bytes();
            if in_page >= self.per_page() {
                return None;
            }
            byte / PAGE * self.per_page() + in_page
        } else {
            byte / self.bytes()
        };
        if n < self.per_slab() { Some(self.nth_block(n)) } else { None }
    }

    /// Entries that one magazine of this class may hold, in a pool of `spans` for `cpus`.
    pub(crate) const fn capacity(self, spans: u32, cpus: u32) -> u32 {
        if self.index() >= SLAB_CLASSES {
            return 0;
        }
        let by_bytes = PARKED_BYTES / self.bytes();
        // A small pool must not sit in magazines: all CPUs' two together hold a quarter of it.
        let by_pool = spans as u64 * self.per_slab() as u64 / (8 * cpus as u64);
        let mut capacity = if (by_bytes as u64) < by_pool { by_bytes } else { by_pool as u32 };
        if capacity > MAGAZINE_ENTRIES {
            capacity = MAGAZINE_ENTRIES;
        }
        if capacity == 0 { 1 } else { capacity }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_gets_the_tightest_class() {
        for bytes in 1..=MAX_SLAB_BYTES {
            let class = Class::for_slab_bytes(bytes);
            assert!(class.bytes() >= bytes);
            assert!(class.0 == 0 || SIZES[class.index() - 1] < bytes);
        }
    }

    /// As much as may be parked, and no more, of a pool of any size; one entry at least.
    #[test]
    fn magazines_hold_what_their_cpu_may_park() {
        for class in (0..SLAB_CLASSES).map(|class| Class(class as u8)) {
            for (spans, cpus) in [(1, 1), (16, 2), (512, 4), (4096, 64), (1 << 20, 512)] {
                let fits = |entries: u32| {
                    entries <= MAGAZINE_ENTRIES
                        && entries * class.bytes() <= PARKED_BYTES
                        && u64::from(entries) * 8 * u64::from(cpus)
                            <= u64::from(spans) * u64::from(class.per_slab())
                };
                let capacity = class.capacity(spans, cpus);
                assert!(capacity == 1 || fits(capacity), "{class:?} of {spans} for {cpus}: {capacity}");
                assert!(capacity > 0 && !fits(capacity + 1), "{class:?} of {spans} for {cpus}: {capacity}");
            }
        }
        assert_eq!(Class(SLAB_CLASSES as u8).capacity(4096, 1), 0);
    }

    #[test]
    fn a_state_is_found_by_the_largest_shift_that_keeps_blocks_apart() {
        for class in (0..SLAB_CLASSES).map(|class| Class(class as u8)) {
            let grain = GRAIN << class.grain_shift();
            assert!(grain <= class.bytes() && class.bytes() < 2 * grain, "{class:?}");
        }
    }

    #[test]
    fn blocks_keep_the_layout_rules() {
        for i in 0..SLAB_CLASSES {
            let class = Class(i as u8);
            let mut indices = [false; SPAN_GRAINS as usize];
            for n in 0..class.per_slab() {
                let start = class.nth_block(n) * GRAIN;
                let end = start + class.bytes();
                assert!(end <= SPAN);
                if class.bytes() <= PAGE {
                    assert_eq!(start / PAGE, (end - 1) / PAGE);
                }
                if class.bytes() >= PAGE {
                    assert_eq!(start % PAGE, 0);
                }
                let slot = class.slot_of(start / GRAIN);
                assert!(slot < class.slots());
                assert!(!core::mem::replace(&mut indices[slot as usize], true), "two blocks share a state");
                assert_eq!(class.grain_at(slot), start / GRAIN);
                for grain in start / GRAIN..end / GRAIN {
                    assert_eq!(class.block_of(grain), Some(start / GRAIN));
                }
            }
            let used: u32 = (0..SPAN_GRAINS).filter(|&g| class.block_of(g).is_some()).count() as u32;
            assert_eq!(used * GRAIN, class.per_slab() * class.bytes());
        }
    }
}
