//! Resident memory, noted whenever the pool is empty.

use std::fmt;

/// What the program itself may come to need meanwhile: its heap, its threads' stacks.
const SLACK: u64 = 2 << 20;

/// Round, and bytes resident.
#[derive(Default)]
pub(super) struct Memory(Vec<(u64, u64)>);

impl Memory {
    pub(super) fn note(&mut self, round: u64) {
        let pages = std::fs::read_to_string("/proc/self/statm")
            .ok()
            .and_then(|statm| statm.split_whitespace().nth(1)?.parse::<u64>().ok());
        // The page size of x86-64; elsewhere the file may not exist, and nothing is compared.
        self.0.extend(pages.map(|pages| (round, pages * 4096)));
    }

    /// Whether the last quarter's median is no more than the most of the first half, in which the pool's
    /// metadata and the program's heap find their size. `None`: too few figures to tell.
    pub(super) fn is_flat(&self) -> Option<bool> {
        let bytes: Vec<u64> = self.0.iter().map(|&(_, bytes)| bytes).collect();
        if bytes.len() < 8 {
            return None;
        }
        let mut last = bytes[bytes.len() - bytes.len() / 4..].to_vec();
        last.sort_unstable();
        Some(last[last.len() / 2] <= bytes[..bytes.len() / 2].iter().max()? + SLACK)
    }
}

/// A dozen of the figures, and what they say.
impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "resident when empty, MiB by round:")?;
        let each = self.0.len().div_ceil(12).max(1);
        let last = self.0.len().saturating_sub(1);
        let shown = self.0.iter().enumerate().filter(|&(n, _)| n % each == 0 || n == last);
        for (_, &(round, bytes)) in shown {
            write!(f, " {:.1} ({round})", bytes as f64 / f64::from(1 << 20))?;
        }
        f.write_str(match self.is_flat() {
            Some(true) => ": flat",
            Some(false) => ": not flat",
            None => ": too few to tell whether it is flat",
        })
    }
}
