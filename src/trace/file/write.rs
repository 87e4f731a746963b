//! Writing a trace.

use alloc::vec::Vec;
use std::io::{self, Write};

use super::header::TraceHeader;
use super::record::{Before, LONGEST};
use super::{CHUNK, CHUNK_HEAD, END, END_BYTES, MOST, TraceCounts};
use crate::trace::checksum::Checksum;
use crate::trace::event::TraceItem;
use crate::trace::ring::TraceDrain;

/// Writes a trace to a file, or to any other output.
///
/// It collects up to 64 KiB, then writes them at once. A file without [`finish`](TraceWriter::finish) is torn: it can
/// be read up to the last 64 KiB that were written. After an error nothing more should be written.
///
/// It allocates and makes system calls. So it is for PASSIVE, and not for signal handlers.
///
/// ```
/// use storport_pool::{TraceEvent, TraceHeader, TraceItem, TraceKind, TraceReader, TraceRing, TraceWriter};
/// let mut memory = vec![0; TraceRing::words(2, 1024)];
/// let (ring, mut drain) = TraceRing::over(&mut memory, 2)?;
/// let mut writer = TraceWriter::new(Vec::new(), &TraceHeader::default())?; // a File, as a rule
///
/// ring.push(&TraceEvent { bytes: 208, address: 0x1000, ..TraceEvent::new(TraceKind::Allocate) });
/// writer.drain(&mut drain)?; // now and then
/// writer.push(&TraceItem::Event(TraceEvent::new(TraceKind::AddAdapter)))?; // without a ring
/// assert_eq!(writer.counts().events, 2);
/// writer.flush()?; // readable up to here, whatever comes
///
/// writer.drain_all(&mut drain)?; // in the end
/// let (file, counts) = writer.finish()?;
/// assert_eq!((counts.events, counts.dropped), (2, 0));
/// assert_eq!(TraceReader::new(&file[..])?.count(), 2);
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
    /// Begins a file: writes its header.
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

    /// Adds an item: an event, or a number of dropped ones.
    ///
    /// # Errors
    /// What the output says.
    pub fn push(&mut self, item: &TraceItem) -> io::Result<()> {
        self.before.put(item, &mut self.chunk);
        self.counts.add(item);
        if self.chunk.len() > CHUNK_HEAD + MOST - LONGEST { self.write_chunk() } else { Ok(()) }
    }

    /// Adds what a ring holds, as [`TraceDrain::drain`] takes it. The answer is how many events that were.
    ///
    /// # Errors
    /// What the output says. What was drained is lost then.
    pub fn drain(&mut self, drain: &mut TraceDrain<'_>) -> io::Result<usize> {
        let mut wrote = Ok(());
        let events = drain.drain(|item| wrote = core::mem::replace(&mut wrote, Ok(())).and(self.push(&item)));
        wrote.map(|()| events)
    }

    /// Adds all that a ring holds, as [`TraceDrain::drain_all`] takes it. The answer is how many events that were.
    ///
    /// # Errors
    /// What the output says. What was drained is lost then.
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

    /// What the file holds so far, together with what is not written yet.
    #[must_use]
    pub const fn counts(&self) -> TraceCounts {
        self.counts
    }

    /// Ends the file. It gives back the output, and says what the file holds.
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
