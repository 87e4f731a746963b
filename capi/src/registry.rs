//! Extensions: where they lie, and whose they are.
//!
//! All extensions of the process lie in one reserved stretch of address space, in equal places that begin at a
//! multiple of the whole. So an address tells by sixteen of its bits which record it can only be in, and one compare
//! with the address there whether it is: nothing that the caller passed is touched. A place is used again only
//! after its pool has ended.
//!
//! | word | writers | order |
//! |---|---|---|
//! | `BASE` | the first reservation, under the lock; constant afterwards | Release, read Relaxed: an address of an extension came to the caller after it |
//! | a record's `adapter` and `places` | whoever makes the adapter, under the lock, before `pool` | Relaxed, ordered by `pool` and `key` |
//! | a record's `pool` | the same; NULL again when the pool ends | Release / Acquire |
//! | a record's `caller` | the same, with a pool over `Native` | Relaxed, ordered by `key` |
//! | a record's `key` | the same, last; 0 again when the pool ends | Release / Acquire |
//! | `USED` | the same | Release / Acquire |
//!
//! Lookups wait for nobody; the lock is taken at PASSIVE alone.

use core::ops::Range;
use core::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use pool::{AdapterId, Caller};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap_anonymous, mprotect, munmap};

use crate::kind::{Kind, sp_pool};
use crate::types::PVOID;

const PLACE_SHIFT: u32 = 16;
/// Bytes of a place. A larger extension takes several.
const PLACE: usize = 1 << PLACE_SHIFT;
/// Places of a process: 4 GiB of address space.
const PLACES: usize = 1 << 16;

/// Whose place it is: half a cache line, all that a call reads.
#[repr(align(32))]
struct Record {
    /// The extension's address, if its pool is one over `Native`; else 0.
    key: AtomicUsize,
    /// Where there is a key: the pool as [`Caller`] knows it.
    caller: AtomicPtr<u8>,
    /// The adapter's [`word`](AdapterId::word).
    adapter: AtomicU32,
    /// How many places the extension has.
    places: AtomicU32,
    pool: AtomicPtr<sp_pool>,
}

static BASE: AtomicUsize = AtomicUsize::new(0);
static RECORDS: [Record; PLACES] = [const {
    Record {
        key: AtomicUsize::new(0),
        caller: AtomicPtr::new(ptr::null_mut()),
        adapter: AtomicU32::new(0),
        places: AtomicU32::new(0),
        pool: AtomicPtr::new(ptr::null_mut()),
    }
}; PLACES];
/// Records from here on were never written.
static USED: AtomicUsize = AtomicUsize::new(0);
static FREE: Mutex<Places> = Mutex::new(Places { fresh: 1, used: Vec::new() });

/// Places that nobody has.
struct Places {
    /// From here on, never used.
    fresh: usize,
    /// Those of pools that ended.
    used: Vec<Range<usize>>,
}

/// The record of the place that an address lies in, if it lies in one. `None`: that would be the first, which is
/// never used, so that no address equals the key of an empty record.
#[inline(always)]
fn record_of(address: usize) -> Option<&'static Record> {
    const SHIFT: u32 = PLACE_SHIFT - size_of::<Record>().ilog2();
    // The place's number times a record's bytes, as a compiler does not compute it from an index.
    let offset = (address >> SHIFT) & ((PLACES - 1) * size_of::<Record>());
    // SAFETY: the offset is that of one of the records.
    (offset != 0).then(|| unsafe { &*RECORDS.as_ptr().byte_add(offset) })
}

impl Places {
    fn take(&mut self, count: usize) -> Option<Range<usize>> {
        if let Some(fits) = self.used.iter().position(|range| range.len() >= count) {
            let range = &mut self.used[fits];
            let taken = range.start..range.start + count;
            range.start += count;
            if range.start == range.end {
                self.used.swap_remove(fits);
            }
            return Some(taken);
        }
        let taken = self.fresh..self.fresh.checked_add(count)?;
        if taken.end > PLACES {
            return None;
        }
        self.fresh = taken.end;
        Some(taken)
    }

    /// Neighbours become one range, so that larger extensions find room among what small ones left.
    fn give(&mut self, ranges: &mut Vec<Range<usize>>) {
        self.used.append(ranges);
        self.used.sort_unstable_by_key(|range| range.start);
        self.used.dedup_by(|next, range| {
            let neighbours = range.end == next.start;
            if neighbours {
                range.end = next.end;
            }
            neighbours
        });
    }
}

/// The adapter of an extension of a pool over `Native`, ready to call. Any address may be asked for. A few
/// instructions, any IRQL.
#[inline(always)]
pub(crate) fn caller(extension: PVOID) -> Option<Caller> {
    let record = record_of(extension.addr())?;
    // ORDERING: Acquire - the other words, and the pool's making; pairs with the Release in `enter`.
    if record.key.load(Ordering::Acquire) != extension.addr() {
        return None;
    }
    // ORDERING: Relaxed - written before the key.
    let (pool, adapter) = (record.caller.load(Ordering::Relaxed), record.adapter.load(Ordering::Relaxed));
    // SAFETY: under a key, which is not 0 here, there are a caller's words.
    Some(unsafe { Caller::from_raw(NonNull::new_unchecked(pool), adapter) })
}

/// The pool and the adapter of an extension. Any address may be asked for. A few instructions, any IRQL.
#[inline(always)]
pub(crate) fn find(extension: PVOID) -> Option<(NonNull<sp_pool>, AdapterId)> {
    // ORDERING: Relaxed - constant once there is an extension; before, every record is empty.
    let offset = extension.addr().wrapping_sub(BASE.load(Ordering::Relaxed));
    if offset >= PLACES * PLACE || !offset.is_multiple_of(PLACE) {
        return None;
    }
    let record = record_of(extension.addr())?;
    // ORDERING: Acquire - the adapter, and the pool's making; pairs with the Release in `enter`.
    let pool = NonNull::new(record.pool.load(Ordering::Acquire))?;
    // ORDERING: Relaxed - written before the pool.
    Some((pool, AdapterId::from_word(record.adapter.load(Ordering::Relaxed))))
}

/// The extension of an adapter of this pool that lives or lived; NULL if it has none. Walks the places in use.
pub(crate) fn extension_of(pool: *const sp_pool, adapter: AdapterId) -> PVOID {
    // ORDERING: Relaxed - looked up for a report; the adapter is compared.
    let base = BASE.load(Ordering::Relaxed);
    let mine = |record: &Record| {
        // ORDERING: as in `find`.
        ptr::eq(record.pool.load(Ordering::Acquire), pool)
            && record.adapter.load(Ordering::Relaxed) == adapter.word()
    };
    // ORDERING: Acquire - pairs with the Release in `enter`.
    let used = USED.load(Ordering::Acquire).min(PLACES);
    let place = RECORDS[..used].iter().position(mine);
    place.map_or(ptr::null_mut(), |place| ptr::with_exposed_provenance_mut(base + place * PLACE))
}

/// Why an extension finds no place.
const NO_PLACE: &str = "no address space is left for extensions: a process has 65535 places of 64 KiB, and those of \
                        removed adapters come back when their pool ends";

/// Takes places for an extension of so many bytes, and makes them memory, zeroed.
///
/// # Errors
/// A sentence.
pub(crate) fn enter(handle: &sp_pool, adapter: AdapterId, bytes: usize) -> Result<PVOID, String> {
    let mut places = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    let base = reserved()?;
    let range = places.take(bytes.div_ceil(PLACE).max(1)).ok_or(NO_PLACE)?;
    let start: PVOID = ptr::with_exposed_provenance_mut(base + range.start * PLACE);
    // SAFETY: the places are ours, and inside the reservation.
    let made = unsafe { mprotect(start, range.len() * PLACE, MprotectFlags::READ | MprotectFlags::WRITE) };
    if let Err(error) = made {
        places.give(&mut vec![range]);
        return Err(format!("no memory for the extension: {error}"));
    }
    let record = &RECORDS[range.start];
    // ORDERING: Relaxed, both - published by the pool.
    record.adapter.store(adapter.word(), Ordering::Relaxed);
    record.places.store(range.len() as u32, Ordering::Relaxed);
    // ORDERING: Release - the adapter; pairs with the Acquire in `find`.
    record.pool.store(ptr::from_ref(handle).cast_mut(), Ordering::Release);
    if let Kind::Native(pool) = &handle.kind {
        // ORDERING: Relaxed - published by the key.
        record.caller.store(pool.caller(adapter).into_raw().0.as_ptr(), Ordering::Relaxed);
        // ORDERING: Release - the words above; pairs with the Acquire in `caller`.
        record.key.store(start.addr(), Ordering::Release);
    }
    // ORDERING: Release - the record; pairs with the Acquire in `extension_of`.
    USED.store(places.fresh, Ordering::Release);
    handle.places.lock().unwrap_or_else(PoisonError::into_inner).push(range);
    Ok(start)
}

/// Takes the memory of an extension away that `find` knew; its address stays the adapter's, which is gone.
pub(crate) fn close(extension: PVOID) {
    // ORDERING: Relaxed - constant.
    let place = (extension.addr() - BASE.load(Ordering::Relaxed)) / PLACE;
    // ORDERING: Relaxed - the caller has seen the pool.
    let places = RECORDS[place].places.load(Ordering::Relaxed) as usize;
    // If it fails, the memory stays until the pool ends.
    seal(&(place..place + places));
}

/// Gives the places of a pool that has ended to others; nobody looks them up any more.
pub(crate) fn give_back(mut ended: Vec<Range<usize>>) {
    for range in &ended {
        let record = &RECORDS[range.start];
        // ORDERING: Relaxed, both - the caller promises that no call follows.
        record.key.store(0, Ordering::Relaxed);
        record.pool.store(ptr::null_mut(), Ordering::Relaxed);
    }
    // What could not be sealed may not be zeroed: nobody gets it again.
    ended.retain(seal);
    FREE.lock().unwrap_or_else(PoisonError::into_inner).give(&mut ended);
}

/// Makes places inaccessible, and gives their memory to the operating system; false, if that refuses.
fn seal(range: &Range<usize>) -> bool {
    // ORDERING: Relaxed - constant.
    let start: PVOID = ptr::with_exposed_provenance_mut(BASE.load(Ordering::Relaxed) + range.start * PLACE);
    // SAFETY: the places are a pool's that answers for nobody using them.
    unsafe {
        madvise(start, range.len() * PLACE, Advice::LinuxDontNeed)
            .and_then(|()| mprotect(start, range.len() * PLACE, MprotectFlags::empty()))
            .is_ok()
    }
}

/// Where the places begin, reserved by the first who asks. The caller holds the lock.
fn reserved() -> Result<usize, String> {
    // ORDERING: Relaxed - written under the lock.
    let base = BASE.load(Ordering::Relaxed);
    if base != 0 {
        return Ok(base);
    }
    // SAFETY: a new mapping.
    let start = unsafe {
        mmap_anonymous(
            ptr::null_mut(),
            2 * PLACES * PLACE,
            ProtFlags::empty(),
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        )
    };
    let start = start.map_err(|error| format!("no address space for extensions: {error}"))?;
    let start = start.expose_provenance();
    let base = start.next_multiple_of(PLACES * PLACE);
    // SAFETY: what lies around the places is ours and unused; what stays is address space alone.
    unsafe {
        let _ = munmap(ptr::with_exposed_provenance_mut(start), base - start);
        let _ =
            munmap(ptr::with_exposed_provenance_mut(base + PLACES * PLACE), start + PLACES * PLACE - base);
    }
    // ORDERING: Release - not needed by lookups, which get the address from whoever made it.
    BASE.store(base, Ordering::Release);
    Ok(base)
}
