//! Adapters, by their extensions.

use core::ffi::{CStr, c_char, c_void};
use core::fmt::Write as _;

use pool::{Outstanding, Status};

use crate::error::Why;
use crate::kind::{sp_pool, with_pool};
use crate::text::Text;
use crate::{error, registry};

/// SP_NO_ADAPTER, in the header by hand.
const NO_ADAPTER: usize = usize::MAX;

/// Hears of the blocks of one tag that an adapter left. It must not unwind.
pub type sp_leak_callback =
    Option<unsafe extern "C" fn(context: *mut c_void, tag: u32, blocks: u64, bytes: u64)>;

/// A C string as text, as far as there is room; what is no UTF-8 is replaced. NULL is empty.
///
/// # Safety
/// NULL, or a string that ends in 0.
pub(crate) unsafe fn text(string: *const c_char) -> Text {
    let mut text = Text::new();
    if string.is_null() {
        return text;
    }
    // SAFETY: the caller's promise.
    for chunk in unsafe { CStr::from_ptr(string) }.to_bytes().utf8_chunks() {
        let replaced = if chunk.invalid().is_empty() { "" } else { "\u{FFFD}" };
        if text.write_str(chunk.valid()).and_then(|()| text.write_str(replaced)).is_err() {
            break;
        }
    }
    text
}

/// Adds an adapter and returns its HwDeviceExtension: zeroed memory of its own, which `StorPortAllocatePool`
/// and `StorPortFreePool` know. No other adapter gets this address while the pool lives. NULL on failure: the
/// pool has as many adapters as it was made for, the pool's handles are used up, or 65535 extensions are in
/// use, those of removed adapters among them until their pool ends; or there is no address space. PASSIVE.
///
/// # Safety
/// `pool` is NULL or a pool that lives; `name` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_adapter_create(
    pool: *mut sp_pool,
    name: *const c_char,
    extension_bytes: usize,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    let (handle, name) = unsafe { (pool.as_ref(), text(name)) };
    let made = handle.ok_or(Why::NullPool).and_then(|handle| {
        with_pool!(handle, pool => {
            registry::enter(handle, extension_bytes, || Ok(pool.add_adapter(name.as_str())?))
        })
    });
    error::told(made, core::ptr::null_mut())
}

/// Removes an adapter: returns how many blocks it had, after `leaks` (which may be NULL) heard of each tag. The
/// blocks stay allocated, but no extension frees them; the extension's memory is gone. From the start of
/// this call on, its calls get STOR_STATUS_INVALID_PARAMETER. SP_NO_ADAPTER: there is no such adapter. The
/// numbers are exact if none of its allocations is under way (one may have blocks that it gives back, since it fails),
/// unless `sp_usage.fence_refused` is set: docs/PROCESSES.md. PASSIVE.
///
/// # Safety
/// `leaks` may be called with `context`; nobody uses the extension's memory any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_adapter_remove(
    extension: *mut c_void,
    leaks: sp_leak_callback,
    context: *mut c_void,
) -> usize {
    // SAFETY: the caller's promise; blocks are kept.
    unsafe { remove(extension, leaks, context, false) }
}

/// As `sp_adapter_remove`, and frees the blocks.
///
/// # Safety
/// As there; and nobody uses the blocks any more, nor is a free of one under way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_adapter_release(
    extension: *mut c_void,
    leaks: sp_leak_callback,
    context: *mut c_void,
) -> usize {
    // SAFETY: the caller's promise.
    unsafe { remove(extension, leaks, context, true) }
}

/// # Safety
/// As the two above.
unsafe fn remove(
    extension: *mut c_void,
    leaks: sp_leak_callback,
    context: *mut c_void,
    release: bool,
) -> usize {
    let Some((handle, adapter)) = registry::find(extension) else {
        error::set(Why::NoExtension);
        return NO_ADAPTER;
    };
    // SAFETY: a pool whose extension is known lives.
    let handle = unsafe { handle.as_ref() };
    let mut blocks = 0;
    let report = |left: Outstanding| {
        blocks += left.blocks as usize;
        if let Some(leaks) = leaks {
            // SAFETY: the caller's promise.
            unsafe { leaks(context, left.tag.raw(), left.blocks, left.bytes) };
        }
    };
    let removed = with_pool!(handle, pool => {
        if release {
            // SAFETY: the caller's promise.
            unsafe { pool.release_adapter_with(adapter, report) }
        } else {
            pool.remove_adapter_with(adapter, report)
        }
    });
    match removed {
        Ok(_) => {
            registry::close(extension);
            error::clear();
            blocks
        }
        Err(status) => {
            error::set(if status == Status::INVALID_IRQL { Why::Irql } else { Why::Removed });
            NO_ADAPTER
        }
    }
}
