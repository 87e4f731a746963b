//! Extensions: where they lie, and whose they are.
//!
//! Each extension is a mapping of its own that begins at a multiple of 64 KiB. Sixteen bits of its address are the
//! number of its *record*, and no two extensions have the same. So an address tells which record it can only be in, and
//! one compare with the address there whether it is: nothing that the caller passed is touched. A record is used again
//! only after its pool has ended.
//!
//! | word | writers | order |
//! |---|---|---|
//! | a record's `pool` | whoever makes the adapter, from NULL: that takes the record; NULL again when the pool ends, last | AcqRel, Release |
//! | a record's `adapter`, `bytes`, `caller` and `next` | whoever took the record | Relaxed, ordered by `key` and by the pool's `extensions` |
//! | a pool's `extensions` | whoever took a record, after the words above | Release / Acquire |
//! | a record's `key` | the same, last; 0 again when the pool ends, first | Release / Acquire |
//!
//! Nobody waits for anybody: there is no lock. A thread that is no more (in a forked child, all but one) keeps the
//! record that it had just taken: one of 65535 for each such thread, and nothing else.

use core::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU16, AtomicU32, AtomicUsize, Ordering};

use pool::{AdapterId, Caller};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use crate::error::Why;
use crate::kind::{Kind, sp_pool};
use core::ffi::c_void;

const PLACE_SHIFT: u32 = 16;
/// What extensions' addresses are multiples of, and their sizes too.
const PLACE: usize = 1 << PLACE_SHIFT;
/// Records of a process. The first one is never used.
const RECORDS_LEN: usize = 1 << 16;
/// Bytes of addresses in which each record's comes once.
const WINDOW: usize = RECORDS_LEN * PLACE;
/// Bytes of the largest extension.
const LARGEST: usize = (1 << 32) - PLACE;

/// Whose it is: half a cache line, all that a call reads.
#[repr(align(32))]
struct Record {
    /// The extension's address, if its pool is one over `Native`; else that with each bit turned over, which no address
    /// with this record equals. 0: none.
    key: AtomicUsize,
    /// With a pool over `Native`: the pool as [`Caller`] knows it.
    caller: AtomicPtr<u8>,
    /// The adapter's [`word`](AdapterId::word).
    adapter: AtomicU32,
    /// Bytes of the mapping, in places; the largest has 65535.
    places: AtomicU16,
    /// The pool's next extension, by its record's number; 0: none.
    next: AtomicU16,
    pool: AtomicPtr<sp_pool>,
}

static RECORDS: [Record; RECORDS_LEN] = [const {
    Record {
        key: AtomicUsize::new(0),
        caller: AtomicPtr::new(ptr::null_mut()),
        adapter: AtomicU32::new(0),
        places: AtomicU16::new(0),
        next: AtomicU16::new(0),
        pool: AtomicPtr::new(ptr::null_mut()),
    }
}; RECORDS_LEN];

/// The record of the address. `None`: that would be the first, which is never used, so that no address equals the key
/// of an empty record.
#[inline(always)]
fn record_of(address: usize) -> Option<&'static Record> {
    const SHIFT: u32 = PLACE_SHIFT - size_of::<Record>().ilog2();
    // The record's number times its bytes, as a compiler does not compute it from an index.
    let offset = (address >> SHIFT) & ((RECORDS_LEN - 1) * size_of::<Record>());
    // SAFETY: the offset is that of one of the records.
    (offset != 0).then(|| unsafe { &*RECORDS.as_ptr().byte_add(offset) })
}

const fn number_of(address: usize) -> usize {
    address >> PLACE_SHIFT & (RECORDS_LEN - 1)
}

/// The adapter of an extension of a pool over `Native`, ready to call. Any address may be asked for. A few
/// instructions, any IRQL.
#[inline(always)]
pub(crate) fn caller(extension: *mut c_void) -> Option<Caller> {
    let record = record_of(extension.addr())?;
    // ORDERING: Acquire - the other words, and the pool's making; pairs with the Release in `enter`.
    if record.key.load(Ordering::Acquire) != extension.addr() {
        return None;
    }
    // ORDERING: Relaxed - written before the key.
    let (pool, adapter) = (record.caller.load(Ordering::Relaxed), record.adapter.load(Ordering::Relaxed));
    // SAFETY: under a key that is an address there are a caller's words.
    Some(unsafe { Caller::from_raw(NonNull::new_unchecked(pool), adapter) })
}

/// The pool and the adapter of an extension. Any address may be asked for. A few instructions, any IRQL.
#[inline(always)]
pub(crate) fn find(extension: *mut c_void) -> Option<(NonNull<sp_pool>, AdapterId)> {
    let record = record_of(extension.addr())?;
    // ORDERING: Acquire - as in `caller`.
    let key = record.key.load(Ordering::Acquire);
    if key != extension.addr() && key != !extension.addr() {
        return None;
    }
    // ORDERING: Relaxed, both - written before the key.
    let pool = NonNull::new(record.pool.load(Ordering::Relaxed))?;
    Some((pool, AdapterId::from_word(record.adapter.load(Ordering::Relaxed))))
}

/// The numbers of a pool's records. It walks those of all adapters that the pool ever had.
fn numbers(pool: &sp_pool) -> impl Iterator<Item = u16> {
    // ORDERING: Acquire - the records; pairs with the Release in `enter`.
    let first = pool.extensions.load(Ordering::Acquire);
    let number = |number: u16| (number != 0).then_some(number);
    core::iter::successors(number(first), move |&at| {
        // ORDERING: Relaxed - written before the record was listed, and constant while it is.
        number(RECORDS[usize::from(at)].next.load(Ordering::Relaxed))
    })
}

/// Where a listed record's extension begins.
fn address_of(record: &Record) -> usize {
    // ORDERING: Relaxed - whoever listed the record writes the key once.
    let key = record.key.load(Ordering::Relaxed);
    if key.is_multiple_of(PLACE) { key } else { !key }
}

/// The extension of an adapter of this pool that lives or lived; NULL if it has none.
pub(crate) fn extension_of(pool: &sp_pool, adapter: AdapterId) -> *mut c_void {
    let mut records = numbers(pool).map(|number| &RECORDS[usize::from(number)]);
    // ORDERING: Relaxed - written before the record was listed.
    let found = records.find(|record| record.adapter.load(Ordering::Relaxed) == adapter.word());
    found.map_or(ptr::null_mut(), |record| ptr::with_exposed_provenance_mut(address_of(record)))
}

/// Takes a record, if it is free.
fn take(record: &Record, pool: &sp_pool) -> bool {
    let mine = ptr::from_ref(pool).cast_mut();
    // ORDERING: Relaxed - spares the exchange.
    if !record.pool.load(Ordering::Relaxed).is_null() {
        return false;
    }
    // ORDERING: Acquire - its last pool's end; pairs with the Release in `leave`.
    record.pool.compare_exchange(ptr::null_mut(), mine, Ordering::Acquire, Ordering::Relaxed).is_ok()
}

/// A record is free again.
fn leave(record: &Record) {
    // ORDERING: Release - the key, which is 0 again; pairs with the Acquire in `take`.
    record.pool.store(ptr::null_mut(), Ordering::Release);
}

/// Gives address space back. An error leaves it mapped.
fn unmap(start: usize, bytes: usize) -> bool {
    // SAFETY: a mapping of this module's that nobody uses.
    bytes == 0 || unsafe { munmap(ptr::with_exposed_provenance_mut(start), bytes) }.is_ok()
}

/// Maps an extension of so many bytes, whole places, and takes its record. What is mapped beside it first, so that one
/// of its places has a free record, grows from one place to all records' places.
fn reserve(pool: &sp_pool, bytes: usize) -> Result<usize, Why> {
    let mut beside = PLACE;
    while beside <= WINDOW {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping, which replaces none.
        let made = unsafe { mmap_anonymous(ptr::null_mut(), beside + bytes, ProtFlags::empty(), flags) };
        let mapped = made.map_err(|error| Why::Extension(error.raw_os_error()))?.expose_provenance();
        let end = mapped + beside + bytes;
        // The last one first: so extensions lie next to each other, and are one mapping to the kernel.
        let last = (end - bytes) / PLACE * PLACE;
        let mut starts = (mapped..=last).rev().step_by(PLACE);
        let free = starts.find(|&start| record_of(start).is_some_and(|record| take(record, pool)));
        let Some(start) = free else {
            unmap(mapped, end - mapped);
            beside <<= 4;
            continue;
        };
        unmap(mapped, start - mapped);
        unmap(start + bytes, end - start - bytes);
        let memory = ptr::with_exposed_provenance_mut(start);
        // SAFETY: the mapping is ours.
        if let Err(error) = unsafe { mprotect(memory, bytes, MprotectFlags::READ | MprotectFlags::WRITE) } {
            unmap(start, bytes);
            leave(&RECORDS[number_of(start)]);
            return Err(Why::Extension(error.raw_os_error()));
        }
        return Ok(start);
    }
    Err(Why::Places)
}

/// Maps an extension of so many bytes, zeroed, and makes it the adapter's that `add` adds: only then, since an adapter that
/// was added is one life of the pool's, which only a removal ends.
pub(crate) fn enter(
    handle: &sp_pool,
    bytes: usize,
    add: impl FnOnce() -> Result<AdapterId, Why>,
) -> Result<*mut c_void, Why> {
    if bytes > LARGEST {
        return Err(Why::ExtensionBytes(bytes));
    }
    let places = bytes.div_ceil(PLACE).max(1);
    let start = reserve(handle, places * PLACE)?;
    let number = number_of(start);
    let adapter = add().inspect_err(|_| {
        unmap(start, places * PLACE);
        leave(&RECORDS[number]);
    })?;
    let record = &RECORDS[number];
    // ORDERING: Relaxed, all - published by the list and the key. The record is listed under no key yet.
    record.adapter.store(adapter.word(), Ordering::Relaxed);
    record.places.store(places as u16, Ordering::Relaxed);
    let key = match &handle.kind {
        Kind::Native(pool) => {
            record.caller.store(pool.caller(adapter).into_raw().0.as_ptr(), Ordering::Relaxed);
            start
        }
        _ => !start,
    };
    // ORDERING: Relaxed - the exchange below decides.
    let mut first = handle.extensions.load(Ordering::Relaxed);
    loop {
        record.next.store(first, Ordering::Relaxed);
        // ORDERING: Release - the record; pairs with the Acquire in `numbers`.
        match handle.extensions.compare_exchange_weak(
            first,
            number as u16,
            Ordering::Release,
            Ordering::Relaxed,
        ) {
            Ok(_) => break,
            Err(now) => first = now,
        }
    }
    // ORDERING: Release - the words above; pairs with the Acquire in `caller` and `find`.
    record.key.store(key, Ordering::Release);
    Ok(ptr::with_exposed_provenance_mut(start))
}

/// Takes the memory of an extension away that `find` knew; its address stays the adapter's, which is gone.
pub(crate) fn close(extension: *mut c_void) {
    let Some(record) = record_of(extension.addr()) else { return };
    // ORDERING: Relaxed - the caller has seen the key.
    let bytes = usize::from(record.places.load(Ordering::Relaxed)) * PLACE;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
    // If it fails, the memory stays until the pool ends.
    // SAFETY: replaces the extension's own mapping, which by the caller's promise nobody uses.
    let _ = unsafe { mmap_anonymous(extension, bytes, ProtFlags::empty(), flags) };
}

/// Gives the extensions of a pool that ends to others; nobody looks them up any more.
pub(crate) fn give_back(pool: &sp_pool) {
    // ORDERING: Relaxed, all but the last - the caller promises that no call follows.
    let mut number = pool.extensions.swap(0, Ordering::Relaxed);
    while number != 0 {
        let record = &RECORDS[usize::from(number)];
        let start = address_of(record);
        number = record.next.load(Ordering::Relaxed);
        let bytes = usize::from(record.places.load(Ordering::Relaxed)) * PLACE;
        record.key.store(0, Ordering::Relaxed);
        // What stays mapped keeps its record: nobody gets that again.
        if unmap(start, bytes) {
            leave(record);
        }
    }
}
