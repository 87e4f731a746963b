//! Snapshots: exact when nothing is in flight, safe at any time.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::alloc::Layout;

use crate::contract::adapter::{AdapterId, AdapterName};
use crate::contract::status::Status;
use crate::contract::tag::PoolTag;
use crate::contract::violation::{Outstanding, Removed};
use crate::layout::block::Account;
use crate::layout::classes::{CLASSES, Class, LARGE, SLAB_CLASSES};
use crate::layout::cursor::Cursor;
use crate::layout::meta::Meta;
use crate::owners::accounts::{Key, OTHER_TAG, UNUSED};
use crate::percpu::platform::Platform;
use crate::pool::handle::Pool;
use crate::sync::Ordering;

/// Sums over the blocks of an account, of a tag, or of all. [`Pool::snapshot`] has an example.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Totals {
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
    /// Allocations by block size, ever; sizes that never occurred are left out.
    pub histogram: Vec<SizeCount>,
}

/// One bar of a size histogram ([`Totals::histogram`]). [`Pool::snapshot`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SizeCount {
    /// Bytes of a block of this size class. 0 stands for large runs. Those have more than 32 KiB, or more than 4 KiB in
    /// pools of less than 8 MiB. An allocation counts under the class that its size asks for, even if a larger block served
    /// it.
    pub block_bytes: u32,
    /// Allocations, ever.
    pub allocs: u64,
}

impl Totals {
    /// Bytes requested for each live block, on average, as in PoolMon's last column. 0 if there is none. Any IRQL.
    #[must_use]
    pub fn average(&self) -> u64 {
        self.bytes_requested.checked_div(self.live).unwrap_or(0)
    }

    fn add(&mut self, other: &Totals) -> Result<(), TryReserveError> {
        self.allocs += other.allocs;
        self.frees += other.frees;
        self.live += other.live;
        self.bytes_requested += other.bytes_requested;
        self.bytes_occupied += other.bytes_occupied;
        for bar in &other.histogram {
            match self.histogram.iter_mut().find(|mine| mine.block_bytes == bar.block_bytes) {
                Some(mine) => mine.allocs += bar.allocs,
                None => push(&mut self.histogram, *bar)?,
            }
        }
        self.histogram.sort_unstable_by_key(|bar| bar.block_bytes.wrapping_sub(1));
        Ok(())
    }

    fn try_clone(&self) -> Result<Totals, TryReserveError> {
        let mut histogram = Vec::new();
        histogram.try_reserve_exact(self.histogram.len())?;
        histogram.extend_from_slice(&self.histogram);
        Ok(Totals { histogram, ..*self })
    }
}

/// Pushes, if there is memory.
fn push<T>(rows: &mut Vec<T>, row: T) -> Result<(), TryReserveError> {
    rows.try_reserve(1)?;
    rows.push(row);
    Ok(())
}

/// A tag's sums, over all adapters that use it or have used it. [`Pool::snapshot`] has an example.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TagRow {
    /// The tag.
    pub tag: PoolTag,
    /// Its sums.
    pub totals: Totals,
}

/// The sums of one adapter and tag. [`Pool::snapshot`] has an example.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AccountRow {
    /// The adapter. `None`: it is gone, and its sums are kept by tag.
    pub adapter: Option<AdapterId>,
    /// The adapter's name, while it lives.
    pub name: Option<AdapterName>,
    /// The tag. `None`: this is an *other* row. It counts the adapter's tags that found no account, or tags of removed
    /// adapters that had to make room.
    pub tag: Option<PoolTag>,
    /// The sums.
    pub totals: Totals,
}

/// What one CPU's cache holds. [`Pool::snapshot`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CpuRow {
    /// The CPU's number.
    pub cpu: u32,
    /// Free blocks in its magazines.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The state of one size class. [`Pool::snapshot`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ClassRow {
    /// Bytes of a block.
    pub block_bytes: u32,
    /// Slabs of this class.
    pub slabs: u32,
    /// Live blocks.
    pub live: u64,
    /// Free blocks: those in caches, stocks and queues, and those never used yet.
    pub free: u64,
    /// Of the free blocks, those in CPU caches.
    pub cached: u64,
}

/// A picture of a pool: who has what. [`Pool::snapshot`] makes one, and has an example.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// By tag, in the order of the tags' characters. Totals outlive frees and adapters. When the accounts of tags that
    /// no live adapter uses are needed, their sums go to one row ([`Config::accounts`](crate::Config::accounts)).
    pub tags: Vec<TagRow>,
    /// By adapter and tag.
    pub accounts: Vec<AccountRow>,
    /// By CPU.
    pub cpus: Vec<CpuRow>,
    /// By size class. Classes without slabs are left out.
    pub classes: Vec<ClassRow>,
    /// Bytes of spans that nobody uses.
    pub free_bytes: u64,
    /// Bytes of the range.
    pub range_bytes: u64,
    /// How many slabs changed their use during both walks. Their blocks are not counted.
    pub changing: u64,
    /// Allocations that failed because another operation had the memory in hand.
    pub contended: u64,
    /// Allocations that count in *other* rows ([`Config::accounts`](crate::Config::accounts)).
    pub other: u64,
    /// Violations that were found.
    pub violations: u64,
    /// Whether the system ever refused the pool a fence; see
    /// [`ViolationKind::FenceRefused`](crate::ViolationKind::FenceRefused).
    pub fence_refused: bool,
}

/// What an adapter had when it was removed. [`Pool::remove_adapter`] has an example.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Removal {
    /// By tag.
    pub outstanding: Vec<Outstanding>,
    /// Whether that is exact; see [`Removed::exact`].
    pub exact: bool,
}

impl Removal {
    /// How many blocks were outstanding. Any IRQL; O(tags).
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.outstanding.iter().map(|row| row.blocks).sum()
    }

    /// How many bytes had been requested for them. Any IRQL; O(tags).
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.outstanding.iter().map(|row| row.bytes).sum()
    }
}

/// Live sums of one account.
#[derive(Clone, Copy, Default)]
struct Sums {
    live: u64,
    requested: u64,
    occupied: u64,
}

/// What a walk over all states found.
struct Walk {
    by_account: Vec<Sums>,
    by_class: [u64; CLASSES],
    changing: u64,
}

fn walk(meta: &Meta) -> Result<Walk, TryReserveError> {
    let accounts = meta.accounts().chain(meta.other_accounts()).count();
    let mut by_account = Vec::new();
    by_account.try_reserve_exact(accounts)?;
    by_account.resize(accounts, Sums::default());
    let mut walk = Walk { by_account, by_class: [0; CLASSES], changing: 0 };
    let size = meta.span_size();
    let mut slab = Vec::new();
    // As many blocks as begin in a span at most.
    slab.try_reserve_exact(size.grains() as usize)?;
    for span in 0..meta.control().geometry.spans {
        let stable = (0..2).any(|_| {
            slab.clear();
            meta.walk_span(span, |live| slab.push(live))
        });
        if !stable {
            walk.changing += 1;
            continue;
        }
        for live in &slab {
            // One that is changing hands is seen by the next snapshot.
            if meta.key_of(live.state, live.record).is_none() {
                continue;
            }
            let sums = &mut walk.by_account[place(meta, live.record.account)];
            let requested = live.record.bytes;
            sums.live += 1;
            sums.requested += u64::from(requested);
            sums.occupied += match live.class {
                LARGE => u64::from(meta.run_spans(live.block)) * u64::from(size.bytes()),
                class => class.bytes().into(),
            };
            walk.by_class[live.class.index()] += 1;
        }
    }
    Ok(walk)
}

/// Where an account's sums stand: those that have a word come first.
fn place(meta: &Meta, account: Account) -> usize {
    (account.0 - meta.control().account_mask) as usize
}

impl<P: Platform> Pool<P> {
    /// A picture of the pool: who has what. PASSIVE; walks all states; allocates the picture.
    ///
    /// It is exact when no call is in flight. An allocation counts if it succeeded. It also counts if its block was
    /// live for a moment, until its adapter's removal overtook it. Frees are never negative at any time.
    ///
    /// ```
    /// use storport_pool::{Pool, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// for _ in 0..3 {
    ///     pool.try_allocate(disk, 200, tag!("VioS"))?;
    /// }
    /// let snapshot = pool.snapshot();
    /// let row = &snapshot.tags[0];
    /// assert_eq!((row.tag, row.totals.live, row.totals.average()), (tag!("VioS"), 3, 200));
    /// assert_eq!((row.totals.histogram[0].block_bytes, row.totals.histogram[0].allocs), (208, 3));
    /// assert_eq!(snapshot.accounts[0].adapter, Some(disk));
    /// assert_eq!((snapshot.classes[0].block_bytes, snapshot.classes[0].live), (208, 3));
    /// snapshot.cpus.iter().for_each(|row| println!("CPU {} caches {} bytes", row.cpu, row.bytes));
    /// assert_eq!((snapshot.range_bytes, snapshot.violations), (1 << 20, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        self.try_snapshot().unwrap_or_else(|_| alloc::alloc::handle_alloc_error(Layout::new::<Snapshot>()))
    }

    /// As [`snapshot`](Pool::snapshot), for a host that goes on without memory. PASSIVE; walks all states.
    ///
    /// ```
    /// use storport_pool::Pool;
    /// match Pool::new(1 << 20)?.try_snapshot() {
    ///     Ok(snapshot) => println!("{} bytes are free", snapshot.free_bytes),
    ///     Err(error) => println!("no snapshot this time: {error}"),
    /// }
    /// # Ok::<(), storport_pool::CreateError>(())
    /// ```
    ///
    /// # Errors
    /// `TryReserveError`: there is no memory for the picture.
    pub fn try_snapshot(&self) -> Result<Snapshot, TryReserveError> {
        let meta = &self.meta;
        let control = meta.control();
        // The walk comes before the counters (I8).
        let walk = walk(meta)?;
        let mut snapshot = Snapshot {
            free_bytes: u64::from(meta.count_free_spans()) * u64::from(meta.span_size().bytes()),
            range_bytes: self.range().1,
            changing: walk.changing,
            // ORDERING: Relaxed, twice - statistics.
            contended: control.contended.load(Ordering::Relaxed),
            violations: control.violations.load(Ordering::Relaxed),
            fence_refused: meta.fence_refused(),
            ..Snapshot::default()
        };
        for account in meta.accounts().chain(meta.other_accounts()) {
            match meta.account_key(account).open() {
                unused if unused == UNUSED.open() => {}
                // On its way to the *other* row of the gone, perhaps.
                key if key.is_leaving() => {
                    let gone = meta.account_key(meta.gone_other());
                    self.add_account(&mut snapshot, account, gone, Sums::default())?;
                }
                key => {
                    let sums = walk.by_account[place(meta, account)];
                    self.add_account(&mut snapshot, account, key, sums)?;
                }
            }
        }
        snapshot.tags.retain(|row| row.totals.allocs > 0);
        snapshot.tags.sort_unstable_by_key(|row| row.tag.bytes());
        snapshot.accounts.retain(|row| row.totals.allocs > 0);
        snapshot.accounts.sort_unstable_by_key(|row| (row.adapter.is_none(), row.adapter, row.tag));
        self.add_caches(&mut snapshot, &walk.by_class)?;
        Ok(snapshot)
    }

    fn add_account(
        &self,
        snapshot: &mut Snapshot,
        account: Account,
        key: Key,
        sums: Sums,
    ) -> Result<(), TryReserveError> {
        let meta = &self.meta;
        let mut histogram = Vec::new();
        for class in 0..CLASSES {
            let allocs = meta.count(account, Class(class as u8));
            if allocs > 0 {
                let block_bytes = if class < SLAB_CLASSES { Class(class as u8).bytes() } else { 0 };
                push(&mut histogram, SizeCount { block_bytes, allocs })?;
            }
        }
        let allocs = histogram.iter().map(|bar| bar.allocs).sum();
        let totals = Totals {
            allocs,
            frees: allocs.saturating_sub(sums.live),
            live: sums.live,
            bytes_requested: sums.requested,
            bytes_occupied: sums.occupied,
            histogram,
        };
        let other = key.tag() == OTHER_TAG;
        if other {
            snapshot.other += allocs;
        }
        match snapshot.tags.iter_mut().find(|row| row.tag == key.tag()) {
            Some(row) => row.totals.add(&totals)?,
            None => push(&mut snapshot.tags, TagRow { tag: key.tag(), totals: totals.try_clone()? })?,
        }
        let adapter = (key.owner() != AdapterId::GONE).then_some(key.owner().known());
        let tag = (!other).then_some(key.tag());
        // Two CPUs that interned one pair at once may have made two accounts of it.
        match snapshot.accounts.iter_mut().find(|row| row.adapter == adapter && row.tag == tag) {
            Some(row) => row.totals.add(&totals)?,
            None => {
                let name = adapter.and_then(|adapter| meta.adapter_name(adapter));
                push(&mut snapshot.accounts, AccountRow { adapter, name, tag, totals })?;
            }
        }
        Ok(())
    }

    fn add_caches(&self, snapshot: &mut Snapshot, live: &[u64; CLASSES]) -> Result<(), TryReserveError> {
        let meta = &self.meta;
        let mut cached = [0; SLAB_CLASSES];
        for cpu in 0..meta.control().cpus {
            let mut row = CpuRow { cpu, blocks: 0, bytes: 0 };
            for (index, cached) in cached.iter_mut().enumerate() {
                let class = Class(index as u8);
                for word in [meta.cursor(cpu, class), meta.spare(cpu, class)] {
                    // ORDERING: Relaxed - a snapshot.
                    let cursor = Cursor(word.load(Ordering::Relaxed));
                    let blocks = u64::from(meta.entries(class, cursor));
                    *cached += blocks;
                    row.blocks += blocks;
                    row.bytes += blocks * u64::from(class.bytes());
                }
            }
            push(&mut snapshot.cpus, row)?;
        }
        for index in 0..SLAB_CLASSES {
            let class = Class(index as u8);
            let slabs = meta.slabs(class);
            if slabs > 0 {
                let blocks = u64::from(slabs) * u64::from(class.per_slab(meta.span_size()));
                let row = ClassRow {
                    block_bytes: class.bytes(),
                    slabs,
                    live: live[index],
                    free: blocks.saturating_sub(live[index]),
                    cached: cached[index],
                };
                push(&mut snapshot.classes, row)?;
            }
        }
        Ok(())
    }

    /// Removes an adapter, and says what it still has. [`remove_adapter_with`](Pool::remove_adapter_with) says what
    /// becomes of its blocks, and what holds while others call the pool. PASSIVE; walks all states.
    ///
    /// ```
    /// use storport_pool::{Pool, Status, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// pool.try_allocate(disk, 208, tag!("VioS"))?;
    /// let removal = pool.remove_adapter(disk)?;
    /// assert_eq!((removal.outstanding[0].tag, removal.blocks(), removal.bytes()), (tag!("VioS"), 1, 208));
    /// assert_eq!(pool.remove_adapter(disk).unwrap_err(), Status::INVALID_PARAMETER);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `INVALID_PARAMETER`: the adapter is unknown or being removed.
    pub fn remove_adapter(&self, adapter: AdapterId) -> Result<Removal, Status> {
        let mut outstanding = Vec::new();
        let Removed { exact } = self.remove_adapter_with(adapter, |row| outstanding.push(row))?;
        Ok(Removal { outstanding, exact })
    }

    /// Removes an adapter, says what it still has, and frees that. PASSIVE; walks all states.
    /// [`release_adapter_with`](Pool::release_adapter_with) does the same without allocating.
    ///
    /// ```
    /// use storport_pool::{Pool, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// pool.try_allocate(disk, 208, tag!("VioS"))?;
    /// // SAFETY: nobody uses the block any more.
    /// assert_eq!(unsafe { pool.release_adapter(disk)? }.blocks(), 1);
    /// assert_eq!(pool.usage().live, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `INVALID_PARAMETER`: the adapter is unknown or being removed.
    ///
    /// # Safety
    /// Nobody uses the adapter's blocks any more, and no free of one is in flight.
    pub unsafe fn release_adapter(&self, adapter: AdapterId) -> Result<Removal, Status> {
        let mut outstanding = Vec::new();
        // SAFETY: the caller's promise.
        let Removed { exact } = unsafe { self.release_adapter_with(adapter, |row| outstanding.push(row))? };
        Ok(Removal { outstanding, exact })
    }

    /// The live adapters and their names. PASSIVE: it allocates; O(adapters). [`add_adapter`](Pool::add_adapter) has an
    /// example.
    pub fn adapters(&self) -> Vec<(AdapterId, AdapterName)> {
        self.meta.live_adapters().filter_map(|id| Some((id, self.meta.adapter_name(id)?))).collect()
    }
}
