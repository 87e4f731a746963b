//! A pool's metadata, saved and restored.

use core::convert::Infallible;
use core::ffi::{c_char, c_void};
use core::ptr;
use core::slice::from_raw_parts;

use pool::Image;

use crate::adapter::text;
use crate::error::Why;
use crate::kind::{Kind, sp_pool, with_pool};
use crate::memory::boxed;
use crate::types::sp_bool;
use crate::{error, registry};

/// A pool's metadata, checked, as it was saved.
pub struct sp_image(Image);

/// Does the same with the handle's pool, which the caller has to itself.
macro_rules! with_whole_pool {
    ($handle:expr, $pool:ident => $work:expr) => {
        match &mut $handle.kind {
            Kind::Native($pool) => $work,
            Kind::Portable($pool) => $work,
            Kind::Masked($pool) => $work,
        }
    };
}

/// Writes the pool's metadata into a buffer of so many bytes, if it fits, and returns how many it takes: NULL and 0 just
/// ask. 0: the pool is NULL. What the blocks hold is not in it; who has the range saves that. Asks for no memory. PASSIVE.
///
/// # Safety
/// `pool` is NULL or a pool that lives, and no other call of it is under way. `buffer` may be written, `bytes` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_pool_save(pool: *mut sp_pool, buffer: *mut c_void, bytes: usize) -> usize {
    // SAFETY: the caller's promise.
    let saved = unsafe { pool.as_mut() }.ok_or(Why::NullPool).map(|handle| {
        let mut at = 0;
        let written = with_whole_pool!(handle, pool => pool.save_with(|some| {
            if at + some.len() <= bytes {
                // SAFETY: the caller's promise; it has room, as just checked.
                unsafe { ptr::copy_nonoverlapping(some.as_ptr(), buffer.cast::<u8>().add(at), some.len()) };
            }
            at += some.len();
            Ok::<_, Infallible>(())
        }));
        match written {
            Ok(()) => at,
            Err(never) => match never {},
        }
    });
    error::told(saved, 0)
}

/// Reads what `sp_pool_save` wrote, and checks it: whoever wrote the bytes, an image that was read leads no pool astray.
/// NULL: they are no image, not whole, of another version of the library, or no pool has such metadata; or there is no
/// memory. `sp_last_error` says which. PASSIVE.
///
/// # Safety
/// `bytes` may be read, `length` of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_image_read(bytes: *const c_void, length: usize) -> *mut sp_image {
    // SAFETY: the caller's promise.
    let bytes = if length == 0 { &[] } else { unsafe { from_raw_parts(bytes.cast::<u8>(), length) } };
    let read = Image::read(bytes).map_err(Why::Image);
    let read = read.and_then(|image| boxed(sp_image(image)).ok_or(Why::Memory));
    error::told(read.map(Box::into_raw), ptr::null_mut())
}

/// Frees an image. NULL is allowed.
///
/// # Safety
/// `image` came from `sp_image_read`, and nobody uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_image_free(image: *mut sp_image) {
    if !image.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { Box::from_raw(image) });
    }
}

/// Makes the pool what it was when the image was saved, or what another pool of the same geometry was; as often as one
/// likes. False: NULL, or another geometry; nothing has changed then. PASSIVE.
///
/// Where the range begins elsewhere, addresses move with it. Adapters that were made since are no more, but each has used up
/// a handle of the pool's, and keeps one of the process's 65535 extensions until the pool ends. Those that were
/// removed since live again, but an extension's memory stays gone. `sp_adapter_restored` gives an extension to one that has
/// none. The host restores what the blocks hold. Callbacks and switches stay as they are.
///
/// # Safety
/// `pool` is NULL or a pool that lives, and no other call of it is under way; `image` is NULL or came from `sp_image_read`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_pool_restore(pool: *mut sp_pool, image: *const sp_image) -> sp_bool {
    // SAFETY: the caller's promise.
    let (handle, image) = unsafe { (pool.as_mut(), image.as_ref()) };
    let restored = handle.ok_or(Why::NullPool).and_then(|handle| {
        let image = &image.ok_or(Why::NullImage)?.0;
        with_whole_pool!(handle, pool => pool.restore(image)).map_err(Why::OtherGeometry)
    });
    error::told(restored.map(|()| 1), 0)
}

/// The extension of the live adapter with this name, the first one if several have it: for a pool that was restored from
/// another one's image, whose adapters have none here. One that has none gets it, as by `sp_adapter_create`. NULL: there is
/// no such adapter, or what that function says. PASSIVE; one call at a time.
///
/// # Safety
/// `pool` is NULL or a pool that lives; `name` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_adapter_restored(
    pool: *mut sp_pool,
    name: *const c_char,
    extension_bytes: usize,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    let (handle, name) = unsafe { (pool.as_ref(), text(name)) };
    let found = handle.ok_or(Why::NullPool).and_then(|handle| {
        let found = with_pool!(handle, pool => pool.adapter_named(name.as_str()));
        let adapter = found.filter(|&adapter| adapter != handle.system).ok_or(Why::NoSuchName)?;
        let extension = registry::extension_of(handle, adapter);
        if extension.is_null() {
            registry::enter(handle, extension_bytes, || Ok(adapter))
        } else {
            Ok(extension)
        }
    });
    error::told(found, ptr::null_mut())
}
