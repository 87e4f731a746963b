//! Memory of malloc's, which may be none.

use core::alloc::Layout;
use std::alloc::alloc;

/// The value in a box; `None`: there is no memory.
pub(crate) fn boxed<T>(value: T) -> Option<Box<T>> {
    const { assert!(size_of::<T>() > 0) };
    // SAFETY: the layout has a size, as just checked.
    let place = unsafe { alloc(Layout::new::<T>()) }.cast::<T>();
    if place.is_null() {
        return None;
    }
    // SAFETY: new memory with a `T`'s layout, from the allocator that a box gives it back to.
    unsafe {
        place.write(value);
        Some(Box::from_raw(place))
    }
}
