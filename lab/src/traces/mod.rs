//! Traces: calls of the built-in replay are recorded, and any host's recorded calls are replayed.

pub(crate) mod plan;
pub(crate) mod record;
