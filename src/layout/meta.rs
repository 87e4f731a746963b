//! Typed access to the metadata: one base address, words of fixed width.

use super::block::{Account, BlockId};
use super::classes::{CLASSES, Class, GRAIN, LARGE, LARGE_BODY, SLAB_CLASSES, SpanSize};
use super::control::{Control, Depot};
use super::cursor::{Cursor, LINK_WORD, MAGAZINE_WORDS};
use super::geometry::{ADAPTER_BYTES, Geometry, PAGE_MAP, RECORDS, SPARES};
use super::memory::Memory;
use super::page_map::Entry;
use super::range::Range;
use super::state::{Record, State};
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

    #[cfg(any(feature = "alloc", storport_pool_loom))]
    pub(crate) fn memory(self) -> Memory {
        self.memory
    }

    #[inline(always)]
    pub(crate) fn control(&self) -> &Control {
        self.memory.control()
    }

    #[inline(always)]
    pub(super) fn word32(&self, offset: usize) -> &AtomicU32 {
        self.memory.word32(offset)
    }

    #[inline(always)]
    pub(super) fn word64(&self, offset: isize) -> &AtomicU64 {
        self.memory.word64(offset)
    }

    pub(crate) fn depot(&self, class: Class) -> &Depot {
        debug_assert!(class.index() < CLASSES);
        &self.control().depots[class.index().min(CLASSES - 1)]
    }

    /// How large the pool's spans are.
    pub(crate) fn span_size(&self) -> SpanSize {
        self.control().geometry.span
    }

    /// The span that a block lies in.
    pub(crate) fn span_of(&self, block: BlockId) -> u32 {
        block.span(self.span_size())
    }

    /// The first block of a span.
    pub(crate) fn first_of(&self, span: u32) -> BlockId {
        BlockId::first_of(span, self.span_size())
    }

    /// A span's entry of the page map.
    #[inline(always)]
    pub(crate) fn span_entry(&self, span: u32) -> &AtomicU64 {
        debug_assert!(span < self.control().geometry.spans);
        self.word64((PAGE_MAP + span as usize * 8) as isize)
    }

    /// The entry of the span where a block begins. The caller pins its slab (I5), or re-checks by the state.
    #[inline(always)]
    pub(crate) fn entry_of(&self, block: BlockId) -> Entry {
        self.read_span(self.span_of(block))
    }

    /// What a span is. As for [`entry_of`](Self::entry_of).
    #[inline(always)]
    pub(crate) fn read_span(&self, span: u32) -> Entry {
        // ORDERING: Relaxed - a stale entry leads to a state that refuses the block, or is
        // read again after the claim (I3, I5).
        Entry(self.span_entry(span).load(Ordering::Relaxed))
    }

    /// The state word at `index`, counted from the base.
    #[inline(always)]
    pub(crate) fn state_at(&self, index: u64) -> &AtomicU32 {
        self.word32(index as usize * 4)
    }

    /// Which word from the base is the state of a block of a known class.
    pub(crate) fn state_index(&self, class: Class, block: BlockId) -> u64 {
        let geometry = &self.control().geometry;
        if class == LARGE {
            geometry.large_state_index(block.span(geometry.span))
        } else {
            geometry.state_index(class, block)
        }
    }

    /// The state word of a block of a known class.
    pub(crate) fn state_word(&self, class: Class, block: BlockId) -> &AtomicU32 {
        self.state_at(self.state_index(class, block))
    }

    pub(crate) fn state(&self, class: Class, block: BlockId) -> State {
        // ORDERING: Acquire - the record that was written before; pairs with the Release in `make_live`.
        State(self.state_word(class, block).load(Ordering::Acquire))
    }

    /// Forgets who had the blocks that a span's states told of when its area of this kind was last used. The span is in
    /// hand.
    pub(crate) fn forget_states(&self, class: Class, span: u32) {
        let used = self.word32(self.control().geometry.used_areas + span as usize * 4);
        // ORDERING: Relaxed, all - the span is ours; published with its entry.
        let (seen, bit) = (used.load(Ordering::Relaxed), Geometry::area_bit(class));
        if seen & bit == 0 {
            used.store(seen | bit, Ordering::Relaxed);
            return;
        }
        let first = self.state_index(class, self.first_of(span));
        let words = if class == LARGE { 1 } else { u64::from(class.slots(self.span_size())) };
        for index in first..first + words {
            let word = self.state_at(index);
            if word.load(Ordering::Relaxed) != 0 {
                word.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Which kinds of a span's areas were ever used.
    #[cfg(all(feature = "alloc", not(storport_pool_loom)))]
    pub(crate) fn used_areas(&self, span: u32) -> u32 {
        // ORDERING: Relaxed - the caller has the metadata to itself.
        self.word32(self.control().geometry.used_areas + span as usize * 4).load(Ordering::Relaxed)
    }

    #[cfg(all(test, feature = "alloc", not(storport_pool_loom)))]
    pub(crate) fn set_used_areas(&self, span: u32, kinds: u32) {
        self.word32(self.control().geometry.used_areas + span as usize * 4).store(kinds, Ordering::Relaxed);
    }

    fn record_word(&self, index: u64) -> &AtomicU32 {
        self.word32(index as usize * 4 + RECORDS)
    }

    fn large_bytes(&self, span: u32) -> &AtomicU32 {
        self.word32(self.control().geometry.large_bytes + span as usize * 4)
    }

    /// What the block's last allocation was asked for. A block that changes meanwhile may give a mixture.
    pub(crate) fn record(&self, class: Class, block: BlockId) -> Record {
        // ORDERING: Relaxed, twice - ordered by the state's Acquire.
        let record =
            Record::from_word(self.record_word(self.state_index(class, block)).load(Ordering::Relaxed));
        if class != LARGE {
            return record;
        }
        Record { bytes: self.large_bytes(self.span_of(block)).load(Ordering::Relaxed), ..record }
    }

    /// Hands a block in hand, and counted, to its caller: the record, then the state.
    pub(crate) fn make_live(&self, class: Class, block: BlockId, state: State, account: Account, bytes: u32) {
        if class == LARGE {
            // ORDERING: Relaxed - published by the state.
            self.large_bytes(self.span_of(block)).store(bytes, Ordering::Relaxed);
            self.make_live_at(self.state_index(class, block), state, account, bytes);
        } else {
            self.make_slab_live(block, self.span_of(block), state, account, bytes);
        }
    }

    /// The same, for a block of a slab, in this span.
    #[inline(always)]
    pub(crate) fn make_slab_live(
        &self,
        block: BlockId,
        span: u32,
        state: State,
        account: Account,
        bytes: u32,
    ) {
        self.make_live_at(self.read_span(span).state_index(block), state, account, bytes);
    }

    #[inline(always)]
    fn make_live_at(&self, index: u64, state: State, account: Account, bytes: u32) {
        // ORDERING: Relaxed - published by the state.
        self.record_word(index).store(Record::word(account, bytes), Ordering::Relaxed);
        // ORDERING: Release - the count and the record come before the state (I8); pairs with the Acquire in `state`.
        self.state_at(index).store(state.0, Ordering::Release);
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

    /// The counter cell of an *other* account.
    pub(crate) fn other_cell(&self, account: Account, class: Class) -> &AtomicU64 {
        debug_assert!(account.is_other());
        let offset = self.control().geometry.others as isize + Geometry::cell_offset(account, class);
        self.word64(offset)
    }

    /// Changes the bytes of a block that was found live. `false`: by now it is an orphan, free, or somebody else's, and
    /// nothing has changed, but for a moment. (Who finds the record of another one's block, with the same account and
    /// bytes, puts it back.)
    pub(crate) fn set_bytes(&self, found: Located, bytes: u32) -> bool {
        let Located { start, state, class, .. } = found;
        let word = match class {
            LARGE => self.large_bytes(self.span_of(start)),
            _ => self.record_word(self.state_index(class, start)),
        };
        // ORDERING: Acquire - before the look at the state, whose own pairs with the Release in `make_live_at`.
        let seen = word.load(Ordering::Acquire);
        let changed = match class {
            LARGE => bytes,
            _ => Record::word(Record::from_word(seen).account, bytes),
        };
        // The block was found before the record was read, and is there after it: the record is its.
        if self.state(class, start) != state
            // ORDERING: AcqRel - between the two looks at the state. (Where memory is ordered weakly, the second one may
            // miss that another one's block has the same record. Then that block's bytes are wrong in sums, no more.)
            || word.compare_exchange(seen, changed, Ordering::AcqRel, Ordering::Relaxed).is_err()
        {
            return false;
        }
        let ours = self.state(class, start) == state;
        if !ours {
            // ORDERING: Relaxed, both - the exact word decides.
            let _ = word.compare_exchange(changed, seen, Ordering::Relaxed, Ordering::Relaxed);
        }
        ours
    }

    /// How many spans the large run has that begins at this block.
    pub(crate) fn run_spans(&self, start: BlockId) -> u32 {
        // ORDERING: Relaxed - ordered by the entry that said so.
        self.span_word(self.span_of(start)).load(Ordering::Relaxed)
    }

    /// Has a block count under another account, if its record is still this one.
    pub(crate) fn move_record(&self, class: Class, block: BlockId, from: Account, to: Account) {
        let word = self.record_word(self.state_index(class, block));
        // ORDERING: Relaxed, all - the exact word decides; its bytes stay as they are.
        let seen = word.load(Ordering::Relaxed);
        let record = Record::from_word(seen);
        if record.account == from {
            let moved = Record::word(to, record.bytes);
            let _ = word.compare_exchange(seen, moved, Ordering::Relaxed, Ordering::Relaxed);
        }
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

    /// Word `n` of a span's bitmap of loose blocks.
    pub(crate) fn loose_word(&self, span: u32, n: usize) -> &AtomicU64 {
        let geometry = &self.control().geometry;
        self.word64((geometry.loose + (span as usize * geometry.loose_words + n) * 8) as isize)
    }

    /// Word `n` of a class's bitmap of spans that may have loose blocks.
    pub(crate) fn loose_spans(&self, class: Class, n: usize) -> &AtomicU64 {
        let geometry = &self.control().geometry;
        let row = class.index().min(CLASSES - 1) * geometry.bitmap_words();
        self.word64((geometry.loose_spans + (row + n) * 8) as isize)
    }

    /// Word `n` of a class's bitmap of the magazines in its depot. Of a class that has no magazines, the last one's, so
    /// that free has no panic to reach.
    pub(crate) fn full_word(&self, class: Class, n: usize) -> &AtomicU64 {
        let geometry = &self.control().geometry;
        let row = class.index().min(SLAB_CLASSES - 1) * geometry.full_words;
        self.word64((geometry.full + (row + n) * 8) as isize)
    }

    /// Which of a slab's states was seen live last; of a large run's first span, where a guarded block begins in it.
    pub(crate) fn seen_live(&self, span: u32) -> &AtomicU32 {
        self.word32(self.control().geometry.seen_live + span as usize * 4)
    }

    /// Says where a guarded block begins in a run in hand, in bytes. Published by its state.
    pub(crate) fn set_guarded(&self, start: BlockId, at: u64) {
        let word = self.seen_live(self.span_of(start));
        // ORDERING: Relaxed - the run is in hand.
        word.store(at as u32 / GRAIN + 1, Ordering::Relaxed);
    }

    /// Says that a run in hand has no guarded block.
    pub(crate) fn set_plain(&self, span: u32) {
        // ORDERING: Relaxed - as above.
        self.seen_live(span).store(0, Ordering::Relaxed);
    }

    /// Where the guarded block begins of the large run that begins in this span, in grains from there.
    pub(crate) fn guarded(&self, span: u32) -> Option<u32> {
        // ORDERING: Relaxed - ordered by the entry, or the state.
        self.seen_live(span).load(Ordering::Relaxed).checked_sub(1)
    }

    /// The address that the caller of a block has.
    pub(crate) fn address_of(&self, class: Class, block: BlockId) -> u64 {
        let inside = if class == LARGE { self.guarded(self.span_of(block)) } else { None };
        self.range().address(BlockId(block.0.wrapping_add(inside.unwrap_or(0))))
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

    /// Word `n` (of 8) of an adapter's record; slots are numbered from 1.
    pub(crate) fn adapter_word(&self, slot: u32, n: usize) -> &AtomicU64 {
        let offset = self.control().geometry.adapters + (slot as usize - 1) * ADAPTER_BYTES;
        self.word64((offset + n * 8) as isize)
    }

    /// The range of addresses.
    #[inline(always)]
    pub(crate) fn range(&self) -> &Range {
        &self.control().range
    }

    /// The block that holds a grain, live or not; `None` where no block can be. Loads only, bounded.
    pub(crate) fn locate(&self, grain: BlockId) -> Option<Located> {
        let size = self.span_size();
        let of = grain.span(size);
        // ORDERING: Acquire - the span word of a large run; pairs with the Release in `take_large`.
        let entry = Entry(self.span_entry(of).load(Ordering::Acquire));
        if entry.is_none() {
            return None;
        }
        let (span, in_slab, class) = match entry.class() {
            LARGE_BODY => (self.head_of(of)?, 0, LARGE),
            LARGE => (of, 0, LARGE),
            class => (of, class.block_of(grain.in_span(size), size)?, class),
        };
        if span >= self.control().geometry.spans {
            return None;
        }
        let start = BlockId(BlockId::first_of(span, size).0 + in_slab);
        let state = self.state(class, start);
        let inside = if class == LARGE { self.guarded(span) } else { None };
        let at_start = start.0.wrapping_add(inside.unwrap_or(0)) == grain.0;
        Some(Located { start, state, class, at_start })
    }

    /// The first span of the large run that a span belongs to. `None`: the run is given back meanwhile.
    fn head_of(&self, span: u32) -> Option<u32> {
        // ORDERING: Relaxed, both - ordered by the entries.
        let head = self.span_word(span).load(Ordering::Relaxed);
        let known = head < self.control().geometry.spans
            && self.read_span(head) == Entry::large(LARGE)
            && span.wrapping_sub(head) < self.span_word(head).load(Ordering::Relaxed);
        known.then_some(head)
    }

    /// An id that the magazine will hand out soon, whatever stands there; for prefetching only.
    ///
    /// Eight ahead covers a miss to memory when blocks are cold, and costs nothing when they are
    /// hot (docs/BENCHMARKS.md).
    #[inline(always)]
    #[cfg(not(storport_pool_loom))]
    pub(crate) fn upcoming(&self, position: Cursor) -> BlockId {
        // ORDERING: Relaxed - a hint. Behind the last entry lies the link or another magazine, or,
        // behind the last magazine, the first states: all inside the metadata.
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
    pub(crate) state: State,
    pub(crate) class: Class,
    /// Whether the grain is the block's first, as its caller knows it.
    pub(crate) at_start: bool,
}
