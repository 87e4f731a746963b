//! Typed access to the metadata: one base address, words of fixed width.

use super::classes::{CLASSES, Class, LARGE, LARGE_BODY, SPAN_GRAINS};
use super::control::{Control, Depot};
use super::cursor::{Cursor, LINK_WORD, MAGAZINE_WORDS};
use super::geometry::{Geometry, PAGE_MAP, SPARES};
use super::header::{Account, BlockId, Header};
use super::memory::Memory;
use super::page_map::Entry;
use super::range::Range;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// How many calls before a block comes out of its magazine it is drawn into the cache.
#[cfg(not(storport_pool_loom))]
pub(crate) const AHEAD: usize = 8;

/// A pool's metadata. Copied freely inside the crate; every copy lives shorter than its pool.
#[derive(Clone, Copy)]
pub struct Meta {
    memory: Memory,
}

impl Meta {
    /// The memory is initialised metadata (I4).
    pub(crate) const fn new(memory: Memory) -> Meta {
        Meta { memory }
    }

    #[cfg(all(feature = "std", target_os = "linux", target_arch = "x86_64"))]
    #[inline(always)]
    pub(crate) fn base(self) -> *mut u8 {
        self.memory.base().as_ptr()
    }

    #[cfg(any(feature = "std", storport_pool_loom))]
    pub(crate) fn memory(self) -> Memory {
        self.memory
    }

    #[inline(always)]
    pub(crate) fn control(&self) -> &Control {
        self.memory.control()
    }

    #[inline(always)]
    fn word32(&self, offset: usize) -> &AtomicU32 {
        self.memory.word32(offset)
    }

    #[inline(always)]
    fn word64(&self, offset: isize) -> &AtomicU64 {
        self.memory.word64(offset)
    }

    /// Marks every span as unused. Called once, before the pool is shared.
    pub(crate) fn init_page_map(&self) {
        for span in 0..self.control().geometry.spans as usize {
            // ORDERING: Relaxed - not shared yet.
            self.entry(span).store(Entry::NONE.0, Ordering::Relaxed);
        }
    }

    pub(crate) fn depot(&self, class: Class) -> &Depot {
        debug_assert!(class.index() < CLASSES);
        &self.control().depots[class.index().min(CLASSES - 1)]
    }

    #[inline(always)]
    pub(crate) fn entry(&self, span: usize) -> &AtomicU64 {
        debug_assert!(span < self.control().geometry.spans as usize);
        self.word64((PAGE_MAP + span * 8) as isize)
    }

    /// The entry of a span that the caller pins (I5), or that it re-checks by the header.
    #[inline(always)]
    pub(crate) fn read_entry(&self, span: usize) -> Entry {
        // ORDERING: Relaxed - a stale entry leads to a header that refuses the block, or is
        // read again after the claim (I3, I5).
        Entry(self.entry(span).load(Ordering::Relaxed))
    }

    /// The header at `index`, counted in headers from the base.
    #[inline(always)]
    pub(crate) fn header_at(&self, index: u64) -> &AtomicU64 {
        self.word64((index * 8) as isize)
    }

    /// The header of a block of a known class: its region is fixed by the class's k.
    #[inline(always)]
    pub(crate) fn header_of(&self, class: Class, block: BlockId) -> &AtomicU64 {
        self.header_at(self.control().headers[class.index()].index(block))
    }

    pub(crate) fn read_header(&self, class: Class, block: BlockId) -> Header {
        // ORDERING: Acquire - a walker or consumer sees what was written before the header;
        // pairs with the Release stores of headers and links.
        Header(self.header_of(class, block).load(Ordering::Acquire))
    }

    #[inline(always)]
    pub(crate) fn account_word(&self, account: Account) -> &AtomicU64 {
        self.word64(account.0 * 8)
    }

    #[inline(always)]
    pub(crate) fn cursor(&self, cpu: u32, class: Class) -> &AtomicU32 {
        self.word32(self.control().geometry.cpu_block(cpu) + class.index() * 4)
    }

    pub(crate) fn spare(&self, cpu: u32, class: Class) -> &AtomicU32 {
        self.word32(self.control().geometry.cpu_block(cpu) + SPARES + class.index() * 4)
    }

    /// An account's counter cell; CPU number `cpus` is the shared row.
    #[inline(always)]
    pub(crate) fn cell(&self, cpu: u32, account: Account, class: Class) -> &AtomicU64 {
        let block = self.control().geometry.cpu_block(cpu) as isize;
        self.word64(block + Geometry::cell_offset(account, class))
    }

    /// Entry number `n` of a magazine.
    #[inline(always)]
    pub(crate) fn magazine_entry(&self, magazine: u32, n: u32) -> &AtomicU32 {
        debug_assert!(magazine.is_multiple_of(MAGAZINE_WORDS) && n < LINK_WORD);
        self.word32((magazine + n) as usize * 4)
    }

    pub(crate) fn magazine_link(&self, magazine: u32) -> &AtomicU32 {
        debug_assert!(magazine.is_multiple_of(MAGAZINE_WORDS));
        self.word32((magazine + LINK_WORD) as usize * 4)
    }

    pub(crate) fn span_word(&self, span: u32) -> &AtomicU32 {
        self.word32(self.control().geometry.span_words + span as usize * 4)
    }

    /// Word `n` of the bitmap of free spans.
    pub(crate) fn free_spans(&self, n: usize) -> &AtomicU64 {
        self.word64((self.control().geometry.free_spans + n * 8) as isize)
    }

    /// Word `n` of the bitmap of spans whose memory may be resident.
    pub(crate) fn touched_spans(&self, n: usize) -> &AtomicU64 {
        self.word64((self.control().geometry.touched_spans + n * 8) as isize)
    }

    /// Word `n` (of 8) of an adapter's record.
    pub(crate) fn adapter_word(&self, slot: u32, n: usize) -> &AtomicU64 {
        let offset = self.control().geometry.adapters + slot as usize * super::geometry::ADAPTER_BYTES;
        self.word64((offset + n * 8) as isize)
    }

    /// The range of addresses.
    #[inline(always)]
    pub(crate) fn range(&self) -> &Range {
        &self.control().range
    }

    /// The block that holds a grain, live or not; `None` where no block can be. Loads only, bounded.
    pub(crate) fn locate(&self, grain: BlockId) -> Option<Located> {
        // ORDERING: Acquire - the span word of a large run; pairs with the Release in `take_large`.
        let entry = Entry(self.entry(grain.span() as usize).load(Ordering::Acquire));
        if entry.is_none() {
            return None;
        }
        let (span, in_slab, class) = match entry.class() {
            LARGE_BODY => {
                // ORDERING: Relaxed - ordered by the entry.
                let head = self.span_word(grain.span()).load(Ordering::Relaxed);
                (head, 0, LARGE)
            }
            LARGE => (grain.span(), 0, LARGE),
            class => (grain.span(), class.block_of(grain.in_slab())?, class),
        };
        if span >= self.control().geometry.spans {
            return None;
        }
        let start = BlockId(span * SPAN_GRAINS + in_slab);
        Some(Located { start, header: self.read_header(class, start), class, at_start: start == grain })
    }

    /// An id that the magazine will hand out soon, whatever stands there; for prefetching only.
    ///
    /// Eight ahead covers a miss to memory when blocks are cold, and costs nothing when they are
    /// hot (docs/BENCHMARKS.md).
    #[inline(always)]
    #[cfg(not(storport_pool_loom))]
    pub(crate) fn upcoming(&self, position: Cursor) -> BlockId {
        // ORDERING: Relaxed - a hint. Behind the last entry lies the link or another magazine, or,
        // behind the last magazine, the gap before the first header table: all inside the metadata.
        BlockId(self.word32((position.0 as usize + AHEAD) * 4).load(Ordering::Relaxed))
    }

    /// Loom has no word where none is, and no cache.
    #[cfg(storport_pool_loom)]
    pub(crate) fn upcoming(&self, _: Cursor) -> BlockId {
        BlockId(0)
    }

    /// Whether the host's switch is down.
    pub(crate) fn not_implemented(&self) -> bool {
        // ORDERING: SeqCst - pairs with the switch and the fences of interning and closing.
        self.control().not_implemented.load(Ordering::SeqCst) != 0
    }

    /// The fork generation: claims and stopped cursors of another one count as free.
    pub(crate) fn generation(&self) -> u32 {
        let control = self.control();
        // SAFETY: the word outlives the pool: it is part of the source's mapping, or of the
        // control block itself.
        let word = unsafe { &*control.fork_word };
        // ORDERING: Relaxed - the value changes only by fork.
        match word.load(Ordering::Relaxed) {
            0 => self.renew_generation_slow(word),
            generation => generation,
        }
    }

    /// Reached by the first claim in a forked child, whose page was wiped.
    #[cold]
    fn renew_generation_slow(&self, word: &AtomicU32) -> u32 {
        // ORDERING: Relaxed - only the value counts. 24 bits fit a cursor; 0 means wiped.
        let next = self.control().last_generation.fetch_add(1, Ordering::Relaxed) + 1;
        let next = (next & 0xFF_FFFF).max(1);
        match word.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => next,
            Err(other) => other,
        }
    }

    /// Tries to take a claim. Busy means that somebody of this process holds it.
    pub(crate) fn try_claim<'a>(&self, claim: &'a AtomicU32) -> Option<Claim<'a>> {
        let generation = self.generation();
        // ORDERING: Relaxed - a first look, the CAS decides.
        let seen = claim.load(Ordering::Relaxed);
        if seen == generation {
            return None;
        }
        // ORDERING: Acquire - sees what the last holder did; pairs with the Release in `drop`.
        claim.compare_exchange(seen, generation, Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(Claim { word: claim, inherited: seen != 0 })
    }
}

/// A hint that cannot fault, whatever the address.
#[inline(always)]
pub(crate) fn prefetch_for_write(address: u64) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint; no address makes it fault.
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// What `locate` found.
#[derive(Clone, Copy)]
pub(crate) struct Located {
    pub(crate) start: BlockId,
    pub(crate) header: Header,
    pub(crate) class: Class,
    /// Whether the grain is the block's first.
    pub(crate) at_start: bool,
}

/// A claim that is held; dropping it releases.
pub(crate) struct Claim<'a> {
    word: &'a AtomicU32,
    /// Its last holder did not survive a fork, and may have left things half done.
    pub(crate) inherited: bool,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // ORDERING: Release - what the holder did is seen by the next one's Acquire.
        self.word.store(0, Ordering::Release);
    }
}
