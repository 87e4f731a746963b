//! What the two routines promise, with no allocator in it: statuses, IRQL, tags, violations.

pub mod irql;
pub mod status;
pub mod tag;
pub mod violation;
