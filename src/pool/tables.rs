//! Reports as tables, for a terminal: a line for each row, numbers on the right.

use core::fmt;

use crate::contract::violation::{Outstanding, Removed};
use crate::contract::words::{Count, pad};
use crate::pool::handle::Trimmed;
use crate::pool::usage::{TagUsage, Usage};

/// A table's head, in PoolMon's words.
fn write_head(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "{:<6}{:>12}{:>12}{:>10}{:>14}{:>12}", "Tag", "Allocs", "Frees", "Diff", "Bytes", "Per Alloc")
}

/// A row under [`write_head`].
fn write_row(f: &mut fmt::Formatter<'_>, tag: &dyn fmt::Display, sums: [u64; 4]) -> fmt::Result {
    let [allocs, frees, live, bytes] = sums;
    let each = bytes.checked_div(live).unwrap_or(0);
    write!(f, "{tag:<6}{allocs:>12}{frees:>12}{live:>10}{bytes:>14}{each:>12}")
}

/// A row of PoolMon's table: tag, allocations, frees, their difference, bytes, bytes to each block.
impl fmt::Display for TagUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_row(f, &self.tag, [self.allocs, self.frees, self.live, self.bytes_requested])
    }
}

/// A few lines: the blocks, the range, and what went wrong.
impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_head(f)?;
        write_row(f, &"all", [self.allocs, self.frees, self.live, self.bytes_requested])?;
        write!(f, "\nrange {}, free {}", Count(self.range_bytes, "byte"), Count(self.free_bytes, "byte"))?;
        write!(f, "; blocks occupy {}", Count(self.bytes_occupied, "byte"))?;
        write_wrong(f, self.violations, self.contended, self.changing)
    }
}

fn write_wrong(f: &mut fmt::Formatter<'_>, violations: u64, contended: u64, changing: u64) -> fmt::Result {
    write!(f, "\nviolations {violations}")?;
    if contended > 0 {
        write!(f, ", allocations refused while memory was in another call's hand {contended}")?;
    }
    if changing > 0 {
        write!(f, ", slabs not counted since they changed meanwhile {changing}")?;
    }
    writeln!(f)
}

impl fmt::Display for Trimmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        pad(
            f,
            format_args!("{} returned, {} given back", Count(self.slabs, "slab"), Count(self.bytes, "byte")),
        )
    }
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if self.exact { "removed" } else { "removed; the report is not exact" })
    }
}

/// A row: the tag, the blocks, their bytes.
impl fmt::Display for Outstanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        pad(
            f,
            format_args!(
                "tag {:?}: {}, {}",
                self.tag,
                Count(self.blocks, "block"),
                Count(self.bytes, "byte")
            ),
        )
    }
}

#[cfg(feature = "alloc")]
mod collected {
    use core::fmt;

    use super::{Count, write_head, write_row, write_wrong};
    use crate::contract::tag::PoolTag;
    use crate::owners::accounts::OTHER_TAG;
    use crate::pool::snapshot::{AccountRow, Removal, Snapshot, TagRow, Totals};

    fn sums(totals: &Totals) -> [u64; 4] {
        [totals.allocs, totals.frees, totals.live, totals.bytes_requested]
    }

    /// What an *other* row shows in a tag's place.
    const OTHER: &str = "other";

    fn write_tag_row(f: &mut fmt::Formatter<'_>, tag: Option<PoolTag>, totals: &Totals) -> fmt::Result {
        match tag.filter(|&tag| tag != OTHER_TAG) {
            Some(tag) => write_row(f, &tag, sums(totals)),
            None => write_row(f, &OTHER, sums(totals)),
        }
    }

    /// A row of PoolMon's table.
    impl fmt::Display for TagRow {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_tag_row(f, Some(self.tag), &self.totals)
        }
    }

    /// A row of PoolMon's table, and the adapter behind it.
    impl fmt::Display for AccountRow {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_tag_row(f, self.tag, &self.totals)?;
            match (self.name, self.adapter) {
                (Some(name), _) if !name.as_str().is_empty() => write!(f, "  {name:?}"),
                (_, Some(adapter)) => write!(f, "  {adapter}"),
                (_, None) => f.write_str("  removed adapters"),
            }
        }
    }

    /// PoolMon's table, a row for each tag; then the pool's range, and what went wrong.
    impl fmt::Display for Snapshot {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_head(f)?;
            for row in &self.tags {
                writeln!(f, "{row}")?;
            }
            let cached: u64 = self.cpus.iter().map(|row| row.bytes).sum();
            write!(f, "range {}, free {}", Count(self.range_bytes, "byte"), Count(self.free_bytes, "byte"))?;
            write!(f, "; CPUs cache {}", Count(cached, "byte"))?;
            write_wrong(f, self.violations, self.contended, self.changing)
        }
    }

    /// A line for each tag that was left, or `nothing left`.
    impl fmt::Display for Removal {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            if self.outstanding.is_empty() {
                f.write_str("nothing left")?;
            } else {
                write!(f, "left {}, {}", Count(self.blocks(), "block"), Count(self.bytes(), "byte"))?;
            }
            if !self.exact {
                f.write_str(" (not exact)")?;
            }
            self.outstanding.iter().try_for_each(|row| write!(f, "\n  {row}"))?;
            writeln!(f)
        }
    }
}

#[cfg(all(feature = "alloc", not(storport_pool_loom)))]
mod checked {
    use core::fmt;

    use crate::contract::finding::CheckReport;

    /// A line for each finding; last, how many, or `the metadata is right`.
    impl fmt::Display for CheckReport {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))?;
            match self.faults {
                0 => f.write_str("the metadata is right")?,
                1 => f.write_str("1 fault")?,
                faults => write!(f, "{faults} faults")?,
            }
            if !self.settled {
                f.write_str("; calls were under way, so only part of it was judged")?;
            }
            writeln!(f)
        }
    }
}

#[cfg(not(storport_pool_loom))]
mod verified {
    use core::fmt;

    use crate::contract::words::pad;
    use crate::pool::verifier::{RuleCounts, Swept, VerifierStats};

    impl fmt::Display for VerifierStats {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let VerifierStats { verified, guarded, unguarded, refused, sampled, .. } = self;
            write!(f, "verified {verified}, guarded {guarded}, sampled {sampled}, refused {refused}")?;
            let not = [
                (*unguarded, "not guarded"),
                (self.notes_left_out, "without a note"),
                (self.stacks_left_out, "without a call stack"),
            ];
            not.iter()
                .filter(|(count, _)| *count > 0)
                .try_for_each(|(count, what)| write!(f, ", {what} {count}"))
        }
    }

    impl fmt::Display for RuleCounts {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            pad(f, format_args!("seen {}, refused {}", self.seen, self.refused))
        }
    }

    impl fmt::Display for Swept {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let Swept { overrun, released, written } = self;
            pad(
                f,
                format_args!(
                    "overrun {overrun}, out of quarantine {released}, written to after free {written}"
                ),
            )
        }
    }
}
