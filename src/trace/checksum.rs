//! What tells a torn or changed file from a whole one.

/// A sum over words; no seal against an attacker. No change of a single word keeps it.
#[derive(Clone, Copy, Debug)]
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

    /// Bytes, filled up with zeros to whole words, and how many they are.
    #[cfg(feature = "std")]
    pub(crate) fn of(bytes: &[u8]) -> u64 {
        let mut sum = Checksum::new();
        for part in bytes.chunks(4) {
            let mut word = [0; 4];
            word[..part.len()].copy_from_slice(part);
            sum.add(u32::from_le_bytes(word));
        }
        sum.add(bytes.len() as u32);
        sum.sum
    }
}
