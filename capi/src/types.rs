//! What C's functions take, where Rust has no such type.

/// 0: false; anything else: true. Functions return 0 or 1. It has one byte in every language.
pub type sp_bool = u8;
