//! What all CPUs share: queues, magazines, spans, slabs, large runs; what allocate and free do behind the
//! cursor; and reclaim.
//!
//! Nothing here knows of adapters or statuses.

pub(crate) mod depot;
pub(crate) mod large;
pub(crate) mod loose;
pub(crate) mod magazine;
#[cfg(storport_pool_asan)]
pub(crate) mod poison;
pub(crate) mod put;
pub(crate) mod queue;
pub(crate) mod refill;
pub(crate) mod slab;
pub(crate) mod span;
pub(crate) mod sweep;
pub(crate) mod walk;
