//! A pool's sums, without a snapshot's memory.

use crate::contract::tag::PoolTag;
use crate::layout::block::Account;
use crate::layout::classes::{CLASSES, Class, LARGE};
use crate::owners::accounts::{Key, UNUSED};
use crate::percpu::platform::Platform;
use crate::pool::handle::Pool;
use crate::sync::Ordering;

/// Sums over all blocks of a pool. [`Pool::usage`] gives them, and has an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Usage {
    /// Blocks that were allocated, ever.
    pub allocs: u64,
    /// Blocks that were freed, ever.
    pub frees: u64,
    /// Blocks that are allocated now.
    pub live: u64,
    /// Bytes that were requested for the live blocks.
    pub bytes_requested: u64,
    /// Bytes of the range that the live blocks take.
    pub bytes_occupied: u64,
    /// Bytes of spans that nobody uses.
    pub free_bytes: u64,
    /// Bytes of the range.
    pub range_bytes: u64,
    /// How many slabs changed their use during both walks. Their blocks are not counted.
    pub changing: u64,
    /// Allocations that failed because another operation had the memory in hand.
    pub contended: u64,
    /// Violations that were found.
    pub violations: u64,
}

/// Sums over all blocks of a tag, whichever adapter has or had them. [`Pool::for_each_tag`] gives them, and has an
/// example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TagUsage {
    /// The tag. 0xFFFF_FFFF stands for all that count in *other* rows ([`Config::accounts`](crate::Config::accounts)).
    pub tag: PoolTag,
    /// Blocks that were allocated, ever.
    pub allocs: u64,
    /// Blocks that were freed, ever.
    pub frees: u64,
    /// Blocks that are allocated now.
    pub live: u64,
    /// Bytes that were requested for the live blocks.
    pub bytes_requested: u64,
    /// Bytes of the range that the live blocks take.
    pub bytes_occupied: u64,
}

/// Sums over live blocks.
#[derive(Default)]
struct Live {
    blocks: u64,
    requested: u64,
    occupied: u64,
    /// Slabs that changed their use while they were walked, twice.
    changing: u64,
}

fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::wrapping_add)
}

impl<P: Platform> Pool<P> {
    /// The sums over all blocks. `Pool::snapshot` has them, too, but this asks for no memory. It is exact when no call
    /// is in flight. Frees are never negative at any time. PASSIVE; walks all states.
    ///
    /// ```
    /// use storport_pool::{Pool, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// pool.try_allocate(disk, 200, tag!("VioS"))?;
    /// let usage = pool.usage();
    /// assert_eq!((usage.allocs, usage.frees, usage.live), (1, 0, 1));
    /// assert_eq!((usage.bytes_requested, usage.bytes_occupied), (200, 208));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn usage(&self) -> Usage {
        let meta = &self.meta;
        // The walk comes before the counters (I8).
        let live = self.live(|_| true);
        let allocs = sum(self.accounts_in_use().map(|(account, _)| self.allocs(account)));
        Usage {
            allocs,
            frees: allocs.saturating_sub(live.blocks),
            live: live.blocks,
            bytes_requested: live.requested,
            bytes_occupied: live.occupied,
            free_bytes: u64::from(meta.count_free_spans()) * u64::from(meta.span_size().bytes()),
            range_bytes: self.range().1,
            changing: live.changing,
            // ORDERING: Relaxed - a statistic.
            contended: meta.control().contended.load(Ordering::Relaxed),
            violations: self.violations(),
        }
    }

    /// Visits each tag that was ever counted, in the order of the tags' characters. It is PoolMon's table, and asks for
    /// no memory. It is exact when no call is in flight, as [`usage`](Pool::usage). PASSIVE; walks all states once for
    /// each tag.
    ///
    /// ```
    /// use storport_pool::{Pool, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// let _ = pool.allocate(disk, 208, tag!("VioS"), Some(&mut 0));
    /// pool.for_each_tag(|row| {
    ///     println!("{} {:8} {:8} {:8} {:8}", row.tag, row.allocs, row.frees, row.live, row.bytes_requested);
    ///     assert_eq!((row.tag, row.live, row.bytes_requested), (tag!("VioS"), 1, 208));
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn for_each_tag(&self, mut visit: impl FnMut(TagUsage)) {
        let tags = |above: Option<PoolTag>| {
            let tags = self.accounts_in_use().map(|(_, key)| key.tag());
            tags.filter(|tag| above.is_none_or(|last| last.bytes() < tag.bytes()))
                .min_by_key(|tag| tag.bytes())
        };
        // Always upwards: whatever accounts change meanwhile, each tag is visited once at most, and this ends.
        let mut next = tags(None);
        while let Some(tag) = next {
            // The walk comes before the counters (I8).
            let live = self.live(|key| key.tag() == tag);
            let its = self.accounts_in_use().filter(|(_, key)| key.tag() == tag);
            let allocs = sum(its.map(|(account, _)| self.allocs(account)));
            if allocs > 0 {
                visit(TagUsage {
                    tag,
                    allocs,
                    frees: allocs.saturating_sub(live.blocks),
                    live: live.blocks,
                    bytes_requested: live.requested,
                    bytes_occupied: live.occupied,
                });
            }
            next = tags(Some(tag));
        }
    }

    /// The accounts that count, and whose they are.
    fn accounts_in_use(&self) -> impl Iterator<Item = (Account, Key)> {
        let meta = &self.meta;
        let accounts = meta.accounts().chain(meta.other_accounts());
        accounts.map(|account| (account, meta.account_key(account).open())).filter_map(|(account, key)| {
            // One that is being emptied is on its way to the *other* row of the gone, perhaps.
            let gone = || meta.account_key(meta.gone_other()).open();
            (key != UNUSED.open()).then(|| (account, if key.is_leaving() { gone() } else { key }))
        })
    }

    /// Allocations that an account has counted.
    fn allocs(&self, account: Account) -> u64 {
        // In metadata that is wrong, one may be below zero.
        sum((0..CLASSES as u8).map(|class| self.meta.count(account, Class(class))))
    }

    /// Sums over the live blocks that such accounts have counted.
    fn live(&self, counts: impl Fn(Key) -> bool) -> Live {
        let (meta, size) = (&self.meta, self.meta.span_size());
        let mut total = Live::default();
        for span in 0..meta.control().geometry.spans {
            let sums = || {
                let mut sums = Live::default();
                let stable = meta.walk_span(span, |live| {
                    // One that is changing hands is seen by the next look.
                    if meta.key_of(live.state, live.record).is_some_and(&counts) {
                        sums.blocks += 1;
                        sums.requested += u64::from(live.record.bytes);
                        sums.occupied += match live.class {
                            LARGE => u64::from(meta.run_spans(live.block)) * u64::from(size.bytes()),
                            class => class.bytes().into(),
                        };
                    }
                });
                stable.then_some(sums)
            };
            let Some(sums) = sums().or_else(sums) else {
                total.changing += 1;
                continue;
            };
            total.blocks += sums.blocks;
            total.requested += sums.requested;
            total.occupied += sums.occupied;
        }
        total
    }
}
