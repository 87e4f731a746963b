//! The allocators that are compared.

use std::ffi::c_void;
use std::hint::black_box;

use storport_pool::{AdapterId, Pool, PoolTag, Status, tag};

/// An allocator under test. Each call is one real call of the allocator's own function.
pub(crate) trait Subject: Sync {
    fn name(&self) -> &'static str;

    /// A block of `bytes` bytes, or null.
    ///
    /// # Safety
    /// `bytes` is not 0.
    unsafe fn alloc(&self, bytes: u32) -> *mut u8;

    /// # Safety
    /// The block came from `alloc` of this subject and is live.
    unsafe fn free(&self, block: *mut u8);
}

/// The pool, in the name of one adapter and tag.
pub(crate) struct PoolSubject<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) adapter: AdapterId,
    pub(crate) tag: PoolTag,
}

impl Subject for PoolSubject<'_> {
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
    unsafe fn free(&self, block: *mut u8) {
        // SAFETY: the caller's promise.
        let status = unsafe { self.pool.free(self.adapter, block.addr() as u64) };
        if status != Status::SUCCESS {
            refused(status);
        }
    }
}

#[cold]
#[inline(never)]
fn refused(status: Status) -> ! {
    panic!("the pool refused to free a live block: {status:?}")
}

/// The C library's.
pub(crate) struct System;

impl Subject for System {
    fn name(&self) -> &'static str {
        "system"
    }

    #[inline(always)]
    unsafe fn alloc(&self, bytes: u32) -> *mut u8 {
        // SAFETY: malloc takes any size.
        unsafe { libc::malloc(bytes as usize).cast() }
    }

    #[inline(always)]
    unsafe fn free(&self, block: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { libc::free(block.cast::<c_void>()) }
    }
}

/// mimalloc.
pub(crate) struct Mimalloc;

impl Subject for Mimalloc {
    fn name(&self) -> &'static str {
        "mimalloc"
    }

    #[inline(always)]
    unsafe fn alloc(&self, bytes: u32) -> *mut u8 {
        // SAFETY: mi_malloc takes any size.
        unsafe { libmimalloc_sys::mi_malloc(bytes as usize).cast() }
    }

    #[inline(always)]
    unsafe fn free(&self, block: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { libmimalloc_sys::mi_free(block.cast()) }
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
    // SAFETY: the block is live, ours, and has at least one byte.
    unsafe { block.write_volatile(1) };
    block
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
pub(crate) const LAB: PoolTag = tag!("Lab0");
