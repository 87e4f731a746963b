//! What all CPUs share: depots, magazines, spans, slabs, large runs; what allocate and free do behind the
//! cursor; and reclaim.
//!
//! Nothing here knows of adapters or statuses.

pub(crate) mod depot;
#[cfg(all(feature = "alloc", not(storport_pool_loom)))]
pub(crate) mod findings;
pub(crate) mod large;
pub(crate) mod loose;
pub(crate) mod magazine;
pub(crate) mod parts;
pub(crate) mod places;
#[cfg(storport_pool_asan)]
pub(crate) mod poison;
pub(crate) mod put;
pub(crate) mod reclaim;
pub(crate) mod refill;
#[cfg(all(feature = "alloc", not(storport_pool_loom)))]
pub(crate) mod saved;
#[cfg(all(feature = "alloc", not(storport_pool_loom)))]
mod saved_caches;
pub(crate) mod slab;
pub(crate) mod span;
pub(crate) mod walk;
