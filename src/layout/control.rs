//! The control block, at the base of the metadata.

use core::mem::offset_of;

use super::classes::{CLASS_SLOTS, CLASSES, Class, GRAIN_SHIFT, SMALL};
use super::config::Config;
#[cfg(not(storport_pool_loom))]
use super::config::MAX_CPUS;
use super::cursor::{FIRST_GENERATION, STEALERS};
use super::geometry::{Geometry, PAGE_MAP};
use super::page_map::NO_STATES;
use super::range::Range;
use crate::contract::hook::HookRecord;
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64};

/// How many negative numbers a restartable sequence may read as its CPU's.
#[cfg(not(storport_pool_loom))]
pub(crate) const NO_CPU: usize = 2;

/// What the fast paths and all slow ones share. Fields without an atomic type are immutable
/// after creation (I11).
#[repr(C, align(64))]
pub struct Control {
    /// Read 0 for ever: the states of what is no block.
    pub(crate) no_states: [u32; NO_STATES + 1],
    /// The range.
    pub(crate) range: Range,
    /// 64 less log2 of the number of accounts.
    pub(crate) account_shift: u32,
    /// Minus the number of accounts.
    pub(crate) account_mask: isize,
    /// Whether rseq sections serve; else the twin.
    pub(crate) rseq: bool,
    /// CPUs that have a cache.
    pub(crate) cpus: u32,
    /// By class: entries of a full magazine.
    pub(crate) capacity: [u8; CLASS_SLOTS],
    /// Class by (bytes - 1) / 16; where spans are of one page, [`Class::NO_FAST`] (see [`Range`]).
    pub(crate) small: [u8; SMALL.len()],
    /// How many bits of a handle's number are its slot; the rest is the generation.
    pub(crate) slot_bits: u32,
    /// Address of each CPU's block, for rseq sections, from number -[`NO_CPU`] on. For numbers without a
    /// cache, and for all while the twin serves or the host's switch is down, it is the shared row's, whose
    /// cursors are `NONE` for ever. Written at creation and by the host's switch.
    #[cfg(not(storport_pool_loom))]
    pub(crate) cpu_blocks: [AtomicU64; NO_CPU + MAX_CPUS],

    pub(crate) geometry: Geometry,
    /// log2 of the words of a class's bitmap of loose spans to each of its hints.
    pub(crate) loose_part_shift: u32,
    /// The same, of its bitmap of magazines.
    pub(crate) full_part_shift: u32,
    pub(crate) strict_tags: bool,
    /// Whether free blocks are poisoned.
    #[cfg(storport_pool_asan)]
    pub(crate) poisons: bool,
    /// The fork generation, 0 when the page was wiped: the page's word, or [`own_generation`](Self::own_generation).
    pub(crate) fork_word: *const AtomicU32,

    /// The fork generation where there is no fork. Written at creation.
    pub(crate) own_generation: AtomicU32,
    /// The last generation given out. Written by `Meta::generation`, after a fork.
    pub(crate) last_generation: AtomicU32,
    /// 1: the routines are not implemented. Written by the host's switch.
    pub(crate) not_implemented: AtomicU32,
    /// 1: a fence was refused, 2: and the host was told. Written by whoever was refused, and whoever tells, by CAS.
    pub(crate) fence_refused: AtomicU32,
    /// Who hears of violations. Written by the host, by swap.
    pub(crate) hook: AtomicPtr<HookRecord>,
    /// Records that the pool made itself, dropped with it. Written by CAS.
    pub(crate) hooks: AtomicPtr<HookRecord>,
    /// The verifier, if there is one: for ever, once it is set. Written by CAS.
    pub(crate) verifier: AtomicPtr<()>,
    /// Try-claim of a trim.
    pub(crate) trim_claim: AtomicU32,
    /// Try-claims of those who stop cursors: who holds one has its number.
    pub(crate) stealers: [AtomicU32; STEALERS],
    /// Try-claim of whoever looks for accounts that can be used again.
    pub(crate) bury_claim: AtomicU32,
    /// Word of the bitmap where the search for a free span begins. A hint; written by anyone.
    pub(crate) span_hint: AtomicU32,
    /// Next magazine that was never used, in words. Written by `fetch_add`.
    pub(crate) arena_next: AtomicU64,
    /// Stock of empty magazines: counter, magazine. Written by CAS.
    pub(crate) empties: AtomicU64,
    /// Allocations that failed because memory was in someone's hand.
    pub(crate) contended: AtomicU64,
    /// Violations found.
    pub(crate) violations: AtomicU64,
    /// By class.
    pub(crate) depots: [Depot; CLASSES],
}

/// The shared stock of one class.
#[repr(C, align(64))]
#[derive(Default)]
pub(crate) struct Depot {
    /// By part of the class's bitmap of magazines, 1: some may lie there.
    pub(crate) full: Hints,
    /// By part of the range, 1: some of the class's free blocks may lie in no magazine; of large runs, some may be
    /// freed.
    pub(crate) loose: Hints,
    pub(crate) slabs: SlabSide,
}

/// How many parts of a bitmap have a hint of their own. (Loom: few words.)
pub(crate) const PARTS: usize = if cfg!(storport_pool_loom) { 1 } else { 16 };

/// A line of hints. Written by who puts something there, and by who found nothing.
#[repr(C, align(64))]
#[derive(Default)]
pub(crate) struct Hints(pub(crate) [AtomicU32; PARTS]);

/// A class's slabs; written by allocate's side alone.
#[repr(C, align(64))]
#[derive(Default)]
pub(crate) struct SlabSide {
    /// How many there are. Written by `fetch_add` and `fetch_sub`.
    pub(crate) count: AtomicU32,
    /// Span + 1 of the slab that is being carved, and its next block; 0 = none. Written by CAS.
    pub(crate) carve: AtomicU64,
}

const _: () = {
    assert!(offset_of!(Control, no_states) == 0, "what is no block has its states at the base");
    assert!(
        size_of::<Control>() <= PAGE_MAP || cfg!(storport_pool_loom),
        "the control block has outgrown PAGE_MAP"
    );
};

/// Bits that tell so many adapters' slots apart, of which the first has number 1. At least two: handles below 4
/// have generation 0 then, which no adapter has.
const fn slot_bits(adapters: u32) -> u32 {
    let bits = adapters.ilog2() + 1;
    if bits < 2 { 2 } else { bits }
}

/// log2 of the words to a part, of a bitmap of so many.
fn words_to_a_part(words: usize) -> u32 {
    words.div_ceil(PARTS).next_power_of_two().ilog2()
}

impl Control {
    pub(crate) fn new(config: &Config, geometry: Geometry) -> Control {
        let mut capacity = [0; CLASS_SLOTS];
        for (index, capacity) in capacity.iter_mut().enumerate().take(CLASSES) {
            *capacity = Class(index as u8).capacity(geometry.spans, geometry.span, config.cpus) as u8;
        }
        let least = geometry.least_class;
        Control {
            no_states: [0; NO_STATES + 1],
            range: geometry.range,
            account_shift: 64 - config.accounts.ilog2(),
            account_mask: -(config.accounts as isize),
            rseq: false,
            cpus: config.cpus,
            capacity,
            small: SMALL
                .map(|class| if geometry.span.is_most() { class.max(least) } else { Class::NO_FAST.0 }),
            slot_bits: slot_bits(config.adapters),
            #[cfg(not(storport_pool_loom))]
            cpu_blocks: [const { AtomicU64::new(0) }; NO_CPU + MAX_CPUS],
            geometry,
            loose_part_shift: words_to_a_part(geometry.bitmap_words()),
            full_part_shift: words_to_a_part(geometry.full_words),
            strict_tags: config.strict_tags,
            #[cfg(storport_pool_asan)]
            poisons: false,
            fork_word: core::ptr::null(),
            own_generation: AtomicU32::new(FIRST_GENERATION),
            last_generation: AtomicU32::new(FIRST_GENERATION),
            not_implemented: AtomicU32::new(0),
            fence_refused: AtomicU32::new(0),
            hook: AtomicPtr::new(core::ptr::null_mut()),
            hooks: AtomicPtr::new(core::ptr::null_mut()),
            verifier: AtomicPtr::new(core::ptr::null_mut()),
            trim_claim: AtomicU32::new(0),
            stealers: core::array::from_fn(|_| AtomicU32::new(0)),
            bury_claim: AtomicU32::new(0),
            span_hint: AtomicU32::new(0),
            arena_next: AtomicU64::new(u64::from(geometry.arena)),
            empties: AtomicU64::new(0),
            contended: AtomicU64::new(0),
            violations: AtomicU64::new(0),
            depots: core::array::from_fn(|_| Depot::default()),
        }
    }

    /// The slab class of a request of 1 to 4096 bytes, if the fast paths serve the pool; else one that has no blocks.
    #[inline(always)]
    pub(crate) fn small_class(&self, bytes: u32) -> Option<Class> {
        // 0 wraps to what is no index.
        let class = Class(*self.small.get((bytes.wrapping_sub(1) >> GRAIN_SHIFT) as usize)?);
        // SAFETY: the table's values are such numbers (I11). It spares the bound checks of the arrays by class.
        unsafe {
            core::hint::assert_unchecked(class.index() < CLASS_SLOTS && (class.0 as usize) < CLASS_SLOTS)
        };
        Some(class)
    }
}
