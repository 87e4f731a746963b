//! The driver kit's types, as this crate's functions take them. The header declares them by hand, with guards.

use core::ffi::c_void;

/// 32 bits everywhere, as in the driver kit.
pub type ULONG = u32;
/// Any address.
pub type PVOID = *mut c_void;
/// An interrupt request level.
pub type KIRQL = u8;
/// Where a level goes.
pub type PKIRQL = *mut KIRQL;
/// A size, as wide as an address.
pub type SIZE_T = usize;
/// What kind of pool memory, and how, for `ExAllocatePool2`.
pub type POOL_FLAGS = u64;
/// What kind of pool memory, and how, for the older routines.
pub type POOL_TYPE = u32;
