//! Watches: pictures of a pool for another process.

use core::ffi::{CStr, c_char};
use core::ptr;

use crate::error;
use crate::error::Why;
use crate::kind::{sp_pool, with_pool};
use crate::memory::boxed;
use crate::types::sp_bool;

#[cfg(target_os = "linux")]
use pool::watch::Watch;
#[cfg(not(target_os = "linux"))]
enum Watch {}

/// A file in which another process, as `storport-pool poolmon`, sees a pool.
pub struct sp_watch(Watch);

#[cfg(target_os = "linux")]
fn made(path: Option<&CStr>) -> Result<Watch, Why> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let made = match path {
        Some(path) => Watch::create(OsStr::from_bytes(path.to_bytes())),
        None => Watch::for_this_process(),
    };
    made.map_err(Why::Watch)
}

#[cfg(not(target_os = "linux"))]
fn made(_: Option<&CStr>) -> Result<Watch, Why> {
    Err(Why::NoWatches)
}

/// Makes a watch: a file of mode 0600, with room for a picture of 256 KiB, twice. What is at the path stays, unless it is
/// the watch of a process that has ended; then this fails. NULL as path: where `storport-pool poolmon --pid` looks for it,
/// $XDG_RUNTIME_DIR/storport-pool/PID.watch, or /tmp/storport-pool-UID/PID.watch; without memory that may end the process,
/// where other paths fail. NULL on failure. Linux only. PASSIVE.
///
/// # Safety
/// `path` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_watch_create(path: *const c_char) -> *mut sp_watch {
    // SAFETY: the caller's promise.
    let path = (!path.is_null()).then(|| unsafe { CStr::from_ptr(path) });
    let watch = made(path).and_then(|watch| boxed(sp_watch(watch)).ok_or(Why::Memory));
    error::told(watch.map(Box::into_raw), ptr::null_mut())
}

/// Writes a picture of the pool into the watch. It waits for no reader. Call it from time to time, from a thread that has
/// it as its task: ten times a second, say. It takes as long as a snapshot and a write to a file. False: `watch` or `pool` is
/// NULL, there is no memory, the file system is full, or this is a forked child of the process that made the watch; then the
/// picture before stays, and the next one counts what was missed. The violations of `ExFreePool` and its kind are not in
/// the picture. PASSIVE; one call for a watch at a time.
///
/// # Safety
/// `watch` is NULL or a watch that is not closed, `pool` is NULL or a pool that lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_watch_publish(watch: *mut sp_watch, pool: *const sp_pool) -> sp_bool {
    // SAFETY: the caller's promise.
    let (watch, handle) = unsafe { (watch.as_mut(), pool.as_ref()) };
    let published = watch.ok_or(Why::NullWatch).and_then(|watch| {
        let handle = handle.ok_or(Why::NullPool)?;
        publish(&mut watch.0, handle)
    });
    error::told(published.map(|()| 1), 0)
}

#[cfg(target_os = "linux")]
fn publish(watch: &mut Watch, handle: &sp_pool) -> Result<(), Why> {
    with_pool!(handle, pool => watch.publish(pool)).map_err(Why::Watch)
}

#[cfg(not(target_os = "linux"))]
fn publish(watch: &mut Watch, _: &sp_pool) -> Result<(), Why> {
    match *watch {}
}

/// Ends a watch: its readers are told, and the file is removed. In a forked child of the process that made it, the file
/// stays as it is. NULL does nothing. The pool may have ended before. PASSIVE.
///
/// # Safety
/// `watch` is NULL or a watch that is not closed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_watch_close(watch: *mut sp_watch) {
    if !watch.is_null() {
        // SAFETY: made by `sp_watch_create`, and the caller's promise.
        drop(unsafe { Box::from_raw(watch) });
    }
}
