//! What a host asks of the verifier, and what it gets told.

pub mod evidence;
pub mod host;
pub mod options;
pub mod rule;
pub mod stack;
pub mod text;
