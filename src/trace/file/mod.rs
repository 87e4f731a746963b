//! The file that a trace ends up in.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `SP-TRACE` |
//! | 4 | the version, 1 |
//! | 4 | bytes of the next part |
//! | any | the header: base and bytes of the range (8, 8), CPUs, smallest block (4, 4), two texts, each behind its length (2) |
//! | 8 | checksum of all before |
//! | any | chunks |
//! | 4 | `SPtE`: the end |
//! | 8, 8, 8 | how many events, dropped events, chunks |
//! | 8 | checksum of the chunks' checksums |
//! | 8 | checksum of these 36 bytes |
//!
//! A chunk: `SPtC` (4), its number (4), bytes of its records (4), the records, checksum of all of these (8). What a record
//! leaves out is as in the record before, or 0 in the chunk's first one; so each chunk is read by itself. All numbers are
//! little endian; [`record`] says what a record has.

pub(crate) mod header;
pub(crate) mod read;
mod record;
pub(crate) mod thread;
pub(crate) mod write;

const MAGIC: [u8; 8] = *b"SP-TRACE";
const VERSION: u32 = 1;
const CHUNK: [u8; 4] = *b"SPtC";
const END: [u8; 4] = *b"SPtE";
/// Bytes of a chunk before its records.
const CHUNK_HEAD: usize = 12;
/// Bytes of a checksum.
const SUM: usize = 8;
/// Bytes of the end, without what says that it is one.
const END_BYTES: usize = 40;
/// Bytes of a chunk's records, at most.
const MOST: usize = 64 << 10;

/// How much a trace holds. [`TraceWriter::finish`](crate::TraceWriter::finish) and
/// [`TraceReader::counts`](crate::TraceReader::counts) tell it.
///
/// ```
/// assert_eq!(storport_pool::TraceCounts::default().events, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TraceCounts {
    /// Calls.
    pub events: u64,
    /// Calls that were dropped, so that the trace does not have them.
    pub dropped: u64,
}

impl TraceCounts {
    fn add(&mut self, item: &super::event::TraceItem) {
        use super::event::TraceItem;
        match *item {
            TraceItem::Event(_) => self.events += 1,
            TraceItem::Dropped { events, .. } => self.dropped = self.dropped.saturating_add(events),
        }
    }
}
