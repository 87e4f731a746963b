//! Reading a trace.

use alloc::vec::Vec;
use core::fmt;
use std::io::{self, Read};

use super::header::{TraceError, TraceHeader, fill};
use super::record::Before;
use super::write::add_sum;
use super::{CHUNK, CHUNK_HEAD, END, END_BYTES, MOST, SUM, TraceCounts};
use crate::trace::checksum::Checksum;
use crate::trace::event::TraceItem;

/// Reads a trace: its header, then what it holds, item by item. It is an iterator.
///
/// It never panics, whatever the bytes are. From a torn file it gives what is whole. [`ending`](TraceReader::ending)
/// says so afterwards. It takes 64 KiB of memory, and reads as much at once. So `from` needs no buffer. It is for
/// PASSIVE.
///
/// ```
/// use storport_pool::{TraceEnding, TraceEvent, TraceHeader, TraceItem, TraceKind, TraceReader, TraceWriter};
/// let mut writer = TraceWriter::new(Vec::new(), &TraceHeader { what: "all calls".into(), ..TraceHeader::default() })?;
/// writer.push(&TraceItem::Event(TraceEvent::new(TraceKind::Allocate)))?;
/// let (file, counts) = writer.finish()?;
///
/// let mut reader = TraceReader::new(&file[..])?;
/// assert_eq!(reader.header().what, "all calls");
/// assert_eq!(reader.by_ref().count(), 1);
/// assert_eq!(reader.counts(), counts);
/// assert!(matches!(reader.ending(), Some(TraceEnding::Whole(found)) if *found == counts));
///
/// let mut torn = TraceReader::new(&file[..file.len() - 1])?;
/// assert_eq!(torn.by_ref().count(), 1);
/// assert!(matches!(torn.ending(), Some(TraceEnding::Torn(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TraceReader<R: Read> {
    from: R,
    header: TraceHeader,
    /// The records of the present chunk, and how many bytes of them were read.
    chunk: Vec<u8>,
    at: usize,
    before: Before,
    chunks: u32,
    sums: Checksum,
    counts: TraceCounts,
    ending: Option<TraceEnding>,
}

/// How a trace ends. [`TraceReader::ending`] tells it, and [`TraceReader`] has an example.
#[derive(Debug)]
#[non_exhaustive]
pub enum TraceEnding {
    /// As its writer ended it. This is what it holds.
    Whole(TraceCounts),
    /// Before its end. What follows is missing, or was changed.
    Torn(TornTrace),
}

/// Why a trace is torn at this place. [`TraceReader`] has an example.
#[derive(Debug)]
#[non_exhaustive]
pub enum TornTrace {
    /// The bytes end there.
    Ends,
    /// The bytes there are not those that were written.
    Changed,
    /// More bytes follow its end.
    GoesOn,
    /// It could not be read on.
    Io(io::Error),
}

impl fmt::Display for TornTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TornTrace::Ends => f.write_str("its end is missing"),
            TornTrace::Changed => f.write_str("its bytes were changed"),
            TornTrace::GoesOn => f.write_str("more bytes follow its end"),
            TornTrace::Io(error) => write!(f, "it cannot be read on: {error}"),
        }
    }
}

impl<R: Read> TraceReader<R> {
    /// Reads a trace's header. It reads some kilobytes at most.
    ///
    /// # Errors
    /// [`TraceError`]: it is no trace, or is torn before its first event.
    pub fn new(mut from: R) -> Result<TraceReader<R>, TraceError> {
        let header = TraceHeader::decode(&mut from)?;
        Ok(TraceReader {
            from,
            header,
            chunk: Vec::new(),
            at: 0,
            before: Before::NOTHING,
            chunks: 0,
            sums: Checksum::new(),
            counts: TraceCounts::default(),
            ending: None,
        })
    }

    /// What was recorded.
    pub const fn header(&self) -> &TraceHeader {
        &self.header
    }

    /// How much was read so far.
    pub const fn counts(&self) -> TraceCounts {
        self.counts
    }

    /// How the trace ends. `None`: not all of it was read yet.
    pub const fn ending(&self) -> Option<&TraceEnding> {
        self.ending.as_ref()
    }

    /// The next record; `None`: the chunk is over, or makes no sense.
    fn record(&mut self) -> Option<TraceItem> {
        let mut rest = self.chunk.get(self.at..)?;
        if rest.is_empty() {
            return None;
        }
        match self.before.get(&mut rest) {
            Some(item) => {
                self.at = self.chunk.len() - rest.len();
                self.counts.add(&item);
                Some(item)
            }
            None => {
                self.ending = Some(TraceEnding::Torn(TornTrace::Changed));
                None
            }
        }
    }

    /// Goes on to the next chunk, or says how the trace ends.
    fn turn(&mut self) -> Result<(), TraceEnding> {
        let mut head = [0; CHUNK_HEAD];
        self.fill(&mut head[..4])?;
        if head[..4] == END {
            return Err(self.end()?);
        }
        self.fill(&mut head[4..])?;
        let [number, bytes] = [4, 8].map(|at| word(&head, at));
        if head[..4] != CHUNK || number != self.chunks || bytes as usize > MOST || bytes == 0 {
            return Err(TraceEnding::Torn(TornTrace::Changed));
        }
        let mut all = core::mem::take(&mut self.chunk);
        all.clear();
        all.extend(head);
        all.resize(CHUNK_HEAD + bytes as usize, 0);
        self.fill(&mut all[CHUNK_HEAD..])?;
        let mut sum = [0; SUM];
        self.fill(&mut sum)?;
        let sum = u64::from_le_bytes(sum);
        if sum != Checksum::of(&all) {
            return Err(TraceEnding::Torn(TornTrace::Changed));
        }
        add_sum(&mut self.sums, sum);
        self.chunks = self.chunks.wrapping_add(1);
        (self.chunk, self.at, self.before) = (all, CHUNK_HEAD, Before::NOTHING);
        Ok(())
    }

    /// Compares what was read with what the end says.
    fn end(&mut self) -> Result<TraceEnding, TraceEnding> {
        let mut end = [0; 4 + END_BYTES];
        end[..4].copy_from_slice(&END);
        self.fill(&mut end[4..])?;
        let number = |at| u64::from(word(&end, at + 4)) << 32 | u64::from(word(&end, at));
        let TraceCounts { events, dropped } = self.counts;
        let read = [events, dropped, self.chunks.into(), self.sums.sum, Checksum::of(&end[..36])];
        if read != [4, 12, 20, 28, 36].map(number) {
            return Err(TraceEnding::Torn(TornTrace::Changed));
        }
        match fill(&mut self.from, &mut [0]) {
            Ok(false) => Ok(TraceEnding::Whole(self.counts)),
            Ok(true) => Err(TraceEnding::Torn(TornTrace::GoesOn)),
            Err(error) => Err(TraceEnding::Torn(TornTrace::Io(error))),
        }
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<(), TraceEnding> {
        match fill(&mut self.from, into) {
            Ok(true) => Ok(()),
            Ok(false) => Err(TraceEnding::Torn(TornTrace::Ends)),
            Err(error) => Err(TraceEnding::Torn(TornTrace::Io(error))),
        }
    }
}

/// The word at this place; the array reaches so far.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].try_into().map_or(0, u32::from_le_bytes)
}

impl<R: Read> Iterator for TraceReader<R> {
    type Item = TraceItem;

    fn next(&mut self) -> Option<TraceItem> {
        while self.ending.is_none() {
            if let Some(item) = self.record() {
                return Some(item);
            }
            if self.ending.is_none()
                && let Err(ending) = self.turn()
            {
                self.ending = Some(ending);
            }
        }
        None
    }
}

impl TraceHeader {
    /// Writes the right checksums into a file's bytes, as far as they make sense: for tests of what is behind them.
    #[doc(hidden)]
    pub fn seal(file: &mut [u8]) {
        let seal = |file: &mut [u8], from: usize, to: usize| {
            let sum = file.get(from..to).map(Checksum::of)?;
            file.get_mut(to..to + SUM)?.copy_from_slice(&sum.to_le_bytes());
            Some((to + SUM, sum))
        };
        let long = |file: &[u8], at: usize| Some(word(file.get(at..at + 4)?, 0) as usize);
        let mut sums = Checksum::new();
        let mut next = long(file, 12).and_then(|bytes| seal(file, 0, 16 + bytes));
        while let Some((at, _)) = next {
            if file.get(at..at + 4) == Some(&END) {
                if let Some(of_all) = file.get_mut(at + 28..at + 36) {
                    of_all.copy_from_slice(&sums.sum.to_le_bytes());
                }
                seal(file, at, at + 36);
                return;
            }
            next = long(file, at + 8).and_then(|bytes| seal(file, at, at + CHUNK_HEAD + bytes));
            if let Some((_, sum)) = next {
                add_sum(&mut sums, sum);
            }
        }
    }
}
