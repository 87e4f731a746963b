//! Misuse: what the caller did, and what Windows would have stopped the machine with.

use core::fmt;

use crate::contract::adapter::{AdapterId, AdapterName, Named};
use crate::contract::irql::Irql;
use crate::contract::tag::PoolTag;
use crate::contract::verify::evidence::Evidence;
use crate::contract::verify::stack::{CallStack, StackKind};
use crate::contract::words::{Count, pad};

/// What the caller did wrong. [`Violation`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum ViolationKind {
    /// The block was freed already.
    DoubleFree,
    /// The address lies in the pool, but no block is there. None ever was, or its slab has been retired since.
    Wild,
    /// The address lies outside the pool.
    Foreign,
    /// The address lies inside a live block, not at its start.
    Interior,
    /// The block belongs to another adapter.
    WrongOwner,
    /// The block has another tag than the one passed to [`Pool::free_with_tag`](crate::Pool::free_with_tag).
    WrongTag,
    /// Blocks were left when their adapter was removed, or their pool dropped.
    Leak,
    /// A request for zero bytes.
    ZeroSize,
    /// The tag is 0 (strict tags only).
    ZeroTag,
    /// The tag is "BIG" (strict tags only).
    BigTag,
    /// The tag has no letter and no digit (strict tags only).
    UnreadableTag,
    /// Bytes behind a verified block were overwritten. Found when it was freed, or by a
    /// [`sweep`](crate::Verifier::sweep).
    Overrun,
    /// Bytes before a guarded block were overwritten. Found when it was freed.
    Underrun,
    /// A verified block was written to after it was freed. Found when it left the quarantine.
    WriteAfterFree,
    /// A guard page beside a block was touched ([`Pool::explain_fault`](crate::Pool::explain_fault)).
    AccessBeyond,
    /// A guarded block was touched after it was freed ([`Pool::explain_fault`](crate::Pool::explain_fault)).
    AccessFreed,
    /// An allocation above DISPATCH, under a rule with [`irql`](crate::Rule::irql).
    IrqlAllocate,
    /// A free above DISPATCH, under a rule with [`irql`](crate::Rule::irql).
    IrqlFree,
    /// The out pointer of an allocation held the address of a live block, under a rule with
    /// [`overwrite`](crate::Rule::overwrite).
    Overwritten,
    /// A [`Block`](crate::Block) or `OwnedBlock` was dropped where it could not be freed: above
    /// DISPATCH, or while the host's switch is down. It stays allocated. [`Adapter::adopt`](crate::Adapter::adopt)
    /// gives it back.
    Stranded,
    /// The last holder of an adapter was dropped above DISPATCH, where it cannot be removed. It stays, and so do its blocks.
    /// [`Pool::remove_adapter_with`](crate::Pool::remove_adapter_with) with the violation's `caller` removes it later.
    StrandedAdapter,
    /// The system refuses the fence (`membarrier`) that it granted when the pool was made. A sandbox that was entered
    /// since does that. From now on no memory moves from one CPU's cache to another's, nor from one block size to
    /// another. And removals are inexact ([`Removed::exact`](crate::Removed::exact)). It is nobody's misuse: it is told
    /// once for each pool, and not counted as a violation.
    FenceRefused,
}

impl ViolationKind {
    /// A few words for a person. Any IRQL.
    ///
    /// ```
    /// assert_eq!(storport_pool::ViolationKind::DoubleFree.describe(), "double free");
    /// ```
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            ViolationKind::DoubleFree => "double free",
            ViolationKind::Wild => "free of an address where no block is",
            ViolationKind::Foreign => "free of an address outside the pool",
            ViolationKind::Interior => "free of an address inside a block",
            ViolationKind::WrongOwner => "free of another adapter's block",
            ViolationKind::WrongTag => "free with another tag than the block's",
            ViolationKind::Leak => "blocks left behind",
            ViolationKind::ZeroSize => "allocation of zero bytes",
            ViolationKind::ZeroTag => "allocation with tag 0",
            ViolationKind::BigTag => "allocation with tag \"BIG\"",
            ViolationKind::UnreadableTag => "allocation with a tag without letter or digit",
            ViolationKind::Overrun => "write behind the end of a block",
            ViolationKind::Underrun => "write before the beginning of a block",
            ViolationKind::WriteAfterFree => "write to a block after it was freed",
            ViolationKind::AccessBeyond => "access beside a block",
            ViolationKind::AccessFreed => "access to a block after it was freed",
            ViolationKind::IrqlAllocate => "allocation above DISPATCH_LEVEL",
            ViolationKind::IrqlFree => "free above DISPATCH_LEVEL",
            ViolationKind::Overwritten => "allocation into a pointer that still owns a block",
            ViolationKind::Stranded => "block dropped where it could not be freed",
            ViolationKind::StrandedAdapter => "adapter dropped where it could not be removed",
            ViolationKind::FenceRefused => "the system refuses membarrier",
        }
    }
}

impl ViolationKind {
    /// What Windows 1903 and later hold against a tag, if anything.
    pub(crate) const fn of_strict_tag(tag: PoolTag) -> Option<ViolationKind> {
        if tag.raw() == 0 {
            return Some(ViolationKind::ZeroTag);
        }
        let bytes = tag.bytes();
        if bytes[0] == b'B' && bytes[1] == b'I' && bytes[2] == b'G' && matches!(bytes[3], 0 | b' ') {
            return Some(ViolationKind::BigTag);
        }
        let mut i = 0;
        while i < 4 {
            if bytes[i].is_ascii_alphanumeric() {
                return None;
            }
            i += 1;
        }
        Some(ViolationKind::UnreadableTag)
    }
}

impl fmt::Display for ViolationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.describe())
    }
}

/// A Windows bug check: its code and four parameters. [`Violation::bug_check`] gives one, and [`Violation`] has an
/// example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BugCheck {
    /// The code, for example 0xC2 (`BAD_POOL_CALLER`).
    pub code: u32,
    /// Parameters 1 to 4, as the bug check's page lists them. Where the pool does not have one (a page frame number,
    /// the address of the caller), it is 0.
    pub parameters: [u64; 4],
}

impl fmt::Display for BugCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.parameters;
        pad(f, format_args!("{:#X} ({a:#X}, {b:#X}, {c:#X}, {d:#X})", self.code))
    }
}

/// One misuse, as the host's hook gets it (`Pool::on_violation`). The pool's state is
/// intact when the hook runs. It displays as one line; [`report`](Violation::report) has more.
///
/// ```
/// use storport_pool::{Pool, ViolationKind, tag};
/// let pool = Pool::new(1 << 20)?;
/// let disk = pool.add_adapter("disk0")?;
/// let block = pool.try_allocate(disk, 208, tag!("VioS"))?;
/// pool.on_violation(move |violation| {
///     assert_eq!((violation.kind, violation.block), (ViolationKind::Interior, Some(block)));
///     assert_eq!((violation.bytes, violation.tag), (208, Some(tag!("VioS"))));
///     assert_eq!(violation.bug_check().code, 0xC2); // BAD_POOL_CALLER
///     eprintln!("{violation}");
/// });
/// unsafe { pool.free(disk, block + 16) };
/// assert_eq!(pool.violations(), 1);
/// unsafe { pool.free(disk, block) };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Violation {
    /// What was done.
    pub kind: ViolationKind,
    /// The address that was passed to free; 0 for a refused allocation.
    pub address: u64,
    /// Bytes that were requested: for the block of a free, for a refused allocation, or for all blocks left behind. 0 when
    /// there is no block.
    pub bytes: u64,
    /// How many blocks were left behind; 0 for other kinds.
    pub blocks: u64,
    /// The tag of the block, or of the refused allocation. Of a free block, the last one that it had.
    pub tag: Option<PoolTag>,
    /// The tag that was passed to [`free_with_tag`](crate::Pool::free_with_tag).
    pub given_tag: Option<PoolTag>,
    /// The adapter that owns the block, or owned it last.
    pub owner: Option<AdapterId>,
    /// The adapter in whose name the call was made. A [`FenceRefused`](ViolationKind::FenceRefused) of a call that
    /// names none has the number 0 here.
    pub caller: AdapterId,
    /// The owner's name, while the adapter is there.
    pub owner_name: Option<AdapterName>,
    /// The caller's name, while the adapter is there.
    pub caller_name: Option<AdapterName>,
    /// The level at which the call was made.
    pub irql: Irql,
    /// Where the block begins, if there is one.
    pub block: Option<u64>,
    /// Whether the block has a guard page ([`Rule::guard`](crate::Rule::guard)).
    pub guarded: bool,
    /// What was found in memory, for the kinds that look there.
    pub evidence: Option<Evidence>,
    /// Where the call was made, or the fault happened, if a verifier tracks the block.
    pub called: CallStack,
    /// Where the block was allocated, if a verifier tracks it.
    pub allocated: CallStack,
    /// Where it was freed, if a verifier tracks it.
    pub freed: CallStack,
}

impl Violation {
    /// Of a call; the rest is none.
    pub(crate) const fn new(kind: ViolationKind, caller: AdapterId, irql: Irql) -> Violation {
        Violation {
            kind,
            address: 0,
            bytes: 0,
            blocks: 0,
            tag: None,
            given_tag: None,
            owner: None,
            caller,
            owner_name: None,
            caller_name: None,
            irql,
            block: None,
            guarded: false,
            evidence: None,
            called: CallStack::none(StackKind::NotTracked),
            allocated: CallStack::none(StackKind::NotTracked),
            freed: CallStack::none(StackKind::NotTracked),
        }
    }

    /// What Windows would have stopped with. Any IRQL; no loop.
    ///
    /// Windows has no notion of a block's adapter. So `WrongOwner` becomes the nearest one, a free of an invalid
    /// address.
    ///
    /// Sources: `debugger/bug-check-0xc2--bad-pool-caller.md`; for leaks,
    /// `debugger/bug-check-0xc4--driver-verifier-detected-violation.md`; for what a verifier finds,
    /// `bug-check-0x19--bad-pool-header.md`, `bug-check-0xc1--special-pool-detected-memory-corruption.md`,
    /// `bug-check-0xc6--driver-caught-modifying-freed-pool.md`, `bug-check-0xcc--page-fault-in-freed-special-pool.md`
    /// and `bug-check-0xcd--page-fault-beyond-end-of-allocation.md`.
    #[must_use]
    pub fn bug_check(&self) -> BugCheck {
        const BAD_POOL_CALLER: u32 = 0xC2;
        const DRIVER_VERIFIER: u32 = 0xC4;
        const BAD_POOL_HEADER: u32 = 0x19;
        const SPECIAL_POOL: u32 = 0xC1;
        const MODIFYING_FREED_POOL: u32 = 0xC6;
        const FREED_SPECIAL_POOL: u32 = 0xCC;
        const BEYOND_ALLOCATION: u32 = 0xCD;
        const NON_PAGED_POOL: u64 = 0;
        let wrong = self.evidence.map_or(0, |evidence| evidence.address);
        let found = self.evidence.map_or(0, |evidence| {
            let [a, b, c, d, e, f, g, h, ..] = evidence.found;
            u64::from_le_bytes([a, b, c, d, e, f, g, h])
        });
        let raw = |tag: Option<PoolTag>| tag.map_or(0, |tag| u64::from(tag.raw()));
        let tag = raw(self.tag);
        let (code, parameters) = match self.kind {
            ViolationKind::DoubleFree => (BAD_POOL_CALLER, [0x07, 0, tag, self.address]),
            ViolationKind::Wild => (BAD_POOL_CALLER, [0x46, self.address, 0, 0]),
            ViolationKind::Foreign => (BAD_POOL_CALLER, [0x43, self.address, 0, 0]),
            ViolationKind::Interior | ViolationKind::WrongOwner => {
                (BAD_POOL_CALLER, [0x99, self.address, 0, 0])
            }
            ViolationKind::WrongTag => (BAD_POOL_CALLER, [0x0A, self.address, tag, raw(self.given_tag)]),
            ViolationKind::Leak => (DRIVER_VERIFIER, [0x62, 0, 0, self.blocks]),
            ViolationKind::ZeroSize => (BAD_POOL_CALLER, [0x00, 0, NON_PAGED_POOL, tag]),
            ViolationKind::ZeroTag => (BAD_POOL_CALLER, [0x9B, NON_PAGED_POOL, self.bytes, 0]),
            ViolationKind::BigTag => (BAD_POOL_CALLER, [0x9C, NON_PAGED_POOL, self.bytes, 0]),
            ViolationKind::UnreadableTag => (BAD_POOL_CALLER, [0x9D, tag, NON_PAGED_POOL, 0]),
            ViolationKind::Overrun if self.guarded => (SPECIAL_POOL, [self.address, wrong, 0, 0x24]),
            ViolationKind::Overrun => (BAD_POOL_HEADER, [0x21, self.address, self.bytes, found]),
            ViolationKind::Underrun => (SPECIAL_POOL, [self.address, wrong, 0, 0x23]),
            ViolationKind::WriteAfterFree => (MODIFYING_FREED_POOL, [wrong, 1, 0, 0]),
            ViolationKind::AccessBeyond => (BEYOND_ALLOCATION, [self.address, 0, 0, 0]),
            ViolationKind::AccessFreed => (FREED_SPECIAL_POOL, [self.address, 0, 0, 0]),
            ViolationKind::IrqlAllocate => {
                (BAD_POOL_CALLER, [0x08, self.irql.level().into(), NON_PAGED_POOL, self.bytes])
            }
            ViolationKind::IrqlFree | ViolationKind::Stranded if self.irql > Irql::DISPATCH => {
                (BAD_POOL_CALLER, [0x09, self.irql.level().into(), NON_PAGED_POOL, self.address])
            }
            // What is left stops nothing at run time: a rule of Static Driver Verifier, the host's switch, a sandbox.
            _ => (0, [0; 4]),
        };
        BugCheck { code, parameters }
    }
}

impl Violation {
    /// Who owns the block, or owned it last.
    pub(crate) fn owner(&self) -> Option<Named> {
        Some(Named(self.owner?, self.owner_name))
    }

    /// In whose name the call was made.
    pub(crate) fn caller(&self) -> Named {
        Named(self.caller, self.caller_name)
    }

    /// Whether the caller is somebody, and not the owner, who is named anyway.
    fn names_caller(&self) -> bool {
        self.caller != AdapterId::NOBODY && self.owner != Some(self.caller)
    }
}

/// One line, of whatever length. Names of adapters are quoted; what is not printable in them is escaped.
impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if self.address != 0 {
            write!(f, " at {:#x}", self.address)?;
        }
        if let Some(tag) = self.tag {
            write!(f, ", tag {tag:?}")?;
        }
        if let Some(given) = self.given_tag {
            write!(f, ", freed as {given:?}")?;
        }
        if self.blocks != 0 {
            write!(f, ", {}", Count(self.blocks, "block"))?;
        }
        if self.bytes != 0 {
            write!(f, ", {}", Count(self.bytes, "byte"))?;
        }
        if let Some(owner) = self.owner() {
            write!(f, ", of {owner}")?;
        }
        if self.names_caller() {
            write!(f, ", called for {}", self.caller())?;
        }
        match self.bug_check() {
            BugCheck { code: 0, .. } => Ok(()),
            bug_check => write!(f, "; Windows stops with {bug_check}"),
        }
    }
}

/// How a removal went. [`Pool::remove_adapter_with`](crate::Pool::remove_adapter_with) gives it, and has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Removed {
    /// Whether the report is exact. Then it has each block that was allocated when the removal looked, and no other. It
    /// also has the blocks of an allocation that was under way and then fails.
    ///
    /// `false`: the system refused the fence that proves that no call in the adapter's name was under way on another
    /// CPU ([`FenceRefused`](ViolationKind::FenceRefused)). Then a block that was allocated or freed at that very
    /// moment may be missing, or be one too many. It is also `false` in a forked child, when the removal was
    /// interrupted by a handler that ended it. The hook heard of the blocks then.
    pub exact: bool,
}

/// Blocks of one tag that an adapter had when it was removed. [`Pool::remove_adapter_with`](crate::Pool::remove_adapter_with) has
/// an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Outstanding {
    /// Their tag.
    pub tag: PoolTag,
    /// How many blocks.
    pub blocks: u64,
    /// Bytes that were requested for them.
    pub bytes: u64,
}

impl Outstanding {
    /// One block more, of so many requested bytes.
    pub(crate) fn add(&mut self, bytes: u32) {
        self.blocks += 1;
        self.bytes += u64::from(bytes);
    }
}
