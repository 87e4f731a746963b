//! Memory that the pool does not serve: each request a mapping of its own, and a table that knows them all.
//!
//! The table is a tree over the page's number, three levels of 4096 words, which the system fills with zeros. A word of
//! the last level has the bytes of the mapping that begins at its page, or 0. Whoever changes such a word from bytes to
//! 0 owns the mapping, so that of two frees only one is good. Nothing is locked, and no node is ever given back: any
//! handler may come in between, and a forked child has a table that is whole.

use core::ptr::{copy_nonoverlapping, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::errno;

pub(crate) const PAGE: usize = 4096;
const PAGE_SHIFT: u32 = 12;
const LEVEL_SHIFT: u32 = 12;
const FAN: usize = 1 << LEVEL_SHIFT;

/// Bytes by page.
type Leaf = [AtomicU64; FAN];
type Middle = [AtomicPtr<Leaf>; FAN];

static ROOT: [AtomicPtr<Middle>; FAN] = [const { AtomicPtr::new(null_mut()) }; FAN];

/// Mappings made and given back, ever, and the bytes of those that are there.
pub(crate) static MADE: AtomicU64 = AtomicU64::new(0);
pub(crate) static GIVEN_BACK: AtomicU64 = AtomicU64::new(0);
pub(crate) static BYTES: AtomicU64 = AtomicU64::new(0);

/// A mapping of at least so many bytes, all zero, at a multiple of `alignment`: a power of two. NULL with ENOMEM:
/// there is none.
pub(crate) fn allocate(bytes: usize, alignment: usize) -> *mut u8 {
    match try_allocate(bytes, alignment) {
        Some(address) => address,
        None => {
            errno::set(libc::ENOMEM);
            null_mut()
        }
    }
}

fn try_allocate(bytes: usize, alignment: usize) -> Option<*mut u8> {
    let bytes = bytes.max(1).checked_next_multiple_of(PAGE)?;
    let spare = alignment.saturating_sub(PAGE);
    let mapping = map(bytes.checked_add(spare)?)?;
    let skip = mapping.align_offset(alignment.max(PAGE));
    // SAFETY: the mapping is `spare` bytes longer than asked for, and begins at a page.
    let start = unsafe { mapping.byte_add(skip) };
    unmap(mapping, skip);
    // SAFETY: as above.
    unmap(unsafe { start.byte_add(bytes) }, spare - skip);
    let Some(word) = grown_word(start.addr()) else {
        unmap(start, bytes);
        return None;
    };
    add(word, bytes);
    Some(start)
}

/// Gives back the mapping that begins at `address`. `false`: there is none.
pub(crate) fn release(address: usize) -> bool {
    let Some((_, bytes)) = take(address) else { return false };
    count_given_back(bytes);
    unmap(core::ptr::with_exposed_provenance_mut(address), bytes);
    true
}

/// Bytes of the mapping that begins at `address`.
pub(crate) fn bytes_at(address: usize) -> Option<usize> {
    // ORDERING: Relaxed - who has the block put it there, or got it from who did.
    let bytes = word(address)?.load(Ordering::Relaxed);
    (bytes != 0).then_some(bytes as usize)
}

/// Has the mapping that begins at `address` have another size, and perhaps another place. NULL: there was no memory, and
/// nothing has changed; or there is no such mapping.
pub(crate) fn resize(address: usize, bytes: usize) -> *mut u8 {
    let Some(wanted) = bytes.max(1).checked_next_multiple_of(PAGE) else { return null_mut() };
    let Some((word, old)) = take(address) else { return null_mut() };
    let start = core::ptr::with_exposed_provenance_mut(address);
    if resized(start, old, wanted) {
        put(word, old, wanted);
        return start.cast();
    }
    // Elsewhere, by a copy: the kernel moves no mapping of which the program has changed a part (madvise, mlock, mprotect).
    let Some(new) = try_allocate(wanted, PAGE) else {
        put(word, old, old);
        return null_mut();
    };
    // SAFETY: both mappings are ours, with so many bytes: the old one since it was taken from the table.
    unsafe { copy_nonoverlapping(start, new, old.min(wanted)) };
    count_given_back(old);
    unmap(start, old);
    new
}

/// Whether it could be resized where it is.
fn resized(start: *mut u8, old: usize, wanted: usize) -> bool {
    // SAFETY: the mapping is ours since it was taken from the table.
    errno::kept(|| unsafe { libc::mremap(start.cast(), old, wanted, 0) }) != libc::MAP_FAILED
}

/// Puts a mapping back into its word, with its bytes by now.
fn put(word: &AtomicU64, old: usize, bytes: usize) {
    // ORDERING: Relaxed, both - a statistic, which wraps around on the way down; and as in `add`.
    BYTES.fetch_add((bytes as u64).wrapping_sub(old as u64), Ordering::Relaxed);
    word.store(bytes as u64, Ordering::Relaxed);
}

fn count_given_back(bytes: usize) {
    // ORDERING: Relaxed, both - statistics.
    GIVEN_BACK.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_sub(bytes as u64, Ordering::Relaxed);
}

fn add(word: &AtomicU64, bytes: usize) {
    // ORDERING: Relaxed, both - statistics.
    MADE.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
    // ORDERING: Relaxed - the address is handed on by whoever asked for it, and the word with it.
    word.store(bytes as u64, Ordering::Relaxed);
}

/// Takes a mapping out of the table: its word and bytes.
fn take(address: usize) -> Option<(&'static AtomicU64, usize)> {
    let word = word(address)?;
    // ORDERING: Relaxed - the swap itself decides who has it; the mapping's memory is ordered by the program, which
    // hands the address on.
    let bytes = word.swap(0, Ordering::Relaxed);
    (bytes != 0).then_some((word, bytes as usize))
}

/// The places in the three levels; `None` for an address where no mapping of ours begins, whatever the table says.
fn places(address: usize) -> Option<[usize; 3]> {
    let page = address >> PAGE_SHIFT;
    let fits = address.is_multiple_of(PAGE) && page >> (3 * LEVEL_SHIFT) == 0;
    let at = |level: u32| page >> (level * LEVEL_SHIFT) & (FAN - 1);
    fits.then(|| [at(2), at(1), at(0)])
}

/// The word of a page, if its nodes are there.
fn word(address: usize) -> Option<&'static AtomicU64> {
    let [root, middle, leaf] = places(address)?;
    // ORDERING: Acquire, both - pair with the Release in `node`: the system's zeros. SAFETY: a node is never given back.
    let middles = unsafe { ROOT.get(root)?.load(Ordering::Acquire).as_ref() }?;
    // SAFETY: as above.
    let leaves = unsafe { middles.get(middle)?.load(Ordering::Acquire).as_ref() }?;
    leaves.get(leaf)
}

/// The word of a page; `None`: no memory for its nodes.
fn grown_word(address: usize) -> Option<&'static AtomicU64> {
    let [root, middle, leaf] = places(address)?;
    node(node(ROOT.get(root)?)?.get(middle)?)?.get(leaf)
}

/// The node that a word leads to, made if it is not there. `T` is an array of atomics, for which zeros are good.
fn node<T>(word: &AtomicPtr<T>) -> Option<&'static T> {
    // ORDERING: Acquire - pairs with the Release below.
    let found = word.load(Ordering::Acquire);
    // SAFETY: a node is never given back.
    if let Some(found) = unsafe { found.as_ref() } {
        return Some(found);
    }
    let made = map(size_of::<T>())?;
    // ORDERING: Release - the zeros; Acquire - another's.
    match word.compare_exchange(null_mut(), made.cast(), Ordering::Release, Ordering::Acquire) {
        // SAFETY: zeros of the system, never given back from now on.
        Ok(_) => Some(unsafe { &*made.cast() }),
        Err(found) => {
            unmap(made, size_of::<T>());
            // SAFETY: it was not NULL, and is never given back.
            unsafe { found.as_ref() }
        }
    }
}

fn map(bytes: usize) -> Option<*mut u8> {
    let (rights, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address of the kernel's choice.
    let mapping = errno::kept(|| unsafe { libc::mmap(null_mut(), bytes, rights, flags, -1, 0) });
    mapping.expose_provenance();
    (mapping != libc::MAP_FAILED).then_some(mapping.cast())
}

fn unmap(start: *mut u8, bytes: usize) {
    if bytes > 0 {
        // SAFETY: a part of a mapping that is ours, and that nobody uses. An error leaves it mapped.
        errno::kept(|| unsafe { libc::munmap(start.cast(), bytes) });
    }
}
