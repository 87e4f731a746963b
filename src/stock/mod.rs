//! What all CPUs share: depots, magazines, spans, slabs, large runs; what allocate and free do behind the
//! cursor; and reclaim.
//!
//! Nothing here knows of adapters or statuses.

pub(crate) mod depot;
pub(crate) mod large;
pub(crate) mod loose;
pub(crate) mod magazine;
pub(crate) mod parts;
#[cfg(storport_pool_asan)]
pub(crate) mod poison;
pub(crate) mod put;
pub(crate) mod reclaim;
pub(crate) mod refill;
#[cfg(all(feature = "alloc", not(storport_pool_loom)))]
pub(crate) mod saved;
pub(crate) mod slab;
pub(crate) mod span;
pub(crate) mod walk;
