//! What a file says before its events.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use std::io;

use super::{MAGIC, SUM, VERSION};
use crate::contract::words::beginning;
use crate::trace::checksum::Checksum;

/// What a file says before its events: the pool, and which of its calls were recorded.
///
/// ```
/// use storport_pool::{Pool, TraceHeader};
/// let pool = Pool::new(1 << 20)?;
/// let (base, bytes) = pool.range();
/// let header = TraceHeader { pool: "1 MiB".into(), base, bytes, ..TraceHeader::default() };
/// assert_eq!(header.what, "");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TraceHeader {
    /// A name of the pool's geometry, for people. A file keeps its first 1000 bytes or so, in whole characters.
    pub pool: String,
    /// What was recorded, for people: "all calls", or "tag NVMe". A file keeps as much of it as of `pool`.
    pub what: String,
    /// The first address of the pool's range. 0: it is not known.
    pub base: u64,
    /// Bytes of the range. 0: they are not known.
    pub bytes: u64,
    /// CPUs that the pool was made for. 0: they are not known.
    pub cpus: u32,
    /// Bytes of its smallest block. 0: they are not known.
    pub min_block: u32,
}

/// Bytes of a text, at most.
const TEXT: usize = 1000;
/// Bytes of the header's numbers.
const NUMBERS: usize = 24;
/// Bytes of the header, at most.
const MOST: usize = NUMBERS + 2 * (2 + TEXT);

/// Why a file cannot be read as a trace.
///
/// ```
/// use storport_pool::{TraceError, TraceReader};
/// assert!(matches!(TraceReader::new(&b"a text, and no trace at all"[..]), Err(TraceError::NoTrace)));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum TraceError {
    /// It could not be read at all.
    Io(io::Error),
    /// It does not begin as a trace does.
    NoTrace,
    /// Its version is this one; a reader knows version 1.
    Version(u32),
    /// It ends, or was changed, before its first event.
    Torn,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TraceError::Io(error) => write!(f, "cannot be read: {error}"),
            TraceError::NoTrace => f.write_str("is no trace"),
            TraceError::Version(version) => {
                write!(f, "is a trace of version {version}; this reads {VERSION}")
            }
            TraceError::Torn => f.write_str("is a trace that is torn before its first event"),
        }
    }
}

impl core::error::Error for TraceError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            TraceError::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// Reads all of it. `false`: it ends before.
pub(super) fn fill(from: &mut impl io::Read, into: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

impl TraceHeader {
    /// The file's beginning.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut numbers = Vec::with_capacity(MOST);
        numbers.extend(self.base.to_le_bytes());
        numbers.extend(self.bytes.to_le_bytes());
        numbers.extend(self.cpus.to_le_bytes());
        numbers.extend(self.min_block.to_le_bytes());
        for text in [beginning(&self.pool, TEXT), beginning(&self.what, TEXT)] {
            numbers.extend((text.len() as u16).to_le_bytes());
            numbers.extend(text.as_bytes());
        }
        let mut out = Vec::from(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend((numbers.len() as u32).to_le_bytes());
        out.extend(numbers);
        out.extend(Checksum::of(&out).to_le_bytes());
        out
    }

    /// Reads the file's beginning.
    pub(super) fn decode(from: &mut impl io::Read) -> Result<TraceHeader, TraceError> {
        let mut fill = |into: &mut [u8], else_| match fill(from, into) {
            Ok(true) => Ok(()),
            Ok(false) => Err(else_),
            Err(error) => Err(TraceError::Io(error)),
        };
        let mut magic = [0; 8];
        fill(&mut magic, TraceError::NoTrace)?;
        if magic != MAGIC {
            return Err(TraceError::NoTrace);
        }
        let (mut version, mut length) = ([0; 4], [0; 4]);
        fill(&mut version, TraceError::Torn)?;
        if u32::from_le_bytes(version) != VERSION {
            return Err(TraceError::Version(u32::from_le_bytes(version)));
        }
        fill(&mut length, TraceError::Torn)?;
        let bytes = u32::from_le_bytes(length) as usize;
        if bytes > MOST {
            return Err(TraceError::Torn);
        }
        let mut all = Vec::from(MAGIC);
        all.extend(version);
        all.extend(length);
        let from = all.len();
        all.resize(from + bytes, 0);
        fill(&mut all[from..], TraceError::Torn)?;
        let mut sum = [0; SUM];
        fill(&mut sum, TraceError::Torn)?;
        if u64::from_le_bytes(sum) != Checksum::of(&all) {
            return Err(TraceError::Torn);
        }
        TraceHeader::parse(&all[from..]).ok_or(TraceError::Torn)
    }

    fn parse(bytes: &[u8]) -> Option<TraceHeader> {
        let (base, bytes) = bytes.split_first_chunk()?;
        let (range, bytes) = bytes.split_first_chunk()?;
        let (cpus, bytes) = bytes.split_first_chunk()?;
        let (min_block, bytes) = bytes.split_first_chunk()?;
        let text = |bytes: &mut &[u8]| {
            let (length, rest) = bytes.split_first_chunk()?;
            let (text, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
            *bytes = rest;
            Some(String::from(core::str::from_utf8(text).ok()?))
        };
        let mut texts = bytes;
        Some(TraceHeader {
            pool: text(&mut texts)?,
            what: text(&mut texts)?,
            base: u64::from_le_bytes(*base),
            bytes: u64::from_le_bytes(*range),
            cpus: u32::from_le_bytes(*cpus),
            min_block: u32::from_le_bytes(*min_block),
        })
    }
}
