//! The two routines, and what they refuse: the contract's order of checks, from top to bottom.

pub(crate) mod aligned;
pub(crate) mod allocate;
pub(crate) mod bulk;
pub(crate) mod free;
pub(crate) mod freed;
pub(crate) mod hand_out;
pub(crate) mod inspect;
pub(crate) mod quarantine;
pub(crate) mod refuse;
pub(crate) mod report;
pub(crate) mod request;
pub(crate) mod resize;
pub(crate) mod verified;
pub(crate) mod ways;
