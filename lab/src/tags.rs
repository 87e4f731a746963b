//! PoolMon's table of a pool.

use storport_pool::Snapshot;

use crate::results::TagLine;

/// The tags of `after`, with what changed since `before`.
pub(crate) fn table(before: &Snapshot, after: &Snapshot) -> Vec<TagLine> {
    after
        .tags
        .iter()
        .map(|row| {
            let old = before.tags.iter().find(|old| old.tag == row.tag).map(|old| &old.totals);
            let change = |now: u64, then: Option<u64>| now.wrapping_sub(then.unwrap_or(0)).cast_signed();
            let now = &row.totals;
            TagLine {
                tag: row.tag.to_string(),
                kind: "Nonp".to_owned(),
                allocs: now.allocs,
                allocs_delta: change(now.allocs, old.map(|old| old.allocs)),
                frees: now.frees,
                frees_delta: change(now.frees, old.map(|old| old.frees)),
                diff: now.live,
                bytes: now.bytes_requested,
                bytes_delta: change(now.bytes_requested, old.map(|old| old.bytes_requested)),
                per_alloc: now.average(),
            }
        })
        .collect()
}
