//! The allocators that are compared.

use std::ffi::c_void;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

use storport_pool::{AdapterId, Native, Platform, Pool, PoolTag, Status, tag};

/// An allocator under test. Each call is one real call of the allocator's own function.
pub trait Subject: Sync {
    /// As the tables show it.
    fn name(&self) -> &'static str;

    /// Why this allocator cannot do what a scenario needs; `None`: it can.
    fn cannot(&self, _need: Need) -> Option<&'static str> {
        None
    }

    /// A block of `bytes` bytes, or null.
    ///
    /// # Safety
    /// `bytes` is not 0.
    unsafe fn alloc(&self, bytes: u32) -> *mut u8;

    /// Frees a block. Allocators of this kind find its size themselves; some want to be told.
    ///
    /// # Safety
    /// The block came from `alloc` of this subject, for so many bytes, and is live.
    unsafe fn free(&self, block: *mut u8, bytes: u32);

    /// How many blocks a call of [`alloc_many`](Subject::alloc_many) takes at most; 1: the subject allocates one by one.
    #[inline(always)]
    fn allocs_at_once(&self) -> usize {
        1
    }

    /// How many blocks a call of [`free_many`](Subject::free_many) takes at most; 1: the subject frees one by one.
    #[inline(always)]
    fn frees_at_once(&self) -> usize {
        1
    }

    /// Blocks of `bytes` bytes; some are null when there are too few.
    ///
    /// # Safety
    /// As [`alloc`](Subject::alloc). No more than [`allocs_at_once`](Subject::allocs_at_once).
    #[inline(always)]
    unsafe fn alloc_many(&self, bytes: u32, blocks: &mut [*mut u8]) {
        // SAFETY: the caller's promise.
        blocks.fill_with(|| unsafe { self.alloc(bytes) });
    }

    /// Frees blocks.
    ///
    /// # Safety
    /// As [`free`](Subject::free), for each block and its bytes, as many of the one as of the other. No more than
    /// [`frees_at_once`](Subject::frees_at_once).
    #[inline(always)]
    unsafe fn free_many(&self, blocks: &[*mut u8], bytes: &[u32]) {
        for (&block, &bytes) in blocks.iter().zip(bytes) {
            // SAFETY: the caller's promise.
            unsafe { self.free(block, bytes) };
        }
    }

    /// Each thread calls it before its first call.
    fn enter(&self) {}

    /// Each thread but the process's first one calls it after its last call.
    fn leave(&self) {}

    /// Called by a signal's handler: does what the signal is for, now or as soon as an interrupt would come through.
    fn interrupt(&self, work: fn()) {
        work();
    }

    /// Gives back to the system what it can.
    fn trim(&self) {}

    /// What a monitor would do now and then beside the traffic: trim, and look at the statistics.
    fn upkeep(&self) {
        self.trim();
    }
}

/// What not every allocator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Blocks are freed by another thread than the one that allocated them.
    Threads,
    /// A signal handler frees, also while its thread is inside the allocator.
    Interrupts,
    /// Blocks of up to 64 KiB.
    Large,
    /// Blocks have owners and tags.
    Owners,
}

/// Why the usual allocators do not take part where a signal handler frees.
const NO_SIGNALS: &str =
    "may not be called in a signal handler: it could wait for the code below, or break it";

/// Why the usual allocators do not take part where owners are counted.
const NO_OWNERS: &str = "its blocks have no owner";

/// What no allocator but the pool does.
pub fn unowned(need: Need) -> Option<&'static str> {
    match need {
        Need::Interrupts => Some(NO_SIGNALS),
        Need::Owners => Some(NO_OWNERS),
        Need::Threads | Need::Large => None,
    }
}

/// What the lab's pools run on, and what its threads must tell it.
pub trait LabPlatform: Platform {
    /// As [`Subject::enter`].
    fn enter() {}

    /// As [`Subject::leave`].
    fn leave() {}

    /// As [`Subject::interrupt`].
    fn interrupt(work: fn()) {
        work();
    }
}

impl LabPlatform for Native {}

/// The pool, in the name of one adapter and tag.
pub struct PoolSubject<'a, P: LabPlatform = Native> {
    /// The pool.
    pub pool: &'a Pool<P>,
    /// Whose blocks they are.
    pub adapter: AdapterId,
    /// Their tag.
    pub tag: PoolTag,
}

impl<P: LabPlatform> Subject for PoolSubject<'_, P> {
    fn name(&self) -> &'static str {
        "storport-pool"
    }

    #[inline(always)]
    unsafe fn alloc(&self, bytes: u32) -> *mut u8 {
        let mut address = 0;
        // `address` is 0 after a failure.
        let _ = self.pool.allocate(self.adapter, bytes, self.tag, Some(&mut address));
        std::ptr::with_exposed_provenance_mut(address as usize)
    }

    #[inline(always)]
    unsafe fn free(&self, block: *mut u8, _: u32) {
        // SAFETY: the caller's promise.
        let status = unsafe { self.pool.free(self.adapter, block.addr() as u64) };
        if status != Status::SUCCESS {
            refused(status);
        }
    }

    fn enter(&self) {
        P::enter();
    }

    fn leave(&self) {
        P::leave();
    }

    fn interrupt(&self, work: fn()) {
        P::interrupt(work);
    }

    fn trim(&self) {
        // Refused only when another trim is under way.
        let _ = self.pool.trim();
    }

    fn upkeep(&self) {
        self.trim();
        black_box(self.pool.snapshot());
    }
}

/// The pool, in the names of many adapters and tags in turn. A block remembers whose it is.
pub struct ManyOwners<'a, P: LabPlatform = Native> {
    pool: &'a Pool<P>,
    owners: Vec<(AdapterId, PoolTag)>,
    next: AtomicUsize,
}

/// Where in a block its owner's number lies, behind what the scenarios touch; smaller blocks are asked for larger.
const OWNER_AT: usize = 8;
const OWNED_BYTES: u32 = 16;

impl<'a, P: LabPlatform> ManyOwners<'a, P> {
    /// So many adapters, and tags of each.
    ///
    /// # Errors
    /// A sentence, when the pool has no room for them.
    pub fn new(pool: &'a Pool<P>, adapters: u32, tags: u32) -> Result<ManyOwners<'a, P>, String> {
        let mut owners = Vec::new();
        for adapter in 0..adapters {
            let adapter = pool
                .add_adapter(&format!("lab{adapter}"))
                .map_err(|error| format!("the scenario's adapter {adapter}: {error}"))?;
            for tag in 0..tags {
                let tag = PoolTag::new(&format!("L{tag:03}")).map_err(|error| format!("a tag: {error}"))?;
                owners.push((adapter, tag));
            }
        }
        Ok(ManyOwners { pool, owners, next: AtomicUsize::new(0) })
    }

    fn subject(&self, owner: usize) -> PoolSubject<'a, P> {
        let (adapter, tag) = self.owners[owner];
        PoolSubject { pool: self.pool, adapter, tag }
    }
}

impl<P: LabPlatform> Subject for ManyOwners<'_, P> {
    fn name(&self) -> &'static str {
        "storport-pool"
    }

    #[inline(always)]
    unsafe fn alloc(&self, bytes: u32) -> *mut u8 {
        // ORDERING: Relaxed, twice - one thread.
        let owner = self.next.load(Ordering::Relaxed);
        self.next.store(if owner + 1 == self.owners.len() { 0 } else { owner + 1 }, Ordering::Relaxed);
        // SAFETY: `bytes` is not 0.
        let block = unsafe { self.subject(owner).alloc(bytes.max(OWNED_BYTES)) };
        if !block.is_null() {
            // SAFETY: just allocated, and as large.
            unsafe { block.add(OWNER_AT).cast::<usize>().write(owner) };
        }
        block
    }

    #[inline(always)]
    unsafe fn free(&self, block: *mut u8, bytes: u32) {
        // SAFETY: `alloc` wrote it there, and the scenarios write the first byte only.
        let owner = unsafe { block.add(OWNER_AT).cast::<usize>().read() };
        // SAFETY: the caller's promise.
        unsafe { self.subject(owner).free(block, bytes) };
    }

    fn enter(&self) {
        P::enter();
    }

    fn leave(&self) {
        P::leave();
    }
}

#[cold]
#[inline(never)]
pub(crate) fn refused(status: Status) -> ! {
    panic!("the pool refused to free a live block: {status:?}")
}

/// The C library's.
pub struct System;

impl Subject for System {
    fn name(&self) -> &'static str {
        "system"
    }

    fn cannot(&self, need: Need) -> Option<&'static str> {
        unowned(need)
    }

    #[inline(always)]
    unsafe fn alloc(&self, bytes: u32) -> *mut u8 {
        // SAFETY: malloc takes any size.
        unsafe { libc::malloc(bytes as usize).cast() }
    }

    #[inline(always)]
    unsafe fn free(&self, block: *mut u8, _: u32) {
        // SAFETY: the caller's promise.
        unsafe { libc::free(block.cast::<c_void>()) }
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn trim(&self) {
        // SAFETY: it may be called at any time.
        unsafe { libc::malloc_trim(0) };
    }
}

/// mimalloc.
pub struct Mimalloc;

impl Subject for Mimalloc {
    fn name(&self) -> &'static str {
        "mimalloc"
    }

    fn cannot(&self, need: Need) -> Option<&'static str> {
        unowned(need)
    }

    #[inline(always)]
    unsafe fn alloc(&self, bytes: u32) -> *mut u8 {
        // SAFETY: mi_malloc takes any size.
        unsafe { libmimalloc_sys::mi_malloc(bytes as usize).cast() }
    }

    #[inline(always)]
    unsafe fn free(&self, block: *mut u8, _: u32) {
        // SAFETY: the caller's promise.
        unsafe { libmimalloc_sys::mi_free(block.cast()) }
    }

    fn trim(&self) {
        // SAFETY: it may be called at any time.
        unsafe { libmimalloc_sys::mi_collect(true) };
    }
}

/// Allocates and writes the block's first byte, as any caller would.
#[inline(always)]
pub(crate) fn alloc_touched<S: Subject>(subject: &S, bytes: u32) -> *mut u8 {
    // SAFETY: no workload has a size of 0.
    let block = black_box(unsafe { subject.alloc(bytes) });
    if block.is_null() {
        exhausted(bytes);
    }
    // SAFETY: just allocated.
    unsafe { touch(block) };
    block
}

/// The same of many blocks of one size, no more than the subject allocates at once.
#[inline(always)]
pub(crate) fn alloc_many_touched<S: Subject>(subject: &S, bytes: u32, blocks: &mut [*mut u8]) {
    // SAFETY: no workload has a size of 0.
    unsafe { subject.alloc_many(bytes, black_box(&mut *blocks)) };
    for &block in black_box(&*blocks) {
        if block.is_null() {
            exhausted(bytes);
        }
        // SAFETY: just allocated.
        unsafe { touch(block) };
    }
}

/// Writes a block's first byte.
///
/// # Safety
/// The block is live and ours.
#[inline(always)]
pub(crate) unsafe fn touch(block: *mut u8) {
    // SAFETY: the caller's promise; no block is empty.
    unsafe { block.write_volatile(1) };
}

#[cold]
#[inline(never)]
fn exhausted(bytes: u32) -> ! {
    panic!("no block of {bytes} bytes: the allocator is too small for this workload")
}

/// Reads what [`alloc_touched`] wrote, as a completion would.
///
/// # Safety
/// The block is live and nobody writes it.
#[inline(always)]
pub(crate) unsafe fn look<T>(block: *mut T) {
    // SAFETY: the caller's promise.
    let _ = unsafe { block.cast::<u8>().read_volatile() };
}

/// The tag of the scenarios' own pool.
pub const LAB: PoolTag = tag!("Lab0");
