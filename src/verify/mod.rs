//! The verifier's own memory, beside the metadata: rules, notes of blocks, call stacks, the quarantine.

pub(crate) mod bytes;
pub(crate) mod guard;
pub(crate) mod notes;
pub(crate) mod refusal;
pub(crate) mod ring;
pub(crate) mod rules;
pub(crate) mod stacks;
pub(crate) mod tables;
pub(crate) mod verifier;
