//! The global allocator: one pool for all of a program's memory, made at first use.
//!
//! Who writes the word, and in what order: docs/CONCURRENCY.md, "The global allocator's own words".

use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::ptr::{self, NonNull, null_mut};

use static_assertions::assert_impl_all;

use crate::contract::adapter::AdapterId;
use crate::contract::tag::PoolTag;
use crate::layout::config::Config;
use crate::layout::create_error::CreateError;
use crate::percpu::native::{Commit, Native};
use crate::percpu::tag;
use crate::pool::backing::os;
use crate::pool::handle::Pool;
use crate::pool::layouts::Owner;
use crate::pool::source::PoolOptions;
use crate::pool::stop::{STOP, say};
use crate::sync::{AtomicPtr, AtomicU32, Ordering};

/// The number of CPUs that says "all that there may ever be". No pool has it.
const ALL_CPUS: u32 = 0;

/// The name of the adapter that a program's blocks belong to.
const ADAPTER: &str = "program";

/// A program's global allocator, over a pool of its own, which counts by tag.
///
/// ```standalone_crate
/// use storport_pool::{TaggedAlloc, tag, with_tag};
///
/// #[global_allocator]
/// static GLOBAL: TaggedAlloc = TaggedAlloc::new(tag!("Main"), 64 << 20);
///
/// let parsed = with_tag(tag!("Json"), || vec![1u64, 2, 3]);
/// let snapshot = GLOBAL.pool().unwrap().snapshot();
/// let row = snapshot.tags.iter().find(|row| row.tag == tag!("Json")).unwrap();
/// assert_eq!(row.totals.bytes_requested, 24);
/// # drop(parsed);
/// ```
///
/// The pool is made at first use, wherever that is: in a signal handler, in a forked child, before `main`. Nobody waits
/// for another's first use. The pool is never given back, so this type is for statics. The pool cannot be made if an
/// option is out of bounds, or if the operating system refuses the address space. Then every allocation answers null,
/// and tries again. Standard error has the reason, once.
///
/// | what | how it is here |
/// |---|---|
/// | tag | the tag of the innermost [`TagScope`](crate::TagScope), else the one passed to [`new`](TaggedAlloc::new) |
/// | sizes | up to 2^32 - 1 bytes; null above, and when the pool has no room: the allocator itself never aborts |
/// | alignments | all powers of two up to 2^31 |
/// | `realloc` | in place, as far as the block's size allows; the block keeps its tag. Asking for less never fails |
/// | a bad `dealloc` | changes nothing; the pool's violation hook hears of it ([`pool`](TaggedAlloc::pool)), or [`abort_on_misuse`](TaggedAlloc::abort_on_misuse) |
/// | IRQL | <= DISPATCH; above, allocations answer null and `dealloc` leaks |
///
/// First use takes 24 KiB of stack in the release build. `docs/PROCESSES.md` says what later calls take.
pub struct TaggedAlloc {
    tag: PoolTag,
    options: PoolOptions,
    aborts: bool,
    /// What `make_slow` published; null: nothing yet.
    made: AtomicPtr<Made>,
}

assert_impl_all!(TaggedAlloc: Send, Sync);

/// What first use makes. It lies in memory of its own, for ever once it is published.
struct Made {
    pool: Pool<Native>,
    adapter: AdapterId,
    /// Where this lies.
    memory: os::Memory,
}

impl TaggedAlloc {
    /// An allocator whose pool has up to `bytes` bytes, 64 KiB to 64 GiB. They are reserved at first use, and resident
    /// when touched. Blocks that are allocated outside of a scope have the tag `tag`.
    ///
    /// ```standalone_crate
    /// use storport_pool::{TaggedAlloc, tag};
    /// #[global_allocator]
    /// static GLOBAL: TaggedAlloc = TaggedAlloc::new(tag!("Main"), 1 << 30);
    /// let text = String::from("in a block of the pool");
    /// assert!(GLOBAL.pool().unwrap().block_at(text.as_ptr() as u64).unwrap().live);
    /// ```
    #[must_use]
    pub const fn new(tag: PoolTag, bytes: u64) -> TaggedAlloc {
        let options = PoolOptions::with_config(Config::new(0, bytes).cpus(ALL_CPUS));
        TaggedAlloc { tag, options, aborts: false, made: AtomicPtr::new(null_mut()) }
    }

    /// Bytes of the smallest block, as [`Config::min_block`]. Larger ones take less metadata.
    ///
    /// ```
    /// use storport_pool::{TaggedAlloc, tag};
    /// static GLOBAL: TaggedAlloc = TaggedAlloc::new(tag!("Main"), 1 << 30).min_block(64);
    /// ```
    #[must_use]
    pub const fn min_block(mut self, bytes: u32) -> TaggedAlloc {
        self.options = self.options.min_block(bytes);
        self
    }

    /// How many tags are told apart at most, as [`Config::accounts`]. A tag can stand in eight places of the table. If
    /// all eight are taken, it counts in one row without a tag. So make it twice the number of your tags.
    ///
    /// ```
    /// use storport_pool::{TaggedAlloc, tag};
    /// static GLOBAL: TaggedAlloc = TaggedAlloc::new(tag!("Main"), 1 << 30).accounts(256);
    /// ```
    #[must_use]
    pub const fn accounts(mut self, accounts: u32) -> TaggedAlloc {
        self.options = self.options.accounts(accounts);
        self
    }

    /// How many CPUs have a cache, as [`Config::cpus`]. The default, and 0: all that this machine may ever have online.
    ///
    /// ```
    /// use storport_pool::{TaggedAlloc, tag};
    /// static GLOBAL: TaggedAlloc = TaggedAlloc::new(tag!("Main"), 1 << 30).cpus(8);
    /// ```
    #[must_use]
    pub const fn cpus(mut self, cpus: u32) -> TaggedAlloc {
        self.options = self.options.cpus(cpus);
        self
    }

    /// How calls change a CPU's cache; see [`Commit`].
    ///
    /// ```
    /// use storport_pool::{Commit, TaggedAlloc, tag};
    /// static GLOBAL: TaggedAlloc = TaggedAlloc::new(tag!("Main"), 1 << 30).commit(Commit::Portable);
    /// assert!(!GLOBAL.pool().unwrap().uses_rseq());
    /// ```
    #[must_use]
    pub const fn commit(mut self, commit: Commit) -> TaggedAlloc {
        self.options = self.options.commit(commit);
        self
    }

    /// Makes the pool's memory resident at first use, as [`PoolOptions::resident`] does. The first use takes long, and
    /// no call faults afterwards.
    ///
    /// ```
    /// use storport_pool::{TaggedAlloc, tag};
    /// static GLOBAL: TaggedAlloc = TaggedAlloc::new(tag!("Main"), 8 << 20).min_block(64).resident(true);
    /// ```
    #[must_use]
    pub const fn resident(mut self, resident: bool) -> TaggedAlloc {
        self.options = self.options.resident(resident);
        self
    }

    /// Whether a misuse stops the program, as Windows would stop the machine. A misuse is a free of a bad address, or a
    /// double free. It writes two lines to standard error, by one `write` and without allocating, and aborts. The first
    /// line is the bug check's, the second the pool's.
    ///
    /// ```text
    /// *** STOP: 0x000000C2 (0x0000000000000007, 0x0000000000000000, 0x000000006E69614D, 0x00007F1C60010000)
    /// *** storport-pool: double free at 0x7f1c60010000, tag 'Main', 24 bytes; Windows stops with 0xC2 (0x7, ..)
    /// ```
    ///
    /// Whatever else the violation hook hears of counts, too. One such thing is blocks that an adapter of the program's
    /// own left behind. A program that sets a hook of its own replaces this one.
    ///
    /// ```standalone_crate
    /// use storport_pool::{TaggedAlloc, tag};
    /// #[global_allocator]
    /// static GLOBAL: TaggedAlloc = TaggedAlloc::new(tag!("Main"), 64 << 20).abort_on_misuse(true);
    /// ```
    #[must_use]
    pub const fn abort_on_misuse(mut self, aborts: bool) -> TaggedAlloc {
        self.aborts = aborts;
        self
    }

    /// The pool. If there is none yet, it is made now. It is for snapshots, [`trim`](Pool::trim), the violation hook,
    /// or blocks in the name of adapters of one's own. `None`: it cannot be made.
    ///
    /// IRQL <= DISPATCH; a load, once the pool is made.
    ///
    /// ```standalone_crate
    /// use storport_pool::{TaggedAlloc, tag};
    /// #[global_allocator]
    /// static GLOBAL: TaggedAlloc = TaggedAlloc::new(tag!("Main"), 64 << 20);
    ///
    /// let pool = GLOBAL.pool().unwrap();
    /// pool.on_violation(|violation| eprintln!("{violation}"));
    /// assert!(pool.usage().live > 0);
    /// ```
    pub fn pool(&self) -> Option<&'static Pool<Native>> {
        Some(&self.made()?.pool)
    }

    /// The adapter of all blocks of this allocator. If there is none yet, the pool is made now. `None`: it cannot be
    /// made. IRQL <= DISPATCH; a load, once the pool is made.
    ///
    /// If you remove this adapter, the allocator has no memory any more: it answers null.
    ///
    /// ```
    /// use storport_pool::{TaggedAlloc, tag};
    /// static GLOBAL: TaggedAlloc = TaggedAlloc::new(tag!("Main"), 1 << 20);
    /// assert!(GLOBAL.adapter().is_some());
    /// static TOO_SMALL: TaggedAlloc = TaggedAlloc::new(tag!("Main"), 1000);
    /// assert!(TOO_SMALL.adapter().is_none());
    /// ```
    pub fn adapter(&self) -> Option<AdapterId> {
        Some(self.made()?.adapter)
    }

    #[inline]
    fn made(&self) -> Option<&'static Made> {
        // ORDERING: Acquire - the pool; pairs with the Release in `make_slow`.
        let made = self.made.load(Ordering::Acquire);
        // SAFETY: whatever was published stays for ever, and is only read.
        unsafe { made.as_ref() }.or_else(|| self.make_slow())
    }

    /// Reached at first use, by everyone who comes before the first one is ready.
    #[cold]
    #[inline(never)]
    fn make_slow(&self) -> Option<&'static Made> {
        let candidate = Made::new(self.options, self.aborts)?.as_ptr();
        // ORDERING: Release - the pool; pairs with the Acquire in `made`. Acquire on failure: the other's pool.
        match self.made.compare_exchange(null_mut(), candidate, Ordering::Release, Ordering::Acquire) {
            // SAFETY: published, and so never given back.
            Ok(_) => unsafe { candidate.as_ref() },
            Err(others) => {
                // SAFETY: nobody else has seen our candidate, and we use it no more.
                unsafe { Made::give_back(candidate) };
                // SAFETY: as above.
                unsafe { others.as_ref() }
            }
        }
    }

    #[inline]
    fn owner(&self) -> Option<Owner<'static, Native>> {
        let Made { pool, adapter, .. } = self.made()?;
        Some(Owner { pool, adapter: *adapter })
    }

    #[inline]
    fn tag(&self) -> PoolTag {
        tag::current().unwrap_or(self.tag)
    }
}

/// Says once why the program has no memory; its allocations only answer null.
fn say_why(error: CreateError) {
    static SAID: AtomicU32 = AtomicU32::new(0);
    // ORDERING: Relaxed - it guards nothing but itself.
    if SAID.swap(1, Ordering::Relaxed) == 0 {
        say(format_args!("storport-pool: no pool for the program's memory: {error}\n"));
    }
}

impl Made {
    /// A pool, in memory that it owns; `None` if it cannot be made. Asks no allocator for memory.
    fn new(mut options: PoolOptions, aborts: bool) -> Option<NonNull<Made>> {
        if options.counted_cpus() == ALL_CPUS {
            options = options.cpus(PoolOptions::possible_cpus());
        }
        let pool = options.build().map_err(say_why).ok()?;
        if aborts {
            pool.set_violation_hook(Some(&STOP));
        }
        let adapter = pool.add_adapter(ADAPTER).ok()?;
        let memory = os::Memory::reserve(size_of::<Made>(), false).ok()?;
        let place = memory.start().cast::<Made>();
        // SAFETY: the memory is ours, large enough, and aligned to a span.
        unsafe { place.write(Made { pool, adapter, memory }) };
        Some(place)
    }

    /// # Safety
    /// `made` came from `new`, was not published, and is not used any more.
    unsafe fn give_back(made: *mut Made) {
        // SAFETY: the caller gives it up; read once, so it is dropped once.
        let Made { pool, memory, .. } = unsafe { ptr::read(made) };
        drop(pool);
        drop(memory);
    }
}

// SAFETY: blocks are the pool's: its addresses are memory of this process, nobody else's until they are freed (I1 to
// I3 of docs/CONCURRENCY.md), and of the size and alignment that was asked for. The pool never moves nor ends, nothing
// unwinds, and no call comes back here: the pool asks no allocator for memory.
unsafe impl GlobalAlloc for TaggedAlloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.owner().map_or(null_mut(), |owner| owner.allocate(layout, self.tag()))
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.owner().map_or(null_mut(), |owner| owner.allocate_zeroed(layout, self.tag()))
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        if let Some(owner) = self.owner() {
            // SAFETY: the caller's promise: it gives the block up.
            unsafe { owner.free(block) };
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (Some(owner), Ok(new)) = (self.owner(), Layout::from_size_align(size, layout.align())) else {
            return null_mut();
        };
        // SAFETY: the caller's promise: its block, of this layout; and the new size is not 0.
        unsafe { owner.reallocate(block, layout, new, self.tag()) }
    }
}

impl fmt::Debug for TaggedAlloc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaggedAlloc({} bytes, tag {:?})", self.options.bytes(), self.tag)
    }
}
