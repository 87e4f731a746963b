//! The pool: one range, reserved at first use.
//!
//! Whoever comes first makes it. Who comes meanwhile does not wait: another thread, a handler, or the maker itself, when
//! `dlsym` asks for memory inside. They get mappings of their own, which any later `free` knows. So does everyone when
//! the pool cannot be made, and when a process was forked while another thread made it.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, Ordering};

use pool::{AdapterId, Native, Pool, PoolTag, Status, TaggedAlloc, tag};

use crate::errno;
use crate::misuse;
use crate::options::{self, Options};

/// What every block is tagged with.
const TAG: PoolTag = tag!("Main");
/// The least range: where the system refuses more, the pool is made of half as much, down to this.
const LEAST: u64 = 16 << 20;

/// The pool, and what the calls need of it.
pub(crate) struct Range {
    pub(crate) pool: &'static Pool<Native>,
    adapter: AdapterId,
    base: usize,
    bytes: usize,
    pub(crate) options: Options,
}

/// Nobody has tried to make the pool.
const NONE: u32 = 0;
/// Somebody makes it.
const BEING_MADE: u32 = 1;
/// It is there, for ever.
const READY: u32 = 2;
/// It cannot be made.
const FAILED: u32 = 3;

static STATE: AtomicU32 = AtomicU32::new(NONE);

/// Written by whoever makes the pool.
struct Place<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: written by the one thread that moved the state from NONE, and read by others after READY.
unsafe impl<T> Sync for Place<T> {}

static ALLOC: Place<TaggedAlloc> = Place(UnsafeCell::new(MaybeUninit::uninit()));
static RANGE: Place<Range> = Place(UnsafeCell::new(MaybeUninit::uninit()));

/// The pool, if it is there.
#[inline]
pub(crate) fn get() -> Option<&'static Range> {
    // ORDERING: Acquire - pairs with the Release in `make`: the range.
    let ready = STATE.load(Ordering::Acquire) == READY;
    // SAFETY: it was written before it was ready, and never changes.
    ready.then(|| unsafe { (*RANGE.0.get()).assume_init_ref() })
}

/// The pool, made if nobody has tried.
#[inline]
pub(crate) fn get_or_make() -> Option<&'static Range> {
    get().or_else(make)
}

#[cold]
fn make() -> Option<&'static Range> {
    // Before the C library has begun, there is nothing to read the options from.
    if !options::is_there() {
        return None;
    }
    // ORDERING: Relaxed, both - the winner writes alone; what it writes is published below.
    if STATE.compare_exchange(NONE, BEING_MADE, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return get();
    }
    errno::kept(|| match make_alone() {
        Some(range) => {
            // SAFETY: we moved the state from NONE, so nobody else writes, and nobody reads yet.
            unsafe { (*RANGE.0.get()).write(range) };
            // ORDERING: Release - the range; pairs with the Acquire in `get`.
            STATE.store(READY, Ordering::Release);
        }
        // ORDERING: Relaxed - nothing hangs on it.
        None => STATE.store(FAILED, Ordering::Relaxed),
    });
    get()
}

/// A quarter of the address space that the process may have: with what the pool knows of its range, which takes nearly as
/// much again, that leaves half to the program.
fn share_of_the_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: writes the limit, or nothing.
    unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) };
    if limit.rlim_cur == libc::RLIM_INFINITY { u64::MAX } else { limit.rlim_cur / 4 }
}

fn make_alone() -> Option<Range> {
    let options = Options::read();
    misuse::choose(options.misuse);
    let mut bytes = options.bytes.min(share_of_the_limit().max(LEAST));
    loop {
        // SAFETY: as in `make`. The former try, if there was one, made no pool, and nobody has a reference to it.
        let alloc: &'static TaggedAlloc = unsafe { (*ALLOC.0.get()).write(TaggedAlloc::new(TAG, bytes)) };
        if let (Some(pool), Some(adapter)) = (alloc.pool(), alloc.adapter()) {
            pool.set_violation_hook(Some(&misuse::HOOK));
            verify(pool, options.verify);
            let (base, bytes) = pool.range();
            return Some(Range { pool, adapter, base: base as usize, bytes: bytes as usize, options });
        }
        bytes /= 2;
        if bytes < LEAST {
            return None;
        }
    }
}

/// Has the pool verified as the rules say. It asks for no memory but the system's.
fn verify(pool: &'static Pool<Native>, rules: &[u8]) {
    if rules.is_empty() {
        return;
    }
    let Ok(rules) = core::str::from_utf8(rules) else { return misuse::tell_unverified(None) };
    if let Err(why) = pool.verify(rules).and_then(|_| pool.explain_faults()) {
        misuse::tell_unverified(Some(why));
    }
}

impl Range {
    /// Whether the pool's range has this address.
    #[inline]
    pub(crate) fn contains(&self, address: usize) -> bool {
        address.wrapping_sub(self.base) < self.bytes
    }

    /// A block; 0: there is none.
    #[inline]
    pub(crate) fn allocate(&self, bytes: u32) -> usize {
        let mut address = 0;
        let _ = self.pool.allocate(self.adapter, bytes.max(1), TAG, Some(&mut address));
        address as usize
    }

    /// A block at a multiple of `alignment`; 0: there is none.
    pub(crate) fn allocate_aligned(&self, bytes: u32, alignment: u32) -> usize {
        let mut address = 0;
        let _ = self.pool.allocate_aligned(self.adapter, bytes.max(1), alignment, TAG, Some(&mut address));
        address as usize
    }

    /// Frees a block. The hook hears of any other address.
    ///
    /// # Safety
    /// The block is not used afterwards.
    #[inline]
    pub(crate) unsafe fn free(&self, address: usize) {
        // SAFETY: the caller's promise.
        let _ = unsafe { self.pool.free(self.adapter, address as u64) };
    }

    /// The bytes that were asked for, and those that there are, of the block that begins at `address`.
    pub(crate) fn sizes(&self, address: usize) -> Option<(usize, usize)> {
        let found = self.pool.block_at(address as u64)?;
        let ours = found.live && found.address == address as u64;
        ours.then_some((found.bytes as usize, found.capacity as usize))
    }

    /// Has a block have another size where it is. The hook hears of an address where no block is.
    pub(crate) fn resize(&self, address: usize, bytes: u32) -> bool {
        self.pool.resize(self.adapter, address as u64, bytes.max(1)) == Status::SUCCESS
    }
}
