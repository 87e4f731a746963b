//! Recording: a pool's calls, as a trace that `storport-pool replay` runs.

use core::ffi::{CStr, c_char, c_void};
use core::ptr;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;

use pool::{Platform, Pool, Recording, Rule, TagPattern, TraceCounts};

use crate::error::Why;
use crate::kind::{sp_pool, with_pool};
use crate::memory::boxed;
use crate::types::sp_bool;
use crate::{error, registry};

/// A recording that goes on.
pub struct sp_recording(Box<dyn FnOnce() -> io::Result<TraceCounts> + Send>);

/// What a recording has.
#[repr(C)]
pub struct sp_recorded {
    /// Calls in the file.
    pub events: u64,
    /// Calls that were dropped, since the file's writer could not keep up. The file says where.
    pub dropped: u64,
}

/// # Safety
/// The pool lives until the recording is finished.
unsafe fn record<P: Platform>(pool: &Pool<P>, rule: Rule, path: &CStr) -> Result<sp_recording, Why> {
    let output = |error: io::Error| Why::Output(error.raw_os_error().unwrap_or(0));
    let verifier = pool.attached().ok_or(Why::NoVerifier)?;
    let file = File::create(OsStr::from_bytes(path.to_bytes())).map_err(output)?;
    let recording: Recording<'_, P> = verifier.record(rule, file).map_err(output)?;
    let finish: Box<dyn FnOnce() -> io::Result<TraceCounts> + '_> = Box::new(move || recording.finish());
    // SAFETY: the pool outlives it, by the caller's promise; what it holds may move to another thread, as pools are Sync.
    Ok(sp_recording(unsafe {
        core::mem::transmute::<
            Box<dyn FnOnce() -> io::Result<TraceCounts> + '_>,
            Box<dyn FnOnce() -> io::Result<TraceCounts> + Send>,
        >(finish)
    }))
}

/// Records the pool's calls in a file, until `sp_record_finish`: the allocations of an adapter (NULL: of all) with tags that
/// match (NULL: all; `*` stands for any characters, `?` for one), and the frees of what they gave. `storport-pool replay`
/// runs the file. The pool has a verifier (`sp_verifier_attach`). One recording at a time. Each call that is recorded takes
/// the slow way. A thread writes the file; it asks for memory, and ends the process where there is none. NULL on failure.
/// PASSIVE.
///
/// # Safety
/// `pool` is NULL or a pool that lives until the recording is finished; `extension` is NULL or any pointer; `tags` is NULL or
/// a string; `path` is a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_record_start(
    pool: *const sp_pool,
    extension: *mut c_void,
    tags: *const c_char,
    path: *const c_char,
) -> *mut sp_recording {
    // SAFETY: the caller's promise.
    let (handle, path) = unsafe { (pool.as_ref(), CStr::from_ptr(path)) };
    // SAFETY: the caller's promise.
    let tags = (!tags.is_null()).then(|| unsafe { CStr::from_ptr(tags) });
    let started = handle.ok_or(Why::NullPool).and_then(|handle| {
        let mut rule = Rule::new();
        if !extension.is_null() {
            let (pool, adapter) = registry::find(extension).ok_or(Why::NoExtension)?;
            if !ptr::eq(pool.as_ptr(), handle) {
                return Err(Why::OtherPool);
            }
            rule = rule.adapter(adapter);
        }
        if let Some(tags) = tags {
            let pattern = tags.to_str().ok().and_then(|tags| TagPattern::new(tags).ok());
            rule = rule.tags(pattern.ok_or(Why::Pattern)?);
        }
        // SAFETY: the caller's promise.
        let recording = with_pool!(handle, pool => unsafe { record(pool, rule, path) })?;
        boxed(recording).ok_or(Why::Memory)
    });
    error::told(started.map(Box::into_raw), ptr::null_mut())
}

/// Ends a recording, and says what it has; `recorded` may be NULL. False: the recording is NULL, or the file could not be
/// written; it is a torn one then. Either way the recording is no more. PASSIVE.
///
/// # Safety
/// `recording` is NULL or one that is not finished, whose pool lives; `recorded` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_record_finish(
    recording: *mut sp_recording,
    recorded: *mut sp_recorded,
) -> sp_bool {
    if recording.is_null() {
        return error::told(Err(Why::NullRecording), 0);
    }
    // SAFETY: made by `sp_record_start`, and the caller's promise.
    let recording = unsafe { Box::from_raw(recording) };
    let finished = (recording.0)().map_err(|error| Why::Output(error.raw_os_error().unwrap_or(0)));
    let told = finished.map(|counts| {
        if !recorded.is_null() {
            // SAFETY: the caller's promise.
            unsafe { recorded.write(sp_recorded { events: counts.events, dropped: counts.dropped }) };
        }
        1
    });
    error::told(told, 0)
}
