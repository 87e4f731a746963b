//! What the two routines promise, with no allocator in it: statuses, IRQL, tags, violations.

pub(crate) mod adapter;
pub(crate) mod block;
#[cfg(all(feature = "alloc", not(storport_pool_loom)))]
pub(crate) mod fault;
#[cfg(all(feature = "alloc", not(storport_pool_loom)))]
pub(crate) mod finding;
pub(crate) mod hook;
pub mod irql;
pub(crate) mod pattern;
#[cfg(feature = "serde")]
mod serialized;
pub mod status;
pub mod tag;
pub mod verify;
pub mod violation;
pub(crate) mod words;
