//! What a host may ask of an address.

use core::fmt;

use super::adapter::AdapterId;
use super::tag::PoolTag;
use super::words::pad;

/// What [`Pool::block_at`](crate::Pool::block_at) found at an address. That function has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BlockInfo {
    /// Where it begins.
    pub address: u64,
    /// Bytes that were asked for, by its last allocation or [resize](crate::Pool::resize).
    pub bytes: u32,
    /// Bytes that it has. [`resize`](crate::Pool::resize) makes all of them usable.
    pub capacity: u64,
    /// Whether it is allocated. If not, the other fields tell of its last owner.
    pub live: bool,
    /// The adapter that allocated it.
    pub owner: AdapterId,
    /// Its tag. `None`: the tag found no account ([`Config::accounts`](crate::Config::accounts)), or the block is free
    /// and its account has another use by now.
    pub tag: Option<PoolTag>,
}

/// Where a block is: with its caller, or in which store of free blocks.
/// [`Pool::inspect_block`](crate::Pool::inspect_block) finds it.
///
/// An empty slab has no state of its own. Its blocks lie in magazines, lie loose, or are not carved yet, until the span
/// becomes a free one. The functions run at any IRQL.
///
/// ```
/// use storport_pool::BlockState;
/// assert!(BlockState::Loaded { cpu: 3 }.is_cached() && BlockState::Loose.is_in_stock());
/// assert_eq!(BlockState::Spare { cpu: 3 }.to_string(), "cached: spare of CPU 3");
/// println!("{}", BlockState::Depot.describe());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum BlockState {
    /// A caller has it.
    Live,
    /// Free, in the magazine that this CPU has loaded.
    Loaded {
        /// The CPU's number.
        cpu: u32,
    },
    /// Free, in this CPU's spare magazine.
    Spare {
        /// The CPU's number.
        cpu: u32,
    },
    /// Free, in a magazine of the depot, which all CPUs share.
    Depot,
    /// Free, in no magazine.
    Loose,
    /// A large run that was freed. Nobody has collected its spans yet.
    FreedRun,
    /// Free, in the part of its slab that was never handed out.
    NeverCarved,
    /// A span that nobody uses. It has no blocks.
    FreeSpan,
    /// Freed, but kept from use for a while by the pool's [verifier](crate::Verifier).
    Quarantined,
    /// None of these. A call that is under way has it, or it moved during the look. At rest: a call that never ended
    /// had it.
    InHand,
}

impl BlockState {
    /// Whether it lies in a CPU's cache.
    #[must_use]
    pub const fn is_cached(self) -> bool {
        matches!(self, BlockState::Loaded { .. } | BlockState::Spare { .. })
    }

    /// Whether it lies in the stock, which all CPUs share: in a magazine of the depot, loose, or as a freed large run.
    #[must_use]
    pub const fn is_in_stock(self) -> bool {
        matches!(self, BlockState::Depot | BlockState::Loose | BlockState::FreedRun)
    }

    /// A few words for a person, without the CPU's number.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            BlockState::Live => "live",
            BlockState::Loaded { .. } => "cached: loaded by CPU",
            BlockState::Spare { .. } => "cached: spare of CPU",
            BlockState::Depot => "stock: depot",
            BlockState::Loose => "stock: loose",
            BlockState::FreedRun => "stock: freed run",
            BlockState::NeverCarved => "never carved",
            BlockState::FreeSpan => "free span",
            BlockState::Quarantined => "in quarantine",
            BlockState::InHand => "in hand",
        }
    }
}

impl fmt::Display for BlockState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            BlockState::Loaded { cpu } | BlockState::Spare { cpu } => {
                pad(f, format_args!("{} {cpu}", self.describe()))
            }
            _ => f.pad(self.describe()),
        }
    }
}

/// A block and where it is. [`Pool::inspect_block`](crate::Pool::inspect_block) and
/// [`Pool::inspect_page`](crate::Pool::inspect_page) give it, and have examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BlockDetail {
    /// Where it begins.
    pub address: u64,
    /// Bytes that it has. They are those of its size class, or of a large run's spans, or of a span without blocks.
    pub capacity: u64,
    /// Where it is.
    pub state: BlockState,
    /// Bytes that were asked for: by its caller, or by its last one. 0: it had none since its span was last given to
    /// blocks of this size.
    pub bytes: u32,
    /// The adapter that has it, or had it last.
    pub owner: Option<AdapterId>,
    /// Its tag, or its last one, as far as it is known ([`BlockInfo::tag`]).
    pub tag: Option<PoolTag>,
}
