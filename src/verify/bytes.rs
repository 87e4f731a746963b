//! Bytes that must not change: behind a block, and of a freed one.

use super::verifier::Verifier;
use crate::contract::verify::evidence::{Evidence, KEPT};

/// What lies behind a verified block.
pub(crate) const BEHIND: u8 = 0xFD;
/// What a freed block in quarantine is filled with.
pub(crate) const FREED: u8 = 0xDD;
/// Bytes behind each block that is checked, at least.
pub(crate) const CANARY: u32 = 16;

impl Verifier {
    /// Whether the host can fill and read memory: tried on these bytes, which nobody uses.
    pub(crate) fn fill(&self, address: u64, bytes: u64, value: u8) -> bool {
        bytes == 0 || self.host().fill(address, bytes, value)
    }

    /// The first of these bytes that is not `expected`, and what follows it. `None`: all are, or cannot be read.
    pub(crate) fn changed(&self, address: u64, bytes: u64, expected: u8) -> Option<Evidence> {
        let mut buffer = [0; 256];
        let mut at = 0;
        while at < bytes {
            let chunk = &mut buffer[..(bytes - at).min(256) as usize];
            if !self.host().read(address + at, chunk) {
                return None;
            }
            if let Some(wrong) = chunk.iter().position(|&byte| byte != expected) {
                let first = at + wrong as u64;
                let mut found = [0; KEPT];
                let len = (bytes - first).min(KEPT as u64) as usize;
                return self.host().read(address + first, &mut found[..len]).then_some(Evidence {
                    address: address + first,
                    found,
                    len: len as u8,
                    expected,
                });
            }
            at += chunk.len() as u64;
        }
        None
    }
}
