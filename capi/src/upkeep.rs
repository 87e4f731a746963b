//! What a host asks of a pool at rest: its sums, its range, its memory back.

use core::ffi::{c_char, c_void};
use core::ptr;
use std::sync::atomic::Ordering;

use pool::{PoolOptions, Trimmed, Usage};

use crate::error::Why;
use crate::kind::{Kind, sp_pool, with_pool};
use crate::types::sp_bool;
use crate::{error, registry};

/// A pool's sums, over all tags.
#[repr(C)]
pub struct sp_usage {
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
    /// Bytes of the spans that nobody uses: of 4 KiB each in pools below 8 MiB, of 64 KiB in larger ones.
    pub free_bytes: u64,
    /// Where the range begins.
    pub range: u64,
    /// Bytes of the range.
    pub range_bytes: u64,
    /// Slabs that changed their use while they were looked at, twice; their blocks are not counted.
    pub changing: u64,
    /// Allocations that failed because memory was in another call's hand.
    pub contended: u64,
    /// Violations found.
    pub violations: u64,
    /// Whether the pool commits by restartable sequences.
    pub uses_rseq: sp_bool,
    /// Whether the system ever refused the pool a fence: SP_FENCE_REFUSED. What removals reported since then may be
    /// inexact.
    pub fence_refused: sp_bool,
}

/// What `sp_pool_trim` did.
#[repr(C)]
pub struct sp_trimmed {
    /// Empty slabs that returned to the common stock.
    pub slabs: u64,
    /// Bytes given back to the operating system.
    pub bytes: u64,
}

/// Returns empty slabs to the common stock, and the memory of free spans to the operating system; `trimmed` may be
/// NULL. A resident pool, and one over a range of the host's, gives no memory back. False: the pool is NULL, or another
/// trim is under way; nothing was done. PASSIVE.
///
/// # Safety
/// `pool` is NULL or a pool that lives; `trimmed` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_pool_trim(pool: *mut sp_pool, trimmed: *mut sp_trimmed) -> sp_bool {
    // SAFETY: the caller's promise.
    let (handle, to) = unsafe { (pool.as_ref(), trimmed.as_mut()) };
    let done: Result<Trimmed, Why> = handle
        .ok_or(Why::NullPool)
        .and_then(|handle| with_pool!(handle, pool => pool.trim()).map_err(Why::Trim));
    let done = done.map(|done| {
        if let Some(to) = to {
            *to = sp_trimmed { slabs: done.slabs, bytes: done.bytes };
        }
        1
    });
    error::told(done, 0)
}

/// A pool's sums, as a snapshot would give them. Asks for no memory. False: the pool is NULL. Exact when nothing is in
/// flight, safe at any time. PASSIVE; walks the pool.
///
/// # Safety
/// `pool` is NULL or a pool that lives; `usage` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_pool_usage(pool: *const sp_pool, usage: *mut sp_usage) -> sp_bool {
    // SAFETY: the caller's promise.
    let told = unsafe { pool.as_ref() }.ok_or(Why::NullPool).map(|handle| {
        let (sums, range, fence_refused): (Usage, _, bool) =
            with_pool!(handle, pool => (pool.usage(), pool.range(), pool.fence_refused()));
        let uses_rseq = matches!(&handle.kind, Kind::Native(pool) if pool.uses_rseq());
        // ORDERING: Relaxed - a statistic.
        let more = handle.violations.load(Ordering::Relaxed);
        let told = sp_usage {
            allocs: sums.allocs,
            frees: sums.frees,
            live: sums.live,
            bytes: sums.bytes_requested,
            bytes_occupied: sums.bytes_occupied,
            free_bytes: sums.free_bytes,
            range: range.0,
            range_bytes: range.1,
            changing: sums.changing,
            contended: sums.contended,
            violations: sums.violations + more,
            uses_rseq: uses_rseq.into(),
            fence_refused: fence_refused.into(),
        };
        // SAFETY: the caller's promise.
        unsafe { usage.write(told) };
        1
    });
    error::told(told, 0)
}

/// Copies the name of a live adapter, at most 32 bytes and a 0, cut where there is no room. False: there is no such
/// adapter. Lock-free.
///
/// # Safety
/// `name` may be written, `bytes` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_adapter_name(extension: *mut c_void, name: *mut c_char, bytes: usize) -> sp_bool {
    // SAFETY: a pool whose extension is known lives.
    let found = registry::find(extension).and_then(|(handle, adapter)| unsafe {
        with_pool!(handle.as_ref(), pool => pool.adapter_name(adapter))
    });
    let told = found.ok_or(Why::NoExtension).map(|found| {
        let found = found.as_str();
        if let Some(room) = bytes.checked_sub(1) {
            let len = found.len().min(room);
            // SAFETY: the caller's promise; the name is cut to what has room.
            unsafe {
                ptr::copy_nonoverlapping(found.as_ptr().cast(), name, len);
                name.add(len).write(0);
            }
        }
        1
    });
    error::told(told, 0)
}

/// CPUs that this machine may ever have online, at most 512: what `sp_options.cpus` 0 stands for.
#[unsafe(no_mangle)]
pub extern "C" fn sp_possible_cpus() -> u32 {
    PoolOptions::possible_cpus()
}
