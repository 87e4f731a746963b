//! From a slot's bytes to a picture. Any bytes may come: nothing here panics, and no count is believed.

use alloc::vec::Vec;
use std::time::{Duration, UNIX_EPOCH};

use super::error::ReadError;
use super::format::{
    ACCOUNTS, BARS, CLASSES, CPUS, HAS_NAME, HAS_TAG, Kind, SECTION_HEAD, SLOT_HEAD, SLOT_SUM, SUMS, TAGS,
    slot_sum, u32_at, u64_at,
};
use super::picture::{LeftOut, Picture};
use crate::contract::adapter::{AdapterId, AdapterName};
use crate::contract::tag::PoolTag;
use crate::pool::snapshot::{AccountRow, ClassRow, CpuRow, SizeCount, Snapshot, TagRow, Totals};

/// A slot's number and the bytes in use, if its head may be that of a whole slot.
pub(super) fn slot_head(head: &[u8], slot: u64, slot_bytes: u64) -> Option<(u64, usize)> {
    let (number, used) = (u64_at(head, 0)?, u64_at(head, 8)?);
    let fits = (SLOT_HEAD as u64..=slot_bytes).contains(&used) && used % 4 == 0;
    (number > 0 && number % 2 == slot && fits).then_some((number, used as usize))
}

/// Whether the slot is as it was written.
pub(super) fn is_whole(slot: &[u8]) -> bool {
    u64_at(slot, SLOT_SUM) == Some(slot_sum(slot))
}

/// A row's bytes. Behind those that this version knows there may be more.
struct Row<'a>(&'a [u8]);

impl Row<'_> {
    // A row has its kind's bytes at least, so nothing is behind its end.
    fn u32(&self, at: usize) -> u32 {
        u32_at(self.0, at).unwrap_or(0)
    }

    fn u64(&self, at: usize) -> u64 {
        u64_at(self.0, at).unwrap_or(0)
    }

    fn totals(&self, at: usize) -> Totals {
        Totals {
            allocs: self.u64(at),
            frees: self.u64(at + 8),
            live: self.u64(at + 16),
            bytes_requested: self.u64(at + 24),
            bytes_occupied: self.u64(at + 32),
            histogram: Vec::new(),
        }
    }
}

/// A section that is there.
struct Section<'a> {
    row_bytes: usize,
    rows: &'a [u8],
    left_out: u32,
}

impl<'a> Section<'a> {
    /// Cuts the next section off.
    fn next(rest: &mut &'a [u8]) -> Option<(u32, Section<'a>)> {
        let word = |n: usize| u32_at(rest, 4 * n);
        let (kind, row_bytes, count, left_out) = (word(0)?, word(1)? as usize, word(2)? as usize, word(3)?);
        let body = rest.get(SECTION_HEAD..)?;
        let (rows, behind) = body.split_at_checked(row_bytes.checked_mul(count)?)?;
        *rest = behind;
        Some((kind, Section { row_bytes, rows, left_out }))
    }

    /// The rows, made into others.
    fn collect<T>(&self, kind: Kind, make: impl Fn(Row<'_>) -> Option<T>) -> Result<Vec<T>, ReadError> {
        if self.rows.is_empty() {
            return Ok(Vec::new());
        }
        if self.row_bytes < kind.row {
            return Err(ReadError::Malformed);
        }
        let mut made = Vec::new();
        made.try_reserve_exact(self.rows.len() / self.row_bytes).map_err(|_| ReadError::Memory)?;
        for row in self.rows.chunks_exact(self.row_bytes) {
            made.push(make(Row(row)).ok_or(ReadError::Malformed)?);
        }
        Ok(made)
    }
}

/// The picture of a whole slot.
///
/// # Errors
/// [`ReadError::Malformed`], or there is no memory.
pub(super) fn decode(slot: &[u8]) -> Result<Picture, ReadError> {
    let head = |at| u64_at(slot, at).ok_or(ReadError::Malformed);
    let time = UNIX_EPOCH.checked_add(Duration::from_nanos(head(16)?)).ok_or(ReadError::Malformed)?;
    let mut picture = Picture {
        number: head(0)?,
        time,
        missed: head(24)?,
        totals: Totals::default(),
        snapshot: Snapshot::default(),
        left_out: LeftOut::default(),
    };
    let mut rest = slot.get(SLOT_HEAD..).ok_or(ReadError::Malformed)?;
    let (mut sums, mut bars) = (Vec::new(), Vec::new());
    for _ in 0..u32_at(slot, 32).ok_or(ReadError::Malformed)? {
        let (kind, section) = Section::next(&mut rest).ok_or(ReadError::Malformed)?;
        let (of, left_out) = (&mut picture.snapshot, &mut picture.left_out);
        // Kinds that are not known are passed over.
        match kind {
            kind if kind == SUMS.number => {
                sums = section.collect(SUMS, |row| {
                    let sum = |n: usize| row.u64(40 + 8 * n);
                    Some((row.totals(0), [sum(0), sum(1), sum(2), sum(3), sum(4), sum(5), sum(6)]))
                })?;
            }
            kind if kind == CPUS.number => {
                left_out.cpus = section.left_out;
                of.cpus = section.collect(CPUS, |row| {
                    Some(CpuRow { cpu: row.u32(0), blocks: row.u64(8), bytes: row.u64(16) })
                })?;
            }
            kind if kind == CLASSES.number => {
                left_out.classes = section.left_out;
                of.classes = section.collect(CLASSES, |row| {
                    Some(ClassRow {
                        block_bytes: row.u32(0),
                        slabs: row.u32(4),
                        live: row.u64(8),
                        free: row.u64(16),
                        cached: row.u64(24),
                    })
                })?;
            }
            kind if kind == TAGS.number => {
                left_out.tags = section.left_out;
                of.tags = section.collect(TAGS, |row| {
                    Some(TagRow { tag: PoolTag::from_raw(row.u32(0)), totals: row.totals(8) })
                })?;
            }
            kind if kind == ACCOUNTS.number => {
                left_out.accounts = section.left_out;
                of.accounts = section.collect(ACCOUNTS, account)?;
            }
            kind if kind == BARS.number => {
                left_out.bars = section.left_out;
                bars = section.collect(BARS, |row| {
                    let bar = SizeCount { block_bytes: row.u32(8), allocs: row.u64(16) };
                    Some((row.u32(0), row.u32(4) as usize, bar))
                })?;
            }
            _ => {}
        }
    }
    let Some((totals, [free_bytes, range_bytes, changing, contended, other, violations, fence])) = sums.pop()
    else {
        return Err(ReadError::Malformed);
    };
    picture.totals = totals;
    let of = &mut picture.snapshot;
    (of.free_bytes, of.range_bytes, of.changing) = (free_bytes, range_bytes, changing);
    (of.contended, of.other, of.violations, of.fence_refused) = (contended, other, violations, fence != 0);
    for (table, place, bar) in bars {
        let row = match table {
            table if table == TAGS.number => of.tags.get_mut(place).map(|row| &mut row.totals),
            table if table == ACCOUNTS.number => of.accounts.get_mut(place).map(|row| &mut row.totals),
            _ => None,
        };
        let histogram = &mut row.ok_or(ReadError::Malformed)?.histogram;
        histogram.try_reserve(1).map_err(|_| ReadError::Memory)?;
        histogram.push(bar);
    }
    Ok(picture)
}

/// A row of an adapter and tag.
fn account(row: Row<'_>) -> Option<AccountRow> {
    let flags = row.u32(4);
    let adapter = match row.u32(0) {
        0 => None,
        raw => Some(Some(AdapterId::from_raw(raw)).filter(|id| id.raw() == raw)?),
    };
    let name = row.0.get(56..)?.first_chunk().map(|bytes| AdapterName::from_bytes(*bytes));
    Some(AccountRow {
        adapter,
        name: name.filter(|_| flags & HAS_NAME != 0),
        tag: (flags & HAS_TAG != 0).then(|| PoolTag::from_raw(row.u32(8))),
        totals: row.totals(16),
    })
}
