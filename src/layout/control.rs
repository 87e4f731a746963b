//! The control block, at the base of the metadata.

use core::mem::offset_of;

use super::classes::{CLASS_SLOTS, GRAIN_SHIFT};
use super::classes::{CLASSES, Class, SLAB_CLASSES, SMALL};
use super::geometry::{Config, Geometry, MAX_CPUS, PAGE_MAP};
use super::page_map::{HeaderTable, NO_HEADER, NO_HEADERS};
use super::range::Range;
use crate::contract::hook::HookRecord;
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64};

/// The owner in account 0's word: a closed one, which no handle equals.
pub(crate) const NOBODY: u64 = 1 << 31;

/// How many negative numbers a restartable sequence may read as its CPU's.
pub(crate) const NO_CPU: usize = 2;

/// What the fast paths and all slow ones share. Fields without an atomic type are immutable
/// after creation (I11).
#[repr(C, align(64))]
pub struct Control {
    /// The account word of account 0, which is nobody's: no handle equals its owner.
    pub(crate) nobody: u64,
    /// Read 0 for ever: the headers of what is no block.
    pub(crate) no_header: [u64; NO_HEADERS],
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
    /// Class by (bytes - 1) / 16.
    pub(crate) small: [u8; SMALL.len()],
    /// By class: where its headers are.
    pub(crate) headers: [HeaderTable; CLASS_SLOTS],
    /// Address of each CPU's block, for rseq sections, from number -[`NO_CPU`] on. For numbers without a
    /// cache, and for all while the twin serves, it is the shared row's, whose cursors are `NONE` for ever.
    pub(crate) cpu_blocks: [usize; NO_CPU + MAX_CPUS],

    pub(crate) geometry: Geometry,
    pub(crate) strict_tags: bool,
    /// Whether free blocks are poisoned.
    #[cfg(storport_pool_asan)]
    pub(crate) poisons: bool,
    /// 1 while the fork page has not been wiped; the page itself, or [`own_generation`](Self::own_generation).
    pub(crate) fork_word: *const AtomicU32,

    /// The fork generation where there is no fork. Written at creation.
    pub(crate) own_generation: AtomicU32,
    /// The last generation given out. Written by `Meta::generation`, after a fork.
    pub(crate) last_generation: AtomicU32,
    /// 1: the routines are not implemented. Written by the host's switch.
    pub(crate) not_implemented: AtomicU32,
    /// Who hears of violations. Written by the host, by swap.
    pub(crate) hook: AtomicPtr<HookRecord>,
    /// Records that the pool made itself, dropped with it. Written by CAS.
    pub(crate) hooks: AtomicPtr<HookRecord>,
    /// Try-claim of sweep and trim.
    pub(crate) reclaim_claim: AtomicU32,
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
    /// Last magazine of the queue; 0 = empty. Written by pushers (swap) and the consumer (CAS).
    pub(crate) magazine_tail: AtomicU32,
    /// Last block of the queue, id + 1; 0 = empty. Written likewise.
    pub(crate) block_tail: AtomicU32,
    /// The consumer's line begins here, away from the pushers'.
    pub(crate) consumer: ConsumerSide,
}

/// What only allocate's side of a depot writes, but for a push onto an empty queue.
#[repr(C, align(64))]
#[derive(Default)]
pub(crate) struct ConsumerSide {
    /// First magazine of the queue.
    pub(crate) magazine_head: AtomicU32,
    /// First block of the queue, id + 1.
    pub(crate) block_head: AtomicU32,
    /// Try-claim of both queues' consumer.
    pub(crate) claim: AtomicU32,
    /// Fork generation of the last consumer. Written under the claim.
    pub(crate) generation: AtomicU32,
    /// Slabs of this class. Written by `fetch_add` and `fetch_sub`.
    pub(crate) slabs: AtomicU32,
    /// Span + 1 of the slab that is being carved, and its next block; 0 = none. Written by CAS.
    pub(crate) carve: AtomicU64,
}

const _: () = {
    assert!(offset_of!(Control, nobody) == 0, "account 0's word lies at the base");
    assert!(offset_of!(Control, no_header) as u64 == NO_HEADER * 8);
    assert!(size_of::<Control>() <= PAGE_MAP || cfg!(storport_pool_loom));
};

impl Control {
    pub(crate) fn new(config: &Config, geometry: Geometry) -> Control {
        let mut capacity = [0; CLASS_SLOTS];
        let mut headers = [HeaderTable::NONE; CLASS_SLOTS];
        for index in 0..CLASSES {
            let class = Class(index as u8);
            headers[index] = HeaderTable::new(geometry.tables[index], class);
            capacity[index] = class.capacity(geometry.spans, config.cpus) as u8;
        }
        let least = geometry.least_class;
        Control {
            nobody: NOBODY,
            no_header: [0; NO_HEADERS],
            range: geometry.range,
            account_shift: 64 - config.accounts.ilog2(),
            account_mask: -(config.accounts as isize),
            rseq: false,
            cpus: config.cpus,
            capacity,
            small: SMALL.map(|class| class.max(least)),
            headers,
            cpu_blocks: [0; NO_CPU + MAX_CPUS],
            geometry,
            strict_tags: config.strict_tags,
            #[cfg(storport_pool_asan)]
            poisons: false,
            fork_word: core::ptr::null(),
            own_generation: AtomicU32::new(1),
            last_generation: AtomicU32::new(1),
            not_implemented: AtomicU32::new(0),
            hook: AtomicPtr::new(core::ptr::null_mut()),
            hooks: AtomicPtr::new(core::ptr::null_mut()),
            reclaim_claim: AtomicU32::new(0),
            bury_claim: AtomicU32::new(0),
            span_hint: AtomicU32::new(0),
            arena_next: AtomicU64::new(u64::from(geometry.arena)),
            empties: AtomicU64::new(0),
            contended: AtomicU64::new(0),
            violations: AtomicU64::new(0),
            depots: core::array::from_fn(|_| Depot {
                consumer: ConsumerSide { generation: AtomicU32::new(1), ..ConsumerSide::default() },
                ..Depot::default()
            }),
        }
    }

    /// The slab class of a request of 1 to 4096 bytes.
    #[inline(always)]
    pub(crate) fn small_class(&self, bytes: u32) -> Option<Class> {
        // 0 wraps to what is no index.
        let class = Class(*self.small.get((bytes.wrapping_sub(1) >> GRAIN_SHIFT) as usize)?);
        // SAFETY: the table's values are classes of slabs (I11). It spares the bound checks of the
        // arrays by class.
        unsafe { core::hint::assert_unchecked(class.index() < SLAB_CLASSES) };
        Some(class)
    }
}
