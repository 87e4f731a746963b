//! Structures that C fills, of this header's version or an older one's.

use core::mem::MaybeUninit;

use crate::error::Why;

/// A structure that begins with its size and may be all 0.
///
/// # Safety
/// Its first field is a `usize`, its size as the caller's header has it; and zeroes are a value of it.
pub(crate) unsafe trait Versioned: Sized {
    /// The sizes that it has had. The last one is today's.
    const SIZES: &'static [usize];
}

/// It as today's, whatever version wrote it: what an older one had not is 0.
///
/// # Safety
/// NULL, or such a structure.
pub(crate) unsafe fn read<T: Versioned>(from: *const T) -> Result<T, Why> {
    if from.is_null() {
        return Err(Why::NullOptions);
    }
    // SAFETY: every version begins with the size.
    let size = unsafe { from.cast::<usize>().read() };
    if !T::SIZES.contains(&size) {
        return Err(Why::Size(size));
    }
    let mut today = MaybeUninit::<T>::zeroed();
    // SAFETY: both have as many bytes. All fields may be 0.
    unsafe {
        today.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(from.cast(), size);
        Ok(today.assume_init())
    }
}
