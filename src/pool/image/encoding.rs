//! An image's bytes: a header, the words in runs of zeros and others, and at the end their number and a checksum.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `SP-IMAGE` |
//! | 4 | the version, 1 |
//! | 4 | a number for the layout of the metadata, which other builds may have another one of |
//! | 40 | the geometry: base and bytes of the range, CPUs, accounts, adapters, smallest block, magazines, flags |
//! | 8 each | what the control block counts: [`Counters`] |
//! | any | the words, part by part: how many zeros, how many others, and these; `(0, 0)` at the end |
//! | 8, 8 | bytes before this, checksum of them |
//!
//! All numbers are little endian.

use super::error::ImageError;
use crate::layout::classes::{CLASSES, SIZES};
use crate::layout::config::Config;
use crate::layout::geometry::{CELL_ROW, Geometry, PAGE_MAP, RECORDS};
use crate::trace::checksum::Checksum;

const MAGIC: [u8; 8] = *b"SP-IMAGE";
const VERSION: u32 = 1;
const LARGE_SPANS: u32 = 1;
/// Bytes before the counters.
const HEADER: usize = 56;
const TRAILER: usize = 16;
/// Words that are collected before they are written.
const AT_ONCE: usize = 128;

/// What decides where each word lies and what it means, in this build.
const LAYOUT: u32 = {
    let mut sum = Checksum::new();
    sum.add(PAGE_MAP as u32);
    sum.add(RECORDS as u32);
    sum.add(CELL_ROW as u32);
    let mut class = 0;
    while class < SIZES.len() {
        sum.add(SIZES[class]);
        class += 1;
    }
    (sum.sum >> 32) as u32
};

/// The control block's words that are no addresses, and cannot be told from others.
#[derive(Clone, Copy)]
pub(super) struct Counters {
    pub(super) span_hint: u64,
    pub(super) arena_next: u64,
    pub(super) empties: u64,
    pub(super) contended: u64,
    pub(super) violations: u64,
    /// By class.
    pub(super) carve: [u64; CLASSES],
}

impl Counters {
    const NONE: Counters = Counters {
        span_hint: 0,
        arena_next: 0,
        empties: 0,
        contended: 0,
        violations: 0,
        carve: [0; CLASSES],
    };

    fn each<E>(&mut self, mut visit: impl FnMut(&mut u64) -> Result<(), E>) -> Result<(), E> {
        let Counters { span_hint, arena_next, empties, contended, violations, carve } = self;
        let single = [span_hint, arena_next, empties, contended, violations];
        single.into_iter().chain(carve).try_for_each(&mut visit)
    }
}

/// What stands before the words.
#[derive(Clone, Copy)]
pub(super) struct Header {
    /// The pool that it was saved from, with all defaults spelt out.
    pub(super) config: Config,
    pub(super) counters: Counters,
}

/// Writes an image, a few words at a time.
pub(super) struct Encoder<W> {
    write: W,
    sum: Checksum,
    zeros: u32,
    words: [u32; AT_ONCE],
    count: usize,
}

impl<E, W: FnMut(&[u8]) -> Result<(), E>> Encoder<W> {
    pub(super) fn new(write: W, mut header: Header) -> Result<Encoder<W>, E> {
        let mut encoder = Encoder { write, sum: Checksum::new(), zeros: 0, words: [0; AT_ONCE], count: 0 };
        let Config { base, bytes, cpus, accounts, adapters, min_block, magazines, large_spans, .. } =
            header.config;
        for chunk in MAGIC.chunks_exact(4) {
            encoder.word(u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]))?;
        }
        let flags = if large_spans { LARGE_SPANS } else { 0 };
        let geometry = [cpus, accounts, adapters, min_block, magazines, flags];
        for word in [VERSION, LAYOUT].into_iter().chain(halves(base)).chain(halves(bytes)).chain(geometry) {
            encoder.word(word)?;
        }
        header
            .counters
            .each(|counter| halves(*counter).into_iter().try_for_each(|half| encoder.word(half)))?;
        Ok(encoder)
    }

    /// Writes a word as it is.
    fn word(&mut self, word: u32) -> Result<(), E> {
        self.sum.add(word);
        (self.write)(&word.to_le_bytes())
    }

    /// Writes words of the metadata.
    pub(super) fn put(&mut self, words: &[u32]) -> Result<(), E> {
        for &word in words {
            // A zero among others costs less than a new run.
            let zero = word == 0;
            if self.count == AT_ONCE || zero && self.count > 0 && self.words[self.count - 1] == 0 {
                self.flush()?;
            }
            if zero && self.count == 0 {
                self.zeros += 1;
            } else {
                self.words[self.count] = word;
                self.count += 1;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), E> {
        self.word(self.zeros)?;
        self.word(self.count as u32)?;
        for n in 0..self.count {
            self.word(self.words[n])?;
        }
        (self.zeros, self.count) = (0, 0);
        Ok(())
    }

    /// Writes what stands at the end.
    pub(super) fn finish(mut self) -> Result<(), E> {
        if self.zeros > 0 || self.count > 0 {
            self.flush()?;
        }
        self.flush()?;
        let Checksum { bytes, sum } = self.sum;
        (self.write)(&bytes.to_le_bytes())?;
        (self.write)(&sum.to_le_bytes())
    }
}

const fn halves(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

/// Reads an image whose checksum is right.
pub(super) struct Decoder<'a> {
    words: core::slice::ChunksExact<'a, u8>,
    zeros: u32,
    others: u32,
}

/// # Errors
/// These bytes begin no image of this version.
fn versioned(bytes: &[u8]) -> Result<(), ImageError> {
    if !bytes.starts_with(&MAGIC) {
        return Err(ImageError::NoImage);
    }
    let version = bytes.get(8..12).and_then(|version| version.try_into().ok()).map(u32::from_le_bytes);
    if version.is_some_and(|version| version != VERSION) { Err(ImageError::Version) } else { Ok(()) }
}

/// The bytes that an image which begins so can have at most. Each of its words may stand in a run of its own, which takes
/// two more.
///
/// # Errors
/// As [`Decoder::new`], of what stands here; no pool has such a geometry.
pub(super) fn most_bytes(beginning: &[u8]) -> Result<u64, ImageError> {
    versioned(beginning)?;
    let mut decoder = Decoder { words: beginning.chunks_exact(4), zeros: 0, others: 0 };
    let geometry = Geometry::new(&decoder.config()?).map_err(|_| ImageError::Torn)?;
    let counters = 8 * (5 + CLASSES);
    Ok(3 * (geometry.below as u64 + geometry.above as u64) + (HEADER + counters + 8 + TRAILER) as u64)
}

impl<'a> Decoder<'a> {
    /// Reads the header of a whole image.
    pub(super) fn new(bytes: &'a [u8]) -> Result<(Decoder<'a>, Header), ImageError> {
        versioned(bytes)?;
        let (body, trailer) =
            bytes.split_at_checked(bytes.len().saturating_sub(TRAILER)).unwrap_or((bytes, &[]));
        let mut sum = Checksum::new();
        let words = body.chunks_exact(4);
        let whole = words.remainder().is_empty();
        words.clone().for_each(|word| sum.add(word_of(word)));
        if !whole || [sum.bytes.to_le_bytes(), sum.sum.to_le_bytes()].concat() != trailer {
            return Err(ImageError::Torn);
        }
        let mut decoder = Decoder { words, zeros: 0, others: 0 };
        let config = decoder.config()?;
        let mut counters = Counters::NONE;
        counters.each(|counter| {
            *counter = decoder.wide()?;
            Ok::<(), ImageError>(())
        })?;
        Ok((decoder, Header { config, counters }))
    }

    /// What stands before the counters, from the first byte on.
    fn config(&mut self) -> Result<Config, ImageError> {
        let [_, _, _, layout] = [(); 4].map(|()| self.word());
        if layout? != LAYOUT {
            return Err(ImageError::Version);
        }
        let (base, bytes) = (self.wide()?, self.wide()?);
        let mut config = Config::new(base, bytes)
            .cpus(self.word()?)
            .accounts(self.word()?)
            .adapters(self.word()?)
            .min_block(self.word()?)
            .magazines(self.word()?);
        match self.word()? {
            0 => {}
            LARGE_SPANS => config = config.large_spans(),
            _ => return Err(ImageError::Torn),
        }
        Ok(config)
    }

    fn word(&mut self) -> Result<u32, ImageError> {
        self.words.next().map(word_of).ok_or(ImageError::Torn)
    }

    fn wide(&mut self) -> Result<u64, ImageError> {
        Ok(u64::from(self.word()?) | u64::from(self.word()?) << 32)
    }

    /// Reads words of the metadata into what is 0.
    pub(super) fn get(&mut self, into: &mut [u32]) -> Result<(), ImageError> {
        let mut at = 0;
        while at < into.len() {
            if self.zeros == 0 && self.others == 0 {
                (self.zeros, self.others) = (self.word()?, self.word()?);
                if self.zeros == 0 && self.others == 0 {
                    return Err(ImageError::Torn);
                }
            }
            let skipped = (self.zeros as usize).min(into.len() - at);
            self.zeros -= skipped as u32;
            at += skipped;
            if self.zeros == 0 {
                let others = (self.others as usize).min(into.len() - at);
                for word in &mut into[at..at + others] {
                    *word = self.word()?;
                }
                self.others -= others as u32;
                at += others;
            }
        }
        Ok(())
    }

    /// Whether nothing is left.
    pub(super) fn ended(mut self) -> Result<(), ImageError> {
        let ended = (self.zeros, self.others) == (0, 0) && (self.word()?, self.word()?) == (0, 0);
        if ended && self.words.next().is_none() { Ok(()) } else { Err(ImageError::Torn) }
    }
}

fn word_of(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_le_bytes)
}

/// Writes the right checksum at the end of an image's bytes: for tests of what is behind it.
pub(super) fn seal(bytes: &mut [u8]) {
    let Some(end) = bytes.len().checked_sub(TRAILER) else { return };
    let mut sum = Checksum::new();
    bytes[..end].chunks_exact(4).for_each(|word| sum.add(word_of(word)));
    bytes[end..end + 8].copy_from_slice(&sum.bytes.to_le_bytes());
    bytes[end + 8..].copy_from_slice(&sum.sum.to_le_bytes());
}
