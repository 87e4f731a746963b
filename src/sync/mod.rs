//! The one place that names atomics, so that a model checker, or a test's hook, can take their place.

#[cfg(storport_pool_steps)]
pub mod steps;

#[cfg(not(storport_pool_loom))]
pub(crate) use core::hint::spin_loop;
#[cfg(all(feature = "std", not(storport_pool_loom)))]
pub(crate) use core::sync::atomic::compiler_fence;
#[cfg(not(any(storport_pool_loom, storport_pool_steps)))]
pub(crate) use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(storport_pool_steps)]
pub(crate) use steps::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

/// For what tests must neither count nor interrupt.
#[cfg(all(debug_assertions, not(storport_pool_loom)))]
pub(crate) use core::sync::atomic::AtomicBool;

#[cfg(storport_pool_loom)]
pub(crate) use loom::{
    hint::spin_loop,
    sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence},
};

/// Stores to a word that others change by swap or compare-and-exchange.
///
/// On hardware, and in the language's model, such a store comes after every swap that read what was there
/// before it. Loom lets it come before one too, so there it is a swap.
#[inline(always)]
pub(crate) fn store_swapped(word: &AtomicU32, value: u32, ordering: Ordering) {
    #[cfg(not(storport_pool_loom))]
    word.store(value, ordering);
    #[cfg(storport_pool_loom)]
    word.swap(value, ordering);
}
