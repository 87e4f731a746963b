//! Traces: the calls that a host records, a ring that takes them at any point, and the file that they end up in. Nothing
//! here knows the pool.

#[cfg(all(feature = "alloc", not(storport_pool_loom)))]
pub(crate) mod checksum;
pub(crate) mod emit;
pub(crate) mod event;
#[cfg(all(feature = "std", not(storport_pool_loom)))]
pub(crate) mod file;
pub(crate) mod ring;
