//! Size classes.
//!
//! Up to a page, the sizes are the multiples of 16 that change how many blocks fit a page, so no
//! block crosses one. Above, multiples of a page up to 32 KiB, in pools whose spans are larger than a page. Above
//! that, runs of spans.

/// Bytes of a page, as the contract's layout rules count it.
pub(crate) const PAGE: u32 = 4096;
/// Bytes of the largest span. Every range begins at a multiple of it, and has a whole number of them.
pub(crate) const MOST_SPAN: u32 = 1 << 16;
/// log2 of the unit in which block ids count.
pub(crate) const GRAIN_SHIFT: u32 = 4;
/// Bytes of the unit in which block ids count; the alignment of every block.
pub(crate) const GRAIN: u32 = 1 << GRAIN_SHIFT;
const PAGE_GRAINS: u32 = PAGE / GRAIN;
/// Block ids to the largest span: a state word has a block's offset among so many.
pub(crate) const MOST_SPAN_GRAINS: u32 = MOST_SPAN / GRAIN;

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
/// Entries of a full magazine at most.
pub(crate) const MAGAZINE_ENTRIES: u32 = super::cursor::MAX_ROOM;
/// A CPU's two magazines of one class hold about twice this many bytes at most.
const PARKED_BYTES: u32 = 4 * MOST_SPAN;

/// How large a pool's spans are: the unit in which the range is given to slabs and large runs, and the size of a slab.
/// A power of two of pages, fixed at creation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpanSize {
    /// log2 of the block ids to a span.
    shift: u32,
}

impl SpanSize {
    /// One page: for small ranges, so that each size in use takes little of them.
    #[cfg(not(storport_pool_loom))]
    pub(crate) const PAGE: SpanSize = SpanSize { shift: PAGE_GRAINS.ilog2() };
    /// For all others.
    pub(crate) const MOST: SpanSize = SpanSize { shift: MOST_SPAN_GRAINS.ilog2() };

    /// The size for a range of so many bytes.
    pub(crate) const fn of_range(bytes: u64) -> SpanSize {
        #[cfg(not(storport_pool_loom))]
        if bytes < PAGE_SPANS_BELOW {
            return SpanSize::PAGE;
        }
        let _ = bytes;
        SpanSize::MOST
    }

    /// Whether this is the largest size.
    pub(crate) const fn is_most(self) -> bool {
        self.shift == SpanSize::MOST.shift
    }

    /// log2 of the block ids to a span.
    pub(crate) const fn shift(self) -> u32 {
        self.shift
    }

    /// Block ids to a span.
    pub(crate) const fn grains(self) -> u32 {
        1 << self.shift()
    }

    /// Bytes of a span.
    pub(crate) const fn bytes(self) -> u32 {
        self.grains() * GRAIN
    }

    /// The largest request that a slab serves: two fill a span; but a page in any case.
    pub(crate) const fn max_slab_bytes(self) -> u32 {
        if self.bytes() > PAGE { SIZES[SLAB_CLASSES - 1] } else { PAGE }
    }
}

/// Ranges of fewer bytes have spans of one page.
#[cfg(not(storport_pool_loom))]
const PAGE_SPANS_BELOW: u64 = 8 << 20;

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
    /// The last slot, which no class has: its magazines hold nothing, so the fast paths miss.
    pub(crate) const NO_FAST: Class = Class(CLASS_SLOTS as u8 - 1);

    /// Where the class's rows lie. Larger numbers, of which there are none, would be the last one: so that
    /// free has no panic to reach.
    #[inline(always)]
    pub(crate) const fn index(self) -> usize {
        debug_assert!((self.0 as usize) < CLASS_SLOTS);
        if (self.0 as usize) < CLASS_SLOTS { self.0 as usize } else { CLASS_SLOTS - 1 }
    }

    /// The class that serves `bytes`, 1 to the largest class's.
    pub(crate) fn for_slab_bytes(bytes: u32) -> Class {
        debug_assert!((1..=SIZES[SLAB_CLASSES - 1]).contains(&bytes));
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
    pub(crate) const fn slots(self, span: SpanSize) -> u32 {
        span.grains() >> self.grain_shift()
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
    pub(crate) const fn per_slab(self, span: SpanSize) -> u32 {
        let bytes = span.bytes();
        if self.bytes() <= PAGE { self.per_page() * (bytes / PAGE) } else { bytes / self.bytes() }
    }

    /// Offset in a slab, in grains, of the `n`th block to be carved of it. Slabs begin at different
    /// blocks: the first ones and their states are the busiest, and would otherwise compete for the
    /// same few cache sets, since all slabs begin at whole pages.
    pub(crate) const fn nth_carved(self, n: u32, span: u32, size: SpanSize) -> u32 {
        self.nth_block((self.first_carved(span, size) + n) % self.per_slab(size))
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
    pub(crate) const fn block_of(self, grain: u32, span: SpanSize) -> Option<u32> {
        match self.number_at(grain, span) {
            Some(n) => Some(self.nth_block(n)),
            None => None,
        }
    }

    /// Which block of the slab holds this grain, counted from the slab's start, unless it is waste.
    pub(crate) const fn number_at(self, grain: u32, span: SpanSize) -> Option<u32> {
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
        if n < self.per_slab(span) { Some(n) } else { None }
    }

    /// Which blocks of a slab lie in a page of it, if only in part: the first one's number, and how many.
    pub(crate) const fn of_page(self, page: u32, span: SpanSize) -> (u32, u32) {
        if self.bytes() <= PAGE {
            return (page * self.per_page(), self.per_page());
        }
        match self.number_at(page * PAGE_GRAINS, span) {
            Some(n) => (n, 1),
            None => (0, 0),
        }
    }

    /// Which block of a slab, counted from its start, is carved first; see [`nth_carved`](Class::nth_carved).
    pub(crate) const fn first_carved(self, span: u32, size: SpanSize) -> u32 {
        const STARTS: u32 = 16;
        span * 5 % STARTS * self.per_slab(size) / STARTS
    }

    /// Entries that one magazine of this class may hold, in a pool of `spans` for `cpus`.
    pub(crate) const fn capacity(self, spans: u32, size: SpanSize, cpus: u32) -> u32 {
        if self.index() >= SLAB_CLASSES || self.bytes() > size.max_slab_bytes() {
            return 0;
        }
        let by_bytes = PARKED_BYTES / self.bytes();
        // A small pool must not sit in magazines: all CPUs' two together hold a quarter of it.
        let by_pool = spans as u64 * self.per_slab(size) as u64 / (8 * cpus as u64);
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

    const BOTH: [SpanSize; 2] = [SpanSize::PAGE, SpanSize::MOST];

    fn classes(size: SpanSize) -> impl Iterator<Item = Class> {
        (0..SLAB_CLASSES as u8).map(Class).filter(move |class| class.bytes() <= size.max_slab_bytes())
    }

    #[test]
    fn every_size_gets_the_tightest_class() {
        for bytes in 1..=SpanSize::MOST.max_slab_bytes() {
            let class = Class::for_slab_bytes(bytes);
            assert!(class.bytes() >= bytes);
            assert!(class.0 == 0 || SIZES[class.index() - 1] < bytes);
        }
    }

    #[test]
    fn spans_are_pages_or_sixteen() {
        assert_eq!(BOTH.map(SpanSize::bytes), [4096, 65536]);
        assert_eq!(BOTH.map(SpanSize::max_slab_bytes), [4096, 32768]);
        assert_eq!(SpanSize::of_range((8 << 20) - 1), SpanSize::PAGE);
        assert_eq!(SpanSize::of_range(8 << 20), SpanSize::MOST);
    }

    /// As much as may be parked, and no more, of a pool of any size; one entry at least.
    #[test]
    fn magazines_hold_what_their_cpu_may_park() {
        for size in BOTH {
            for class in classes(size) {
                for (spans, cpus) in [(1, 1), (16, 2), (512, 4), (4096, 64), (1 << 20, 512)] {
                    let fits = |entries: u32| {
                        entries <= MAGAZINE_ENTRIES
                            && entries * class.bytes() <= PARKED_BYTES
                            && u64::from(entries) * 8 * u64::from(cpus)
                                <= u64::from(spans) * u64::from(class.per_slab(size))
                    };
                    let capacity = class.capacity(spans, size, cpus);
                    assert!(capacity == 1 || fits(capacity), "{class:?} of {spans} for {cpus}: {capacity}");
                    assert!(
                        capacity > 0 && !fits(capacity + 1),
                        "{class:?} of {spans} for {cpus}: {capacity}"
                    );
                }
            }
        }
        assert_eq!(LARGE.capacity(4096, SpanSize::MOST, 1), 0);
        assert_eq!(Class::for_slab_bytes(4097).capacity(4096, SpanSize::PAGE, 1), 0);
    }

    #[test]
    fn a_state_is_found_by_the_largest_shift_that_keeps_blocks_apart() {
        for class in classes(SpanSize::MOST) {
            let grain = GRAIN << class.grain_shift();
            assert!(grain <= class.bytes() && class.bytes() < 2 * grain, "{class:?}");
        }
    }

    #[test]
    fn blocks_keep_the_layout_rules() {
        for size in BOTH {
            for class in classes(size) {
                let mut indices = [false; MOST_SPAN_GRAINS as usize];
                for n in 0..class.per_slab(size) {
                    let start = class.nth_block(n) * GRAIN;
                    let end = start + class.bytes();
                    assert!(end <= size.bytes());
                    if class.bytes() <= PAGE {
                        assert_eq!(start / PAGE, (end - 1) / PAGE);
                    }
                    if class.bytes() >= PAGE {
                        assert_eq!(start % PAGE, 0);
                    }
                    let slot = class.slot_of(start / GRAIN);
                    assert!(slot < class.slots(size));
                    let taken = core::mem::replace(&mut indices[slot as usize], true);
                    assert!(!taken, "two blocks share a state");
                    assert_eq!(class.grain_at(slot), start / GRAIN);
                    for grain in start / GRAIN..end / GRAIN {
                        assert_eq!(class.block_of(grain, size), Some(start / GRAIN));
                    }
                }
                let used = (0..size.grains()).filter(|&g| class.block_of(g, size).is_some()).count() as u32;
                assert_eq!(used * GRAIN, class.per_slab(size) * class.bytes());
                let carved = |span| (0..class.per_slab(size)).map(move |n| class.nth_carved(n, span, size));
                for span in 0..16 {
                    let all: std::collections::BTreeSet<u32> = carved(span).collect();
                    assert_eq!(all.len() as u32, class.per_slab(size), "each block is carved once");
                }
            }
        }
    }
}
