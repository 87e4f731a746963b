//! Where what stands in the file: the module's comment has the tables.

use crate::trace::checksum::Checksum;

pub(super) const MAGIC: [u8; 8] = *b"SP-WATCH";
pub(super) const VERSION: u32 = 1;
/// Bytes of the header that its checksum covers, with it.
pub(super) const HEADER: usize = 128;
/// The header with the word behind it, which changes once.
pub(super) const HEADER_AND_STATE: usize = 136;
pub(super) const IN_USE: [u8; 8] = *b"-IN-USE-";
pub(super) const CLOSED: [u8; 8] = *b"-CLOSED-";
/// Where this version's first slot begins: on a page of its own.
pub(super) const FIRST: u64 = 4096;
pub(super) const LEAST_AREA: u64 = 4 << 10;
pub(super) const MOST_AREA: u64 = 16 << 20;
/// Bytes of a slot's head.
pub(super) const SLOT_HEAD: usize = 64;
pub(super) const SLOT_SUM: usize = 56;
/// Bytes of a section's head.
pub(super) const SECTION_HEAD: usize = 16;

/// A section's kind, and the least bytes of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) number: u32,
    pub(super) row: usize,
}

pub(super) const SUMS: Kind = Kind { number: 1, row: 12 * 8 };
pub(super) const TAGS: Kind = Kind { number: 2, row: 8 + 5 * 8 };
pub(super) const ACCOUNTS: Kind = Kind { number: 3, row: 16 + 5 * 8 + 32 };
pub(super) const CPUS: Kind = Kind { number: 4, row: 24 };
pub(super) const CLASSES: Kind = Kind { number: 5, row: 32 };
pub(super) const BARS: Kind = Kind { number: 6, row: 24 };

/// Of an account's row: it has a tag of its own.
pub(super) const HAS_TAG: u32 = 1;
/// Of an account's row: the adapter has a name.
pub(super) const HAS_NAME: u32 = 2;

/// A slot's checksum: over all of it but the place of the checksum.
pub(super) fn slot_sum(slot: &[u8]) -> u64 {
    let mut sum = Checksum::new();
    sum.add_bytes(slot.get(..SLOT_SUM).unwrap_or_default());
    sum.add_bytes(slot.get(SLOT_SUM + 8..).unwrap_or_default());
    sum.sum
}

/// The checksum of a header's first bytes.
pub(super) fn header_sum(header: &[u8]) -> u64 {
    let mut sum = Checksum::new();
    sum.add_bytes(header.get(..HEADER - 8).unwrap_or_default());
    sum.sum
}

/// A number in a file's bytes; `None` behind their end.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}

/// The same of eight bytes.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|word| u64::from_le_bytes(*word))
}
