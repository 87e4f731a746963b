//! A pool's sums, without a snapshot's memory.

use crate::layout::classes::{CLASSES, Class, LARGE};
use crate::owners::accounts::UNUSED;
use crate::percpu::platform::Platform;
use crate::pool::handle::Pool;
use crate::stock::large::spans_for;
use crate::sync::Ordering;

/// Sums over all blocks of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Slabs that changed their use while they were walked, twice; their blocks are not counted.
    pub changing: u64,
    /// Allocations that failed because memory was in another operation's hand.
    pub contended: u64,
    /// Violations found.
    pub violations: u64,
}

impl<P: Platform> Pool<P> {
    /// A snapshot's sums over all tags. Asks for no memory. Exact when no call is in flight; frees are never negative at
    /// any time. PASSIVE; walks all states.
    pub fn usage(&self) -> Usage {
        let meta = &self.meta;
        let (control, size) = (meta.control(), meta.span_size());
        let mut usage = Usage {
            range_bytes: self.range().1,
            violations: self.violations(),
            // ORDERING: Relaxed - a statistic.
            contended: control.contended.load(Ordering::Relaxed),
            ..Usage::default()
        };
        // The walk comes before the counters (I8).
        for span in 0..control.geometry.spans {
            let sums = || {
                let mut sums = Usage::default();
                let stable = meta.walk_span(span, |live| {
                    // One that is changing hands is seen by the next look.
                    if meta.key_of(live.state, live.record).is_some() {
                        sums.live += 1;
                        sums.bytes_requested += u64::from(live.record.bytes);
                        sums.bytes_occupied += match live.class {
                            LARGE => u64::from(spans_for(live.record.bytes, size)) * u64::from(size.bytes()),
                            class => class.bytes().into(),
                        };
                    }
                });
                stable.then_some(sums)
            };
            let Some(sums) = sums().or_else(sums) else {
                usage.changing += 1;
                continue;
            };
            usage.live += sums.live;
            usage.bytes_requested += sums.bytes_requested;
            usage.bytes_occupied += sums.bytes_occupied;
        }
        let accounts = meta.accounts().chain(meta.other_accounts());
        for account in accounts.filter(|&account| meta.account_key(account) != UNUSED) {
            for class in (0..CLASSES as u8).map(Class) {
                usage.allocs += meta.count(account, class);
            }
        }
        usage.frees = usage.allocs.saturating_sub(usage.live);
        usage.free_bytes = u64::from(meta.count_free_spans()) * u64::from(size.bytes());
        usage
    }
}
