//! Who has what, by tag, size and call stack: what was left, and what grows.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use crate::contract::adapter::{AdapterId, AdapterName, Named};
use crate::contract::tag::PoolTag;
use crate::contract::verify::stack::{CallStack, FRAMES, StackKind};
use crate::owners::accounts::OTHER_TAG;
use crate::percpu::platform::Platform;
use crate::pool::handle::Pool;
use crate::verify::stacks::StackId;

/// A row of a [`LeakReport`]: live blocks of one adapter, tag, size and place of allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LeakRow {
    /// Whose they are. Blocks that removed adapters left have [`AdapterId::ORPHANS`] here, unless the report was asked
    /// for that adapter.
    pub adapter: AdapterId,
    /// The adapter's name, while it is there.
    pub name: Option<AdapterName>,
    /// Their tag. `None`: it found no account.
    pub tag: Option<PoolTag>,
    /// Bytes that each was asked for.
    pub bytes: u32,
    /// How many blocks.
    pub blocks: u64,
    /// Where they were allocated, if a verifier tracks them.
    pub allocated: CallStack,
}

impl LeakRow {
    /// Bytes of all blocks of the row. Any IRQL. [`LeakReport`] has an example.
    #[must_use]
    pub fn total(&self) -> u64 {
        u64::from(self.bytes) * self.blocks
    }

    fn key(&self) -> Key {
        let mut frames = [0; FRAMES];
        for (to, &frame) in frames.iter_mut().zip(self.allocated.frames()) {
            *to = frame;
        }
        (self.adapter, self.tag, self.bytes, frames)
    }
}

type Key = (AdapterId, Option<PoolTag>, u32, [u64; FRAMES]);

/// Live blocks, by adapter, tag, size and place of allocation. [`Pool::leaks`] makes one. The rows with the most bytes
/// come first.
///
/// [`Display`](fmt::Display) is a table. Below each row is its call stack, if it has one.
///
/// ```
/// use storport_pool::{Pool, tag};
/// let pool = Pool::new(1 << 20)?;
/// let disk = pool.add_adapter("disk0")?;
/// for _ in 0..3 {
///     pool.try_allocate(disk, 208, tag!("Srb0"))?;
/// }
/// let report = pool.leaks(None);
/// assert_eq!((report.rows[0].blocks, report.rows[0].bytes, report.rows[0].total()), (3, 208, 624));
/// assert_eq!((report.blocks(), report.bytes()), (3, 624));
/// println!("{report}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LeakReport {
    /// The rows.
    pub rows: Vec<LeakRow>,
}

impl LeakReport {
    fn of(rows: impl IntoIterator<Item = LeakRow>) -> LeakReport {
        let mut merged = BTreeMap::<Key, LeakRow>::new();
        for row in rows {
            match merged.get_mut(&row.key()) {
                Some(seen) => seen.blocks += row.blocks,
                None => {
                    merged.insert(row.key(), row);
                }
            }
        }
        let mut rows: Vec<LeakRow> = merged.into_values().collect();
        rows.sort_by_key(|row| core::cmp::Reverse((row.total(), row.blocks)));
        LeakReport { rows }
    }

    /// What has grown since an earlier report, the mark. Each row has the number of blocks that it gained. It
    /// allocates, and costs O(rows): for PASSIVE.
    ///
    /// ```
    /// use storport_pool::{Pool, Status, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// let mut block = 0;
    /// assert_eq!(pool.allocate(disk, 208, tag!("Srb0"), Some(&mut block)), Status::SUCCESS);
    /// let mark = pool.leaks(Some(disk));
    /// assert_eq!(pool.allocate(disk, 64, tag!("Sens"), Some(&mut block)), Status::SUCCESS);
    /// let grown = pool.leaks(Some(disk)).since(&mark);
    /// assert_eq!((grown.rows[0].tag, grown.blocks(), grown.bytes()), (Some(tag!("Sens")), 1, 64));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn since(&self, mark: &LeakReport) -> LeakReport {
        let before: BTreeMap<Key, u64> = mark.rows.iter().map(|row| (row.key(), row.blocks)).collect();
        LeakReport::of(self.rows.iter().filter_map(|row| {
            let blocks = row.blocks.saturating_sub(before.get(&row.key()).copied().unwrap_or(0));
            (blocks > 0).then_some(LeakRow { blocks, ..*row })
        }))
    }

    /// How many blocks all rows have. Any IRQL; O(rows).
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.rows.iter().map(|row| row.blocks).sum()
    }

    /// How many bytes all rows have. Any IRQL; O(rows).
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.rows.iter().map(LeakRow::total).sum()
    }
}

impl fmt::Display for LeakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return f.write_str("no blocks\n");
        }
        writeln!(f, "{:>12}{:>10}{:>10}  {:<6}adapter", "bytes", "blocks", "each", "tag")?;
        for row in &self.rows {
            write!(f, "{:>12}{:>10}{:>10}  ", row.total(), row.blocks, row.bytes)?;
            match row.tag {
                Some(tag) => write!(f, "{tag:<6}")?,
                None => write!(f, "{:<6}", "-")?,
            }
            write!(f, "{}", Named(row.adapter, row.name))?;
            match row.allocated.kind() {
                StackKind::NotTracked => {}
                _ => write!(f, "{}", row.allocated.report())?,
            }
            writeln!(f)?;
        }
        writeln!(f, "{:>12}{:>10}  in all", self.bytes(), self.blocks())
    }
}

impl<P: Platform> Pool<P> {
    /// A leak report: the live blocks of an adapter, or of all, by tag, size and place of allocation. The adapter may
    /// be removed already. Then the report has what it left. The place is known for blocks that a verifier
    /// [tracks](crate::Rule::track).
    ///
    /// It is exact when no call is in flight. PASSIVE; walks all states, and keeps some 200 bytes for each distinct
    /// row.
    ///
    /// ```
    /// use storport_pool::{Pool, Status, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// let mut block = 0;
    /// for _ in 0..3 {
    ///     assert_eq!(pool.allocate(disk, 208, tag!("Srb0"), Some(&mut block)), Status::SUCCESS);
    /// }
    /// pool.remove_adapter(disk)?;
    /// let left = pool.leaks(Some(disk));
    /// assert_eq!((left.rows[0].bytes, left.rows[0].blocks, left.bytes()), (208, 3, 624));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn leaks(&self, adapter: Option<AdapterId>) -> LeakReport {
        let meta = &self.meta;
        // By call stack's number first: equal stacks as a rule have one.
        let mut found = BTreeMap::<(AdapterId, Option<PoolTag>, u32, Option<StackId>), u64>::new();
        meta.walk(|live| {
            let owner = live.state.owner();
            let its = match adapter {
                Some(AdapterId::ORPHANS) => meta.owner_of(live.state) == AdapterId::ORPHANS,
                Some(adapter) => owner.plain() == adapter,
                None => true,
            };
            if !its {
                return;
            }
            let tag = meta.key_of(live.state, live.record).map(|key| key.tag());
            let note = meta.verifier().and_then(|verifier| verifier.note_of(live.block, live.state));
            let whose = adapter.unwrap_or_else(|| meta.owner_of(live.state));
            let key = (
                whose,
                tag.filter(|&tag| tag != OTHER_TAG),
                live.record.bytes,
                note.map(|note| note.allocated),
            );
            *found.entry(key).or_default() += 1;
        });
        LeakReport::of(found.into_iter().map(|((adapter, tag, bytes, stack), blocks)| {
            let allocated = match (meta.verifier(), stack) {
                (Some(verifier), Some(stack)) => verifier.stack(stack),
                _ => CallStack::default(),
            };
            LeakRow { adapter, name: meta.adapter_name(adapter), tag, bytes, blocks, allocated }
        }))
    }
}
