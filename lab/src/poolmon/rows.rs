//! PoolMon's rows: what a picture has by tag, or by adapter and tag, and what changed since another one.

use std::cmp::Reverse;

use clap::ValueEnum;
use storport_pool::Totals;
use storport_pool::watch::Picture;

use super::filter::Filter;
use crate::out::plain;

/// What rows are sorted by. All but the tag: the most first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    /// By tag.
    #[default]
    Tag,
    /// By allocations.
    Allocs,
    /// By frees.
    Frees,
    /// By allocations less frees.
    Diff,
    /// By bytes.
    Bytes,
    /// By bytes per allocation.
    PerAlloc,
}

/// A count, and by how much it changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) now: u64,
    pub(crate) change: i64,
}

impl Count {
    fn new(now: u64, before: u64) -> Count {
        Count { now, change: now.wrapping_sub(before).cast_signed() }
    }
}

/// Which row it is, of a picture or the next one.
pub(crate) type Key = (Option<u32>, Option<u32>);

/// A line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Adapter and tag, as numbers.
    pub(crate) key: Key,
    /// The adapter, where rows are by adapter.
    pub(crate) adapter: Option<String>,
    /// As PoolMon shows it: four characters.
    pub(crate) tag: String,
    pub(crate) allocs: Count,
    pub(crate) frees: Count,
    pub(crate) diff: Count,
    pub(crate) bytes: Count,
    pub(crate) per_alloc: Count,
    pub(crate) occupied: u64,
    /// Allocations by bytes of a block; 0 bytes: large runs.
    pub(crate) histogram: Vec<(u32, u64)>,
}

/// What an *other* row shows as its tag.
const OTHER: &str = "****";

impl Row {
    fn new(key: Key, adapter: Option<String>, tag: String, now: &Totals, before: Option<&Totals>) -> Row {
        let count = |of: fn(&Totals) -> u64| Count::new(of(now), before.map_or_else(|| of(now), of));
        Row {
            key,
            adapter,
            tag,
            allocs: count(|of| of.allocs),
            frees: count(|of| of.frees),
            diff: count(|of| of.live),
            bytes: count(|of| of.bytes_requested),
            per_alloc: count(Totals::average),
            occupied: now.bytes_occupied,
            histogram: now.histogram.iter().map(|bar| (bar.block_bytes, bar.allocs)).collect(),
        }
    }

    pub(crate) fn changed(&self) -> bool {
        self.allocs.change != 0 || self.frees.change != 0 || self.bytes.change != 0
    }
}

/// A row that was not there before counts from zero; without a picture before, nothing has changed.
fn before<'a, T>(
    rows: Option<&'a [T]>,
    is_it: impl Fn(&T) -> bool,
    totals: fn(&T) -> &Totals,
    none: &'a Totals,
) -> Option<&'a Totals> {
    rows.map(|rows| rows.iter().find(|row| is_it(row)).map_or(none, totals))
}

/// By tag, over all adapters.
pub(crate) fn tags(now: &Picture, earlier: Option<&Picture>) -> Vec<Row> {
    let none = Totals::default();
    let old = earlier.map(|picture| &picture.snapshot.tags[..]);
    let rows = now.snapshot.tags.iter().map(|row| {
        let before = before(old, |old| old.tag == row.tag, |old| &old.totals, &none);
        let tag = if row.tag.raw() == u32::MAX { OTHER.to_owned() } else { row.tag.to_string() };
        Row::new((None, Some(row.tag.raw())), None, tag, &row.totals, before)
    });
    rows.collect()
}

/// By adapter and tag.
pub(crate) fn accounts(now: &Picture, earlier: Option<&Picture>) -> Vec<Row> {
    let none = Totals::default();
    let old = earlier.map(|picture| &picture.snapshot.accounts[..]);
    let rows = now.snapshot.accounts.iter().map(|row| {
        let is_it = |old: &storport_pool::AccountRow| (old.adapter, old.tag) == (row.adapter, row.tag);
        let before = before(old, is_it, |old| &old.totals, &none);
        let adapter = match (row.adapter, row.name) {
            (None, _) => "(removed)".to_owned(),
            (Some(_), Some(name)) if !name.as_str().is_empty() => plain(name.as_str()),
            (Some(adapter), _) => adapter.to_string(),
        };
        let tag = row.tag.map_or_else(|| OTHER.to_owned(), |tag| tag.to_string());
        let key = (row.adapter.map(|adapter| adapter.raw()), row.tag.map(|tag| tag.raw()));
        Row::new(key, Some(adapter), tag, &row.totals, before)
    });
    rows.collect()
}

/// All rows' sums, PoolMon's totals line.
pub(crate) fn total(now: &Picture, earlier: Option<&Picture>) -> Row {
    let before = earlier.map(|picture| &picture.totals);
    Row::new((None, None), None, "Total".to_owned(), &now.totals, before)
}

/// Shows what the filter shows, in order. `by_change`: sorted by what changed, not by what is.
pub(crate) fn arrange(rows: &mut Vec<Row>, filter: &Filter, sort: Sort, by_change: bool) {
    rows.retain(|row| filter.shows(&row.tag));
    // Equal ones stay in the order of tags, which is the picture's.
    let of: fn(&Row) -> Count = match sort {
        Sort::Tag => {
            // By tag and then adapter, where there are adapters.
            rows.sort_by(|a, b| (&a.tag, &a.adapter).cmp(&(&b.tag, &b.adapter)));
            return;
        }
        Sort::Allocs => |row| row.allocs,
        Sort::Frees => |row| row.frees,
        Sort::Diff => |row| row.diff,
        Sort::Bytes => |row| row.bytes,
        Sort::PerAlloc => |row| row.per_alloc,
    };
    rows.sort_by_key(|row| {
        Reverse(if by_change { i128::from(of(row).change) } else { i128::from(of(row).now) })
    });
}
