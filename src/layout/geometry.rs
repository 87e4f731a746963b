//! Where each table of the metadata lies, as a function of the configuration.
//!
//! Offsets count from the *base*. Account words lie below it; the control block, at the base, is
//! followed by the page map, so the fast paths reach both at constant offsets.

use super::block::{Account, BlockId};
use super::classes::{CLASS_SLOTS, CLASSES, Class, MAGAZINE_ENTRIES, PAGE, SIZES, SLAB_CLASSES, SpanSize};
use super::config::Config;
use super::create_error::CreateError;
use super::cursor::MAGAZINE_WORDS;
use super::page_map::Entry;
use super::range::Range;

/// Bytes of one counter cell.
const CELL: usize = 8;
/// Bytes of an account's counter cells of one CPU.
pub(crate) const CELL_ROW: usize = CLASS_SLOTS * CELL;
/// Offset of a CPU's spares from its block; its cursors lie at 0.
pub(crate) const SPARES: usize = CLASS_SLOTS * 4;
const CPU_WORDS: usize = 2 * CLASS_SLOTS * 4;
/// Bytes of an adapter's record.
pub(crate) const ADAPTER_BYTES: usize = 64;
/// The page map begins here, behind the control block; not at a whole page, where its first entries would share their
/// lowest twelve bits with states that were just written, and loads of them wait for those (docs/BENCHMARKS.md).
/// (Loom: its control block lies elsewhere.)
pub(crate) const PAGE_MAP: usize = if cfg!(storport_pool_loom) { 16 } else { (12 << 10) + 0x940 };

/// Offsets of all tables, in bytes from the base.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Geometry {
    pub(crate) range: Range,
    pub(crate) spans: u32,
    /// How large each is.
    pub(crate) span: SpanSize,
    pub(crate) least_class: u8,
    /// Bytes below the base: the account words, rounded up to a page.
    pub(crate) below: usize,
    /// Bytes from the base up.
    pub(crate) above: usize,
    pub(crate) adapters: usize,
    /// How many the host may add.
    pub(crate) adapters_len: u32,
    /// Counter cells of the *other* accounts.
    pub(crate) others: usize,
    pub(crate) cpu_blocks: usize,
    pub(crate) cpu_stride: usize,
    pub(crate) span_words: usize,
    pub(crate) free_spans: usize,
    pub(crate) touched_spans: usize,
    /// By class: a bit for each magazine that lies in the class's depot.
    pub(crate) full: usize,
    /// Words of these to a class.
    pub(crate) full_words: usize,
    /// The first magazine, in words.
    pub(crate) arena: u32,
    /// The end of the last one, in words.
    pub(crate) arena_end: u32,
    /// Where blocks' states are.
    areas: Areas,
    /// Requested bytes of large runs, by their first span.
    pub(crate) large_bytes: usize,
    /// By span: which kinds of its areas were ever used.
    pub(crate) used_areas: usize,
    /// By span: which of its slab's states was seen live last. A hint.
    pub(crate) seen_live: usize,
    /// By span: a bit for each free block that lies in no magazine.
    pub(crate) loose: usize,
    /// Words of these to a span.
    pub(crate) loose_words: usize,
    /// By class: a bit for each span that may have such blocks; of large runs, for each freed one's first span.
    pub(crate) loose_spans: usize,
}

/// The states of all spans' blocks: an area a span, and of two kinds, since larger blocks have few states, and
/// many slabs' shall share a page. Areas of one kind follow each other, and the larger kind comes first. All of them
/// lie in chunks, and behind each chunk the records of its states: so a record lies at a constant distance from its
/// state, and allocate need not look it up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Areas {
    /// Where the first chunk begins.
    base: usize,
    /// By kind: how far its areas lie from the first chunk, were there no records in between.
    starts: [usize; LEVELS],
    /// By kind: bytes of an area; a power of two that divides a chunk.
    sizes: [usize; LEVELS],
}

/// Bytes of a chunk. A larger one has less room lost behind it, a smaller one less room lost in a small pool.
const CHUNK: usize = 32 << 10;
/// How far a record lies behind its state, in bytes. Some cache lines more than a chunk, so that the two do not compete
/// for a cache set, nor do all chunks' beginnings.
pub(crate) const RECORDS: usize = CHUNK + 5 * 64;

impl Areas {
    /// Which word from the base the area of a span begins at.
    const fn word(&self, level: usize, span: u32) -> u64 {
        let at = self.starts[level] + span as usize * self.sizes[level];
        ((self.base + at / CHUNK * 2 * RECORDS + at % CHUNK) / 4) as u64
    }
}

/// How many kinds of areas there are, by their classes' grain shifts: below 6, and from 6 up. So blocks of up to 1023
/// bytes have one kind, larger ones the other.
pub(crate) const LEVELS: usize = 2;
const LEVEL_SHIFTS: [u32; LEVELS] = [0, 6];

const fn level(grain_shift: u32) -> usize {
    let mut level = LEVELS - 1;
    while grain_shift < LEVEL_SHIFTS[level] {
        level -= 1;
    }
    level
}

/// How many *other* accounts there are: the adapters', the orphans', that of the gone.
pub(crate) const fn other_accounts(adapters: u32) -> u32 {
    adapters + 2
}

const fn align(offset: usize, to: usize) -> usize {
    offset.next_multiple_of(to)
}

impl Config {
    /// Bytes of metadata that this configuration needs. The memory must be aligned to 4096. Any IRQL.
    ///
    /// In percent of the range, with the default numbers of accounts, adapters and magazines:
    ///
    /// | range | smallest block | 1 CPU | 4 CPUs |
    /// |---|---|---|---|
    /// | 64 MiB | 16 | 78.0 | 78.7 |
    /// | 64 MiB | 64 | 20.4 | 21.1 |
    /// | 64 MiB | 256 | 6.0 | 6.6 |
    /// | 1 MiB | 16 | 94.1 | 118.4 |
    /// | 1 MiB | 64 | 35.9 | 58.2 |
    ///
    /// This is address space. A pool over memory of the system makes resident what it uses of it. A host's own memory
    /// is all taken.
    ///
    /// [`Config`] has an example.
    ///
    /// # Errors
    /// The first [`CreateError`] that applies: a figure of the configuration is out of bounds.
    pub const fn metadata_bytes(&self) -> Result<usize, CreateError> {
        match Geometry::new(self) {
            Ok(geometry) => Ok(geometry.below + geometry.above),
            Err(error) => Err(error),
        }
    }
}

/// How many magazines a pool has, unless its maker says so: for all blocks at once, if they are of the smallest size;
/// and two for each CPU and class, since those that a CPU has loaded, or as its spare, may be empty. Of the latter no
/// more than a quarter of the range has room for.
const fn magazines(config: &Config, spans: u32, span: SpanSize, least_class: u8) -> usize {
    if config.magazines > 0 {
        // More than have a place: a place counts words, in 32 bits.
        const MOST: u32 = 1 << 24;
        return if config.magazines < MOST { config.magazines } else { MOST } as usize;
    }
    let bytes = spans as u64 * span.bytes() as u64;
    let blocks = bytes / config.min_block as u64;
    let mut classes = 0;
    while least_class as usize + classes < SLAB_CLASSES
        && SIZES[least_class as usize + classes] <= span.max_slab_bytes()
    {
        classes += 1;
    }
    let caches = 2 * config.cpus as usize * classes;
    let most = (bytes / 4 / (MAGAZINE_WORDS as u64 * 4)) as usize;
    blocks.div_ceil(MAGAZINE_ENTRIES as u64) as usize + if caches < most { caches } else { most }
}

impl Geometry {
    pub(crate) const fn bitmap_words(&self) -> usize {
        self.spans.div_ceil(64) as usize
    }

    /// Offset of a CPU's block: its cursors; its counter cells lie below. CPU number `cpus` is the shared row.
    pub(crate) const fn cpu_block(&self, cpu: u32) -> usize {
        self.cpu_blocks + cpu as usize * self.cpu_stride
    }

    /// The page-map entry of a slab.
    pub(crate) const fn slab_entry(&self, class: Class, span: u32) -> Entry {
        Entry::slab(
            class,
            BlockId::first_of(span, self.span),
            self.areas.word(level(class.grain_shift()), span),
        )
    }

    /// The bit of [`used_areas`](Self::used_areas) for the area that this class uses.
    pub(crate) const fn area_bit(class: Class) -> u32 {
        1 << if class.index() < SLAB_CLASSES { level(class.grain_shift()) } else { LEVELS - 1 }
    }

    /// A span's areas, of each kind that the pool has: the kind, the offset of the first state, how many there are.
    #[cfg(all(feature = "alloc", not(storport_pool_loom)))]
    pub(crate) fn areas_of(&self, span: u32) -> impl Iterator<Item = (usize, usize, usize)> {
        let areas = self.areas;
        (0..LEVELS)
            .filter(move |&level| areas.sizes[level] > 0)
            .map(move |level| (level, areas.word(level, span) as usize * 4, areas.sizes[level] / 4))
    }

    /// Which word from the base is the state of a slab's block.
    pub(crate) const fn state_index(&self, class: Class, block: BlockId) -> u64 {
        self.slab_entry(class, block.span(self.span)).state_index(block)
    }

    /// Which word from the base is the state of the large run that begins at this span.
    pub(crate) const fn large_state_index(&self, span: u32) -> u64 {
        self.areas.word(LEVELS - 1, span)
    }

    /// Offset of a counter cell from its CPU's block.
    #[inline(always)]
    pub(crate) const fn cell_offset(account: Account, class: Class) -> isize {
        account.0 * CELL_ROW as isize + class.index() as isize * 8
    }

    pub(crate) const fn new(config: &Config) -> Result<Geometry, CreateError> {
        let (range_base, spans, span) = match config.checked_spans() {
            Ok(found) => found,
            Err(error) => return Err(error),
        };
        let mut least_class = 0;
        while Class(least_class).bytes() < config.min_block {
            least_class += 1;
        }

        // One more: the pool's own.
        let accounts = config.accounts as usize + 1;
        let below = align(accounts * 8, PAGE as usize);
        let bitmap = spans.div_ceil(64) as usize * 8;

        let adapters = align(PAGE_MAP + spans as usize * 8, 64);
        let free_spans = align(adapters + config.adapters as usize * ADAPTER_BYTES, 64);
        let touched_spans = align(free_spans + bitmap, 64);
        let span_words = align(touched_spans + bitmap, 64);
        let cells = align(accounts * CELL_ROW, 128);
        let large_bytes = align(span_words + spans as usize * 4, 64);
        let used_areas = align(large_bytes + spans as usize * 4, 64);
        let seen_live = align(used_areas + spans as usize * 4, 64);
        let loose = align(seen_live + spans as usize * 4, 64);
        let least = Class(least_class).grain_shift();
        let loose_words = (span.grains() >> least).div_ceil(64) as usize;
        let loose_spans = align(loose + spans as usize * loose_words * 8, 64);
        let magazines = magazines(config, spans, span, least_class);
        let full = align(loose_spans + CLASSES * bitmap, 64);
        let full_words = magazines.div_ceil(64);
        let others = align(full + SLAB_CLASSES * full_words * 8, 64);
        let first_cpu = align(others + other_accounts(config.adapters) as usize * CELL_ROW, 128);
        let cpu_stride = align(cells + CPU_WORDS, 128);
        let cpu_blocks = first_cpu + cells;
        // One block more: the shared row.
        let mut end = first_cpu + (config.cpus as usize + 1) * cpu_stride;

        let magazine_bytes = MAGAZINE_WORDS as usize * 4;
        let arena = align(end, magazine_bytes);
        // A magazine's place counts words, in 32 bits.
        let limit = (1 << 34) - magazine_bytes;
        if arena >= limit {
            return Err(CreateError::TooMuchMetadata);
        }
        let mut arena_end = arena + magazines * magazine_bytes;
        if arena_end > limit {
            arena_end = limit;
        }
        end = arena_end;

        let mut areas = Areas { base: align(end, 64), starts: [0; LEVELS], sizes: [0; LEVELS] };
        let mut level = 0;
        let mut states = 0;
        while level < LEVELS {
            let shift = if least > LEVEL_SHIFTS[level] { least } else { LEVEL_SHIFTS[level] };
            areas.starts[level] = states;
            // Kinds of which all classes are too small have none.
            if level + 1 == LEVELS || least < LEVEL_SHIFTS[level + 1] {
                areas.sizes[level] = (span.grains() >> shift) as usize * 4;
                states += spans as usize * areas.sizes[level];
            }
            level += 1;
        }
        // The last chunk's records end with it.
        end = areas.base + (states - 1) / CHUNK * 2 * RECORDS + (states - 1) % CHUNK + 1 + RECORDS;

        Ok(Geometry {
            range: Range::new(range_base, spans, span),
            spans,
            span,
            least_class,
            below,
            above: align(end, PAGE as usize),
            adapters,
            adapters_len: config.adapters,
            others,
            cpu_blocks,
            cpu_stride,
            span_words,
            free_spans,
            touched_spans,
            full,
            full_words,
            arena: (arena / 4) as u32,
            arena_end: (arena_end / 4) as u32,
            areas,
            large_bytes,
            used_areas,
            seen_live,
            loose,
            loose_words,
            loose_spans,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::State;
    use super::*;
    use crate::contract::adapter::AdapterId;

    /// Pools of both sizes of spans, with this smallest block: of eight spans, and of more.
    fn geometries(min_block: u32) -> [Geometry; 2] {
        let with = |bytes| Geometry::new(&Config::new(0x1_0000, bytes).min_block(min_block)).unwrap();
        let both = [with(1 << 16), with(8 << 20)];
        assert_eq!(both.map(|geometry| geometry.span.bytes()), [4096, 65536]);
        both
    }

    fn classes(geometry: &Geometry) -> impl Iterator<Item = Class> + use<> {
        let most = geometry.span.max_slab_bytes();
        (geometry.least_class..SLAB_CLASSES as u8).map(Class).filter(move |class| class.bytes() <= most)
    }

    /// The entry of a slab leads each of its blocks to a state of its own.
    #[test]
    fn a_slabs_entry_leads_to_each_state() {
        for geometry in [16, 64, 256, 4096].into_iter().flat_map(geometries) {
            for (class, span) in classes(&geometry).flat_map(|class| [(class, 0), (class, 3), (class, 7)]) {
                let entry = geometry.slab_entry(class, span);
                let first = BlockId::first_of(span, geometry.span);
                let area = entry.state_index(first);
                for n in 0..class.per_slab(geometry.span) {
                    let block = BlockId(first.0 + class.nth_block(n));
                    assert_eq!(entry.state_index(block), area + u64::from(class.slot_of(class.nth_block(n))));
                    assert_eq!(block.span(geometry.span), span);
                }
            }
        }
    }

    /// A stale pointer, read through a stale entry, may come to the word of another class's block. A page's entries
    /// only ever lead to the areas of its span, so all pairs are: a class and any offset of a stale pointer in a
    /// span, with a class and a live block of its in the same span. The word equals what free expects only if the
    /// pointer is that block's address.
    #[test]
    fn a_stale_entry_leads_to_no_other_block() {
        for geometry in [16, 64, 256, 4096].into_iter().flat_map(geometries) {
            for span in [0, 3, 7] {
                let owner = AdapterId::from_raw(0x2_5678);
                let first = BlockId::first_of(span, geometry.span);
                // By word: the live blocks whose state it can be.
                let mut words = std::collections::BTreeMap::<u64, std::vec::Vec<u32>>::new();
                for class in classes(&geometry) {
                    for n in 0..class.per_slab(geometry.span) {
                        let block = BlockId(first.0 + class.nth_block(n));
                        words.entry(geometry.state_index(class, block)).or_default().push(block.0);
                    }
                }
                words.entry(geometry.large_state_index(span)).or_default().push(first.0);
                let mut met = 0;
                for class in classes(&geometry) {
                    let entry = geometry.slab_entry(class, span);
                    for grain in 0..geometry.span.grains() {
                        let stale = BlockId(first.0 + grain);
                        for &live in words.get(&entry.state_index(stale)).into_iter().flatten() {
                            met += 1;
                            let equal = State::live(owner, BlockId(live)) == State::live(owner, stale);
                            assert_eq!(equal, live == stale.0, "{class:?} {grain:#x}");
                        }
                    }
                }
                assert!(met >= geometry.span.grains(), "{met}");
            }
        }
    }

    /// No two spans share a word, states and records are apart, and all lie inside the metadata.
    #[test]
    fn areas_do_not_overlap() {
        for geometry in [16, 32, 64, 128, 256, 1024, 4096].into_iter().flat_map(geometries) {
            let mut owner = std::collections::BTreeMap::new();
            for span in 0..geometry.spans {
                let first = BlockId::first_of(span, geometry.span);
                for class in classes(&geometry) {
                    for slot in 0..class.slots(geometry.span) {
                        let block = BlockId(first.0 + (slot << class.grain_shift()));
                        let word = geometry.state_index(class, block);
                        assert_eq!(*owner.entry(word).or_insert(span), span, "{class:?}, {slot}");
                    }
                }
                let word = geometry.large_state_index(span);
                assert_eq!(*owner.entry(word).or_insert(span), span, "large");
            }
            let bytes = |word: &u64| *word as usize * 4;
            let (first, last) = (bytes(owner.keys().next().unwrap()), bytes(owner.keys().last().unwrap()));
            assert!(first >= geometry.arena_end as usize * 4 && last + RECORDS + 4 <= geometry.above);
            let records: std::collections::BTreeSet<u64> =
                owner.keys().map(|word| word + RECORDS as u64 / 4).collect();
            assert!(owner.keys().all(|word| !records.contains(word)), "a state is a record");
        }
        assert_eq!(SIZES.len(), SLAB_CLASSES);
    }
}
