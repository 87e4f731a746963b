//! Traces: the calls that a host records, a ring that takes them at any point, and the file that they end up in. Nothing
//! here knows the pool.

pub(crate) mod event;
pub(crate) mod ring;
