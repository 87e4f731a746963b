//! A checksum of words, for what is read back from a file.

/// Tells a torn or changed file from a whole one; no seal against an attacker. Files in which one word differs never have
/// the same sum; others with more differences have it by chance once in 2^64.
#[derive(Clone, Copy)]
pub(crate) struct Checksum {
    pub(crate) bytes: u64,
    pub(crate) sum: u64,
}

impl Checksum {
    pub(crate) const fn new() -> Checksum {
        Checksum { bytes: 0, sum: 0xCBF2_9CE4_8422_2325 }
    }

    pub(crate) const fn add(&mut self, word: u32) {
        self.bytes += 4;
        self.sum = (self.sum ^ word as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }

    /// Adds little-endian words; bytes behind the last whole one are left out.
    #[cfg(all(feature = "std", target_os = "linux"))]
    pub(crate) fn add_bytes(&mut self, bytes: &[u8]) {
        let (words, _) = bytes.as_chunks::<4>();
        words.iter().for_each(|word| self.add(u32::from_le_bytes(*word)));
    }
}
