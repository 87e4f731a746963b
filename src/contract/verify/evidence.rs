//! What the verifier found in memory.

/// Bytes that are kept of what was found.
pub const KEPT: usize = 16;

/// Bytes that should not be what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Evidence {
    /// The address of the first byte that is wrong.
    pub address: u64,
    /// What is there, from that byte on: as many as `len` says.
    pub found: [u8; KEPT],
    /// How many bytes of `found` are told, up to 16.
    pub len: u8,
    /// What each should be.
    pub expected: u8,
}

impl Evidence {
    /// The bytes that are told.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.found[..usize::from(self.len).min(KEPT)]
    }
}
