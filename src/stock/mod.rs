//! What all CPUs share: queues, magazines, spans, slabs, large runs, and their reclaim.
//!
//! Nothing here knows of adapters, statuses or platforms, but for `sweep`, which empties the
//! caches of all CPUs through the platform.

pub(crate) mod depot;
pub(crate) mod large;
pub(crate) mod magazine;
pub(crate) mod queue;
pub(crate) mod slab;
pub(crate) mod span;
pub(crate) mod sweep;
