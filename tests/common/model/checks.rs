//! What the reference holds against a snapshot, and against reported leaks.

use std::collections::{BTreeMap, BTreeSet};

use storport_pool::{AdapterId, PoolTag, Snapshot, Totals};

use super::{Block, Model, OTHER};
use crate::common::*;

/// Allocations ever, live blocks, bytes requested, bytes occupied.
type Sums = [u64; 4];

fn sums(totals: &Totals) -> Sums {
    assert_eq!(totals.frees, totals.allocs - totals.live);
    assert_eq!(totals.histogram.iter().map(|bar| bar.allocs).sum::<u64>(), totals.allocs);
    [totals.allocs, totals.live, totals.bytes_requested, totals.bytes_occupied]
}

fn add_up<K: Ord>(rows: impl Iterator<Item = (K, Sums)>) -> BTreeMap<K, Sums> {
    let mut all = BTreeMap::<K, Sums>::new();
    for (key, row) in rows {
        let sum = all.entry(key).or_default();
        (0..row.len()).for_each(|n| sum[n] += row[n]);
    }
    all
}

/// Compares reported leaks (owner, tag, blocks, bytes) with the blocks that were left.
pub fn leaks<'a>(
    reported: impl Iterator<Item = (AdapterId, PoolTag, u64, u64)>,
    left: impl Iterator<Item = &'a Block>,
) {
    let reported: Vec<_> = reported.collect();
    // Blocks that count in an *other* row are reported under its tag.
    let other = reported.iter().any(|row| row.1 == OTHER);
    let key = |owner, tag| (owner, if other { OTHER } else { tag });
    let got = reported.iter().map(|&(owner, tag, blocks, bytes)| (key(owner, tag), [0, blocks, bytes, 0]));
    let want = left.map(|block| (key(block.owner, block.tag), [0, 1, block.bytes.into(), 0]));
    assert_eq!(add_up(got), add_up(want));
}

impl<W: Way> Model<W> {
    /// Compares all that a snapshot says.
    pub fn check(&mut self) {
        assert!(self.take_heard().is_empty());
        let snapshot = self.pool.snapshot();
        let Snapshot { changing, contended, violations, range_bytes, .. } = snapshot;
        assert_eq!((changing, contended), (0, 0));
        assert_eq!((violations, range_bytes), (self.violations, self.pool.range().1));
        self.check_accounts(&snapshot);
        self.check_classes(&snapshot);
        let names = |(id, name): &(AdapterId, String)| (*id, name.clone());
        let known: BTreeSet<_> = self.adapters.iter().map(names).collect();
        let listed = self.pool.adapters();
        assert_eq!(known, listed.into_iter().map(|(id, name)| (id, name.to_string())).collect());
    }

    /// What was counted under *other* rows is only known by adapter.
    fn check_accounts(&self, snapshot: &Snapshot) {
        let meant = |(&(_, tag), &count): (&(AdapterId, PoolTag), &u64)| if tag == OTHER { count } else { 0 };
        let exact = snapshot.other == self.allocs.iter().map(meant).sum::<u64>();
        let key = |owner, tag| (owner, if exact { tag } else { OTHER });
        let allocs = self.allocs.iter().map(|(&(owner, tag), &count)| (key(owner, tag), [count, 0, 0, 0]));
        let live = self
            .live
            .values()
            .map(|block| (key(block.owner, block.tag), [0, 1, block.bytes.into(), block.size]));
        let want = add_up(allocs.chain(live));
        let got = snapshot.accounts.iter().map(|row| {
            let owner = row.adapter.unwrap_or(AdapterId::ORPHANS);
            assert!(row.adapter.is_some() || row.totals.live == 0);
            (key(owner, row.tag.unwrap_or(OTHER)), sums(&row.totals))
        });
        assert_eq!(add_up(got), want);
        let by_tag = snapshot.tags.iter().map(|row| (key(AdapterId::ORPHANS, row.tag).1, sums(&row.totals)));
        assert_eq!(add_up(by_tag), add_up(want.into_iter().map(|((_, tag), row)| (tag, row))));
        check_tags(&self.pool, snapshot);
    }

    fn check_classes(&self, snapshot: &Snapshot) {
        let mut live = BTreeMap::<u64, u64>::new();
        self.live.values().for_each(|block| *live.entry(block.size).or_default() += 1);
        let range = self.pool.range().1;
        let most = u64::from(max_slab(range));
        let large: u64 = live.iter().filter(|row| *row.0 > most).map(|(size, count)| size * count).sum();
        let mut slabs = 0;
        for row in &snapshot.classes {
            slabs += u64::from(row.slabs);
            let per_slab = self.spans.per_slab(row.block_bytes.into());
            assert_eq!(row.live, live.remove(&row.block_bytes.into()).unwrap_or(0), "{row:?}");
            assert_eq!(row.live + row.free, u64::from(row.slabs) * per_slab, "{row:?}");
            assert!(row.cached <= row.free, "{row:?}");
        }
        assert!(live.keys().all(|&size| size > most), "sizes without a slab: {live:?}");
        // Freed runs may not have been collected yet.
        assert!(slabs * span_of(range) + large + snapshot.free_bytes <= snapshot.range_bytes);
        assert!(snapshot.free_bytes <= self.spans.empty_bytes());
        let cached: u64 = snapshot.cpus.iter().map(|row| row.blocks).sum();
        assert_eq!(cached, snapshot.classes.iter().map(|row| row.cached).sum::<u64>());
    }
}
