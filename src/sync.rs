//! The one place that names atomics, so that a model checker can take their place.

#[cfg(feature = "std")]
pub(crate) use core::sync::atomic::compiler_fence;
pub(crate) use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
