//! Writing a trace.

use alloc::vec::Vec;
use std::io::{self, Write};

use super::header::TraceHeader;
use super::record::{Before, LONGEST};
use super::{CHUNK, CHUNK_HEAD, END, END_BYTES, MOST, TraceCounts};
use crate::trace::checksum::Checksum;
use crate::trace::event::TraceItem;
use crate::trace::ring::TraceDrain;

/// Writes a trace to a file, or wherever bytes go.
///
/// It collects up to 64 KiB, then writes them at once. A file without [`finish`](TraceWriter::finish) is torn: it can be
/// read up to the last 64 KiB that were written. After an error nothing more should be written.
///
/// It allocates and does system calls: never in a signal handler, nor above PASSIVE.
///
/// ```
/// use storport_pool::{TraceEvent, TraceHeader, TraceKind, TraceReader, TraceRing, TraceWriter};
/// let mut memory = vec![0; TraceRing::words(2, 1024)];
/// let (ring, mut drain) = TraceRing::over(&mut memory, 2)?;
/// let mut writer = TraceWriter::new(Vec::new(), &TraceHeader::default())?; // a File, as a rule
///
/// ring.push(&TraceEvent { bytes: 208, address: 0x1000, ..TraceEvent::new(TraceKind::Allocate) });
/// writer.drain(&mut drain)?; // now and then
///
/// writer.drain_all(&mut drain)?; // in the end
/// let (file, counts) = writer.finish()?;
/// assert_eq!((counts.events, counts.dropped), (1, 0));
/// assert_eq!(TraceReader::new(&file[..])?.count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TraceWriter<W: Write> {
    out: W,
    /// The chunk so far: room for its head, then records.
    chunk: Vec<u8>,
    before: Before,
    chunks: u32,
    sums: Checksum,
    counts: TraceCounts,
}

impl<W: Write> TraceWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// What `out` says.
    pub fn new(mut out: W, header: &TraceHeader) -> io::Result<TraceWriter<W>> {
        out.write_all(&header.encode())?;
        let mut chunk = Vec::with_capacity(MOST + CHUNK_HEAD + 8);
        chunk.resize(CHUNK_HEAD, 0);
        let counts = TraceCounts::default();
        Ok(TraceWriter { out, chunk, before: Before::NOTHING, chunks: 0, sums: Checksum::new(), counts })
    }

    /// Adds an event, or dropped ones.
    ///
    /// # Errors
    /// What the output says.
    pub fn push(&mut self, item: &TraceItem) -> io::Result<()> {
        self.before.put(item, &mut self.chunk);
        self.counts.add(item);
        if self.chunk.len() > CHUNK_HEAD + MOST - LONGEST { self.write_chunk() } else { Ok(()) }
    }

    /// Adds what a ring holds; how many events. See [`TraceDrain::drain`].
    ///
    /// # Errors
    /// What the output says; what was drained is lost then.
    pub fn drain(&mut self, drain: &mut TraceDrain<'_>) -> io::Result<usize> {
        let mut wrote = Ok(());
        let events = drain.drain(|item| wrote = core::mem::replace(&mut wrote, Ok(())).and(self.push(&item)));
        wrote.map(|()| events)
    }

    /// Adds all that a ring holds; how many events. See [`TraceDrain::drain_all`].
    ///
    /// # Errors
    /// What the output says; what was drained is lost then.
    pub fn drain_all(&mut self, drain: &mut TraceDrain<'_>) -> io::Result<usize> {
        let mut wrote = Ok(());
        let events =
            drain.drain_all(|item| wrote = core::mem::replace(&mut wrote, Ok(())).and(self.push(&item)));
        wrote.map(|()| events)
    }

    /// Writes what was collected, so that the file can be read up to here.
    ///
    /// # Errors
    /// What the output says.
    pub fn flush(&mut self) -> io::Result<()> {
        self.write_chunk()?;
        self.out.flush()
    }

    /// What the file holds so far, with what is not written yet.
    #[must_use]
    pub const fn counts(&self) -> TraceCounts {
        self.counts
    }

    /// Ends the file: the output, and what the file holds.
    ///
    /// # Errors
    /// What the output says.
    pub fn finish(mut self) -> io::Result<(W, TraceCounts)> {
        self.write_chunk()?;
        let mut end = Vec::with_capacity(END_BYTES + 4);
        end.extend(END);
        for number in [self.counts.events, self.counts.dropped, self.chunks.into(), self.sums.sum] {
            end.extend(number.to_le_bytes());
        }
        end.extend(Checksum::of(&end).to_le_bytes());
        self.out.write_all(&end)?;
        self.out.flush()?;
        Ok((self.out, self.counts))
    }

    fn write_chunk(&mut self) -> io::Result<()> {
        let records = self.chunk.len() - CHUNK_HEAD;
        if records == 0 {
            return Ok(());
        }
        self.chunk[..4].copy_from_slice(&CHUNK);
        self.chunk[4..8].copy_from_slice(&self.chunks.to_le_bytes());
        self.chunk[8..CHUNK_HEAD].copy_from_slice(&(records as u32).to_le_bytes());
        let sum = Checksum::of(&self.chunk);
        self.chunk.extend(sum.to_le_bytes());
        let wrote = self.out.write_all(&self.chunk);
        add_sum(&mut self.sums, sum);
        self.chunks = self.chunks.wrapping_add(1);
        self.chunk.truncate(CHUNK_HEAD);
        self.before = Before::NOTHING;
        wrote
    }
}

/// A chunk's checksum, into that of all.
pub(super) const fn add_sum(sums: &mut Checksum, sum: u64) {
    sums.add(sum as u32);
    sums.add((sum >> 32) as u32);
}
