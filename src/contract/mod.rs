//! What the two routines promise, with no allocator in it: statuses, IRQL, tags, violations.

pub(crate) mod adapter;
pub(crate) mod block;
#[cfg(feature = "alloc")]
pub(crate) mod fault;
pub(crate) mod hook;
pub mod irql;
pub mod status;
pub mod tag;
pub mod violation;
