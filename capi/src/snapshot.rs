//! Snapshots, row by row.

use core::ffi::{c_char, c_void};
use core::fmt::Write as _;
use core::ptr;

use pool::{PoolTag, Snapshot};

use crate::error::Why;
use crate::kind::{sp_pool, with_pool};
use crate::memory::boxed;
use crate::text::Text;
use crate::types::sp_bool;
use crate::{error, registry};

/// A picture of a pool's tags, accounts, sizes and CPUs.
pub struct sp_snapshot {
    tags: std::vec::IntoIter<sp_row>,
    accounts: std::vec::IntoIter<sp_row>,
    classes: std::vec::IntoIter<sp_class_row>,
    cpus: std::vec::IntoIter<sp_cpu_row>,
}

/// The sums of a tag, or of an adapter's tag.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct sp_row {
    /// The tag; of an adapter's row 0 for all tags that found no account of their own. (Tag 0, which is a tag without
    /// `sp_options.strict_tags`, looks the same.)
    pub tag: u32,
    /// It as PoolMon shows it, and a 0.
    pub text: [c_char; 5],
    /// The adapter's extension; NULL in rows of tags, and for what no extension owns.
    pub extension: *mut c_void,
    /// Blocks that were allocated, ever.
    pub allocs: u64,
    /// Blocks that were freed, ever.
    pub frees: u64,
    /// Blocks that are allocated now.
    pub live: u64,
    /// Bytes that were requested for the live blocks.
    pub bytes: u64,
    /// Bytes of the range that the live blocks take.
    pub bytes_occupied: u64,
}

/// What the pool has of one size of blocks.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct sp_class_row {
    /// Bytes of a block.
    pub block_bytes: u32,
    /// Slabs of this size.
    pub slabs: u32,
    /// Blocks that are allocated now.
    pub live: u64,
    /// Blocks that are free, in slabs and in caches.
    pub free: u64,
    /// Of those, the ones in CPUs' caches.
    pub cached: u64,
}

/// What one CPU's cache holds.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct sp_cpu_row {
    /// The CPU's number.
    pub cpu: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Free blocks.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

fn row(tag: PoolTag, extension: *mut c_void, totals: &pool::Totals) -> sp_row {
    let mut shown = Text::new();
    // Four characters have room.
    let _ = write!(shown, "{tag}");
    let mut text = [0; 5];
    for (to, character) in text.iter_mut().zip(shown.as_str().bytes()) {
        *to = character as c_char;
    }
    sp_row {
        tag: tag.raw(),
        text,
        extension,
        allocs: totals.allocs,
        frees: totals.frees,
        live: totals.live,
        bytes: totals.bytes_requested,
        bytes_occupied: totals.bytes_occupied,
    }
}

/// All rows, made of others; no memory is an error.
fn rows<F, T>(from: &[F], make: impl Fn(&F) -> T) -> Result<std::vec::IntoIter<T>, Why> {
    let mut rows = Vec::new();
    rows.try_reserve_exact(from.len()).map_err(|_| Why::Memory)?;
    rows.extend(from.iter().map(make));
    Ok(rows.into_iter())
}

fn picture(handle: &sp_pool) -> Result<*mut sp_snapshot, Why> {
    let taken: Result<Snapshot, _> = with_pool!(handle, pool => pool.try_snapshot());
    let taken = taken.map_err(|_| Why::Memory)?;
    let extension = |adapter| registry::extension_of(handle, adapter);
    let none = PoolTag::from_raw(0);
    let snapshot = sp_snapshot {
        tags: rows(&taken.tags, |of| row(of.tag, ptr::null_mut(), &of.totals))?,
        accounts: rows(&taken.accounts, |of| {
            row(of.tag.unwrap_or(none), of.adapter.map_or(ptr::null_mut(), extension), &of.totals)
        })?,
        classes: rows(&taken.classes, |of| sp_class_row {
            block_bytes: of.block_bytes,
            slabs: of.slabs,
            live: of.live,
            free: of.free,
            cached: of.cached,
        })?,
        cpus: rows(&taken.cpus, |of| sp_cpu_row {
            cpu: of.cpu,
            reserved: 0,
            blocks: of.blocks,
            bytes: of.bytes,
        })?,
    };
    Ok(Box::into_raw(boxed(snapshot).ok_or(Why::Memory)?))
}

/// Takes a picture: exact when nothing is in flight, safe at any time. NULL where `pool` is NULL, or without
/// memory. PASSIVE; walks the pool. `sp_pool_usage` gives the sums alone, and asks for no memory.
///
/// # Safety
/// `pool` is NULL or a pool that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_snapshot_take(pool: *const sp_pool) -> *mut sp_snapshot {
    // SAFETY: the caller's promise.
    let handle = unsafe { pool.as_ref() };
    error::told(handle.ok_or(Why::NullPool).and_then(picture), ptr::null_mut())
}

/// The next tag's row, in the order of the tags' characters. False: there is none.
///
/// # Safety
/// `snapshot` is NULL or a picture that is not given back; `row` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_snapshot_next_tag(snapshot: *mut sp_snapshot, row: *mut sp_row) -> sp_bool {
    // SAFETY: the caller's promise.
    unsafe { next(snapshot.as_mut().map(|snapshot| &mut snapshot.tags), row) }
}

/// The next row of an adapter and tag. False: there is none.
///
/// # Safety
/// As `sp_snapshot_next_tag`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_snapshot_next_account(snapshot: *mut sp_snapshot, row: *mut sp_row) -> sp_bool {
    // SAFETY: the caller's promise.
    unsafe { next(snapshot.as_mut().map(|snapshot| &mut snapshot.accounts), row) }
}

/// The next size of blocks, from the smallest up; those without slabs are left out. False: there is none.
///
/// # Safety
/// As `sp_snapshot_next_tag`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_snapshot_next_class(
    snapshot: *mut sp_snapshot,
    row: *mut sp_class_row,
) -> sp_bool {
    // SAFETY: the caller's promise.
    unsafe { next(snapshot.as_mut().map(|snapshot| &mut snapshot.classes), row) }
}

/// The next CPU's cache, by its number. False: there is none.
///
/// # Safety
/// As `sp_snapshot_next_tag`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_snapshot_next_cpu(snapshot: *mut sp_snapshot, row: *mut sp_cpu_row) -> sp_bool {
    // SAFETY: the caller's promise.
    unsafe { next(snapshot.as_mut().map(|snapshot| &mut snapshot.cpus), row) }
}

/// # Safety
/// `to` may be written, if there are rows.
unsafe fn next<T>(rows: Option<&mut std::vec::IntoIter<T>>, to: *mut T) -> sp_bool {
    match rows.and_then(Iterator::next) {
        Some(row) => {
            // SAFETY: the caller's promise.
            unsafe { to.write(row) };
            1
        }
        None => 0,
    }
}

/// Gives a picture back. NULL does nothing.
///
/// # Safety
/// `snapshot` is NULL or a picture that is not given back yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_snapshot_free(snapshot: *mut sp_snapshot) {
    if !snapshot.is_null() {
        // SAFETY: made by `sp_snapshot_take`, and the caller's promise.
        drop(unsafe { Box::from_raw(snapshot) });
    }
}
