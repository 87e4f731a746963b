//! From a snapshot to a slot's bytes.

use alloc::vec::Vec;

use super::format::{
    ACCOUNTS, BARS, CLASSES, CPUS, HAS_NAME, HAS_TAG, Kind, SECTION_HEAD, SLOT_HEAD, SLOT_SUM, SUMS, TAGS,
    slot_sum,
};
use crate::contract::adapter::AdapterName;
use crate::pool::snapshot::{SizeCount, Snapshot, Totals};

/// What stands in a slot's head.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) number: u64,
    pub(super) time: u64,
    pub(super) missed: u64,
}

/// Collects a slot. The bytes have the area's room from the beginning, so that nothing here asks for memory.
struct Slot<'a> {
    bytes: &'a mut Vec<u8>,
    room: usize,
    sections: u32,
}

/// Sections, and so their heads, that a slot has.
const SECTIONS: usize = 6;

impl Slot<'_> {
    fn u32(&mut self, word: u32) {
        self.bytes.extend_from_slice(&word.to_le_bytes());
    }

    fn u64(&mut self, word: u64) {
        self.bytes.extend_from_slice(&word.to_le_bytes());
    }

    fn totals(&mut self, totals: &Totals) {
        let Totals { allocs, frees, live, bytes_requested, bytes_occupied, histogram: _ } = totals;
        [allocs, frees, live, bytes_requested, bytes_occupied].into_iter().for_each(|&sum| self.u64(sum));
    }

    /// Writes a section: the first rows, as far as there is room for them and for the heads of the sections behind. How
    /// many rows these are.
    fn section<T>(
        &mut self,
        kind: Kind,
        rows: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) -> usize {
        let heads = (SECTIONS - self.sections as usize) * SECTION_HEAD;
        let left = self.room.saturating_sub(self.bytes.len() + heads);
        let fits = rows.len().min(left / kind.row);
        // No pool has 2^32 rows of a kind.
        for word in [kind.number, kind.row as u32, fits as u32, (rows.len() - fits) as u32] {
            self.u32(word);
        }
        self.sections += 1;
        rows.take(fits).for_each(|row| write(self, row));
        fits
    }
}

/// Sums over all tags.
fn sums(snapshot: &Snapshot) -> Totals {
    snapshot.tags.iter().fold(Totals::default(), |sums, row| Totals {
        allocs: sums.allocs + row.totals.allocs,
        frees: sums.frees + row.totals.frees,
        live: sums.live + row.totals.live,
        bytes_requested: sums.bytes_requested + row.totals.bytes_requested,
        bytes_occupied: sums.bytes_occupied + row.totals.bytes_occupied,
        histogram: sums.histogram,
    })
}

/// The bars of the rows of a table that are in the slot, with the row's place.
fn bars<'a>(
    table: Kind,
    rows: impl Iterator<Item = &'a Totals>,
) -> impl Iterator<Item = (Kind, u32, SizeCount)> {
    rows.zip(0..).flat_map(move |(row, place)| row.histogram.iter().map(move |bar| (table, place, *bar)))
}

/// An iterator that knows its length, since it was counted.
struct Counted<I> {
    items: I,
    left: usize,
}

impl<I: Iterator> Iterator for Counted<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.left = self.left.saturating_sub(1);
        self.items.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<I: Iterator> ExactSizeIterator for Counted<I> {}

/// Writes a slot over `bytes`, whose capacity is the area.
pub(super) fn encode(head: Head, snapshot: &Snapshot, bytes: &mut Vec<u8>, area: usize) {
    bytes.clear();
    bytes.resize(SLOT_HEAD, 0);
    let mut slot = Slot { bytes, room: area, sections: 0 };
    slot.section(SUMS, core::iter::once(snapshot), |slot, of| {
        slot.totals(&sums(of));
        for sum in [of.free_bytes, of.range_bytes, of.changing, of.contended, of.other, of.violations] {
            slot.u64(sum);
        }
        slot.u64(of.fence_refused.into());
    });
    slot.section(CPUS, snapshot.cpus.iter(), |slot, row| {
        slot.u32(row.cpu);
        slot.u32(0);
        slot.u64(row.blocks);
        slot.u64(row.bytes);
    });
    slot.section(CLASSES, snapshot.classes.iter(), |slot, row| {
        slot.u32(row.block_bytes);
        slot.u32(row.slabs);
        [row.live, row.free, row.cached].into_iter().for_each(|sum| slot.u64(sum));
    });
    let tags = slot.section(TAGS, snapshot.tags.iter(), |slot, row| {
        slot.u32(row.tag.raw());
        slot.u32(0);
        slot.totals(&row.totals);
    });
    let accounts = slot.section(ACCOUNTS, snapshot.accounts.iter(), |slot, row| {
        let tag = row.tag.map_or(0, |_| HAS_TAG);
        let name = row.name.map_or(0, |_| HAS_NAME);
        slot.u32(row.adapter.map_or(0, |adapter| adapter.raw()));
        slot.u32(tag | name);
        slot.u32(row.tag.map_or(0, |tag| tag.raw()));
        slot.u32(0);
        slot.totals(&row.totals);
        slot.bytes.extend_from_slice(&row.name.map_or([0; AdapterName::MAX], |name| name.to_bytes()));
    });
    // Bars of rows that are not there have no place; they count as left out.
    let all = snapshot.tags.iter().map(|row| row.totals.histogram.len()).sum::<usize>()
        + snapshot.accounts.iter().map(|row| row.totals.histogram.len()).sum::<usize>();
    let of_tags = || bars(TAGS, snapshot.tags.iter().take(tags).map(|row| &row.totals));
    let of_accounts = || bars(ACCOUNTS, snapshot.accounts.iter().take(accounts).map(|row| &row.totals));
    let there = of_tags().count() + of_accounts().count();
    let items = of_tags().chain(of_accounts());
    let at = slot.bytes.len();
    let written = slot.section(BARS, Counted { items, left: there }, |slot, (table, place, bar)| {
        [table.number, place, bar.block_bytes, 0].into_iter().for_each(|word| slot.u32(word));
        slot.u64(bar.allocs);
    });
    let sections = slot.sections;
    let mut put = |at: usize, some: &[u8]| {
        if let Some(to) = bytes.get_mut(at..at + some.len()) {
            to.copy_from_slice(some);
        }
    };
    put(at + 12, &((all - written) as u32).to_le_bytes());
    put(0, &head.number.to_le_bytes());
    put(16, &head.time.to_le_bytes());
    put(24, &head.missed.to_le_bytes());
    put(32, &sections.to_le_bytes());
    let used = bytes.len() as u64;
    bytes[8..16].copy_from_slice(&used.to_le_bytes());
    let sum = slot_sum(bytes);
    bytes[SLOT_SUM..SLOT_HEAD].copy_from_slice(&sum.to_le_bytes());
}
