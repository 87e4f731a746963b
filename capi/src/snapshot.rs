//! Snapshots, row by row.

use core::ffi::c_char;

use pool::PoolTag;

use crate::kind::{sp_pool, with_pool};
use crate::types::{PVOID, ULONG};
use crate::{error, registry};

/// A picture of a pool's tags and accounts.
pub struct sp_snapshot {
    tags: std::vec::IntoIter<sp_row>,
    accounts: std::vec::IntoIter<sp_row>,
}

/// The sums of a tag, or of an adapter's tag.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct sp_row {
    /// The tag; of an adapter's row 0 for all tags that found no account of their own.
    pub tag: ULONG,
    /// It as PoolMon shows it, and a 0.
    pub text: [c_char; 5],
    /// The adapter's extension; NULL in rows of tags, and for what no extension owns.
    pub extension: PVOID,
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

fn row(tag: PoolTag, extension: PVOID, totals: &pool::Totals) -> sp_row {
    let mut text = [0; 5];
    for (to, character) in text.iter_mut().zip(tag.to_string().bytes()) {
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

/// Takes a picture: exact when nothing is in flight, safe at any time. NULL where `pool` is NULL. PASSIVE; walks
/// the pool.
///
/// # Safety
/// `pool` is NULL or a pool that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_snapshot_take(pool: *const sp_pool) -> *mut sp_snapshot {
    // SAFETY: the caller's promise.
    let Some(handle) = (unsafe { pool.as_ref() }) else {
        error::set("the pool is NULL");
        return core::ptr::null_mut();
    };
    let taken = with_pool!(handle, pool => pool.snapshot());
    let none = core::ptr::null_mut();
    let tags: Vec<_> = taken.tags.iter().map(|of| row(of.tag, none, &of.totals)).collect();
    let accounts: Vec<_> = taken
        .accounts
        .iter()
        .map(|of| {
            let extension = of.adapter.map_or(none, |adapter| registry::extension_of(pool, adapter));
            row(of.tag.unwrap_or(PoolTag::from_raw(0)), extension, &of.totals)
        })
        .collect();
    Box::into_raw(Box::new(sp_snapshot { tags: tags.into_iter(), accounts: accounts.into_iter() }))
}

/// The next tag's row, in the order of the tags' characters. False: there is none.
///
/// # Safety
/// `snapshot` is NULL or a picture that is not given back; `row` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_snapshot_next_tag(snapshot: *mut sp_snapshot, row: *mut sp_row) -> bool {
    // SAFETY: the caller's promise.
    unsafe { next(snapshot.as_mut().map(|snapshot| &mut snapshot.tags), row) }
}

/// The next row of an adapter and tag. False: there is none.
///
/// # Safety
/// As `sp_snapshot_next_tag`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_snapshot_next_account(snapshot: *mut sp_snapshot, row: *mut sp_row) -> bool {
    // SAFETY: the caller's promise.
    unsafe { next(snapshot.as_mut().map(|snapshot| &mut snapshot.accounts), row) }
}

/// # Safety
/// `to` may be written.
unsafe fn next(rows: Option<&mut std::vec::IntoIter<sp_row>>, to: *mut sp_row) -> bool {
    match rows.and_then(Iterator::next) {
        Some(row) => {
            // SAFETY: the caller's promise.
            unsafe { to.write(row) };
            true
        }
        None => false,
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
