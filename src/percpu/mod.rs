//! The commit: how one CPU's cursor changes, in one store, whatever interrupts it.
//!
//! Three ways behind one trait: restartable sequences (`rseq`), masked interrupts (`masked`), and
//! the portable twin (`portable`), which claims the cursor. All of them leave what they cannot do
//! at once to the slow paths, and none of them waits.

pub(crate) mod masked;
#[cfg(feature = "std")]
pub(crate) mod native;
pub(crate) mod portable;
#[cfg(all(feature = "std", target_os = "linux", target_arch = "x86_64"))]
pub(crate) mod rseq;
mod steal;
#[cfg(feature = "std")]
pub(crate) mod thread;

use core::ptr::NonNull;

use crate::layout::classes::Class;
use crate::layout::control::Control;
use crate::layout::cursor::Cursor;
use crate::layout::header::{Account, BlockId, Header};
use crate::layout::meta::Meta;
use crate::sync::{AtomicU64, Ordering, fence};

/// The highest IRQL at which the pool may be called.
pub(crate) const DISPATCH: u32 = crate::Irql::DISPATCH.level() as u32;

/// How a pop ended.
#[derive(Clone, Copy)]
pub enum Pop {
    /// A block, counted; and the position below it, for prefetching the next.
    Got(BlockId, Cursor),
    /// No block; whether the allocation was counted already.
    Miss { counted: bool },
}

/// How the commit of a free ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Freed {
    /// Claimed and put into the loaded magazine.
    Done,
    /// Claimed; the caller holds the block.
    Claimed,
    /// Not claimed: a bad IRQL, no room, an abort, or the header has changed.
    Missed,
}

/// An allocated block as free found it: the index of its header, and what that was.
#[derive(Clone, Copy)]
pub struct Found {
    pub(crate) class: Class,
    pub(crate) block: BlockId,
    pub(crate) index: u64,
    pub(crate) header: Header,
}

/// What a pool runs on: the CPU number, the IRQL, and the way of committing.
///
/// Implemented by [`Native`](crate::Native) (std), [`Portable`] and
/// [`Masked`]; hosts supply a [`Host`] or a [`MaskInterrupts`] to the latter two.
pub trait Platform: Sync + Sized + sealed::Sealed {
    /// Sets what this platform needs in the control block of a pool that is being made.
    #[doc(hidden)]
    fn prepare(&self, _control: &mut Control, _base: NonNull<u8>) {}

    /// The caller's IRQL, as a number.
    #[doc(hidden)]
    fn irql(&self) -> u32;

    /// Whether the caller's IRQL forbids the call.
    #[doc(hidden)]
    #[inline(always)]
    fn above_dispatch(&self) -> bool {
        self.irql() > DISPATCH
    }

    /// The CPU whose cache the slow paths may use, if its number is below the count given at creation.
    #[doc(hidden)]
    fn cpu(&self, meta: &Meta) -> Option<u32>;

    /// At DISPATCH or below: claims an allocated block and puts it into this CPU's loaded
    /// magazine. Exact against whatever interrupts this CPU. Bounded.
    #[doc(hidden)]
    #[inline(always)]
    fn free(&self, meta: &Meta, found: Found) -> Freed {
        if self.above_dispatch() || !claim(meta.header_at(found.index), found.header) {
            Freed::Missed
        } else if self.push(meta, found.class, found.block) {
            Freed::Done
        } else {
            Freed::Claimed
        }
    }

    /// Puts a claimed block into this CPU's loaded magazine, if that has room. Bounded.
    #[doc(hidden)]
    fn push(&self, meta: &Meta, class: Class, block: BlockId) -> bool;

    /// At DISPATCH or below: takes a block from this CPU's loaded magazine and counts the
    /// allocation. Bounded.
    #[doc(hidden)]
    fn pop(&self, meta: &Meta, class: Class, account: Account) -> Pop;

    /// The cold second try of a pop that missed. Bounded.
    #[doc(hidden)]
    fn pop_again(&self, _meta: &Meta, _class: Class, _account: Account, counted: bool) -> Pop {
        Pop::Miss { counted }
    }

    /// Commits `new` to the CPU's cursor if it holds `expected`. One try.
    #[doc(hidden)]
    fn exchange(&self, meta: &Meta, cpu: u32, class: Class, expected: Cursor, new: Cursor) -> bool;

    /// Takes the loaded magazines of all CPUs; `None` for one that could not be had now. The
    /// caller holds the reclaim claim.
    #[doc(hidden)]
    fn steal(&self, meta: &Meta, class: Class, each: impl FnMut(Option<Cursor>));

    /// Between a header's store and the second look at the account word, after a fast pop.
    #[doc(hidden)]
    #[inline(always)]
    fn publish(&self) {
        // ORDERING: SeqCst - pairs with the fence in `fence_all`: either the closer's walk sees
        // the header, or we see the closed word.
        fence(Ordering::SeqCst);
    }

    /// Between closing account words and walking headers.
    #[doc(hidden)]
    fn fence_all(&self) {
        // ORDERING: SeqCst - pairs with `publish`.
        fence(Ordering::SeqCst);
    }
}

/// Claims an allocated block: of all who try with this header value, one wins. One RMW.
#[inline(always)]
pub(crate) fn claim(word: &AtomicU64, header: Header) -> bool {
    // ORDERING: AcqRel - Acquire: the block's slab was adopted before it was allocated;
    // Release: the caller's use of the block ended before it is free.
    word.compare_exchange(header.0, header.freed().0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// What a host tells the pool at every call.
///
/// Both answers are hints: a wrong one costs statuses and speed, never memory safety. Both are
/// asked at every allocate and free, from wherever those are called, so they must be
/// interrupt-safe and cheap.
pub trait Host: Sync {
    /// The number of the CPU that this code runs on. Numbers at or above
    /// [`Config::cpus`](crate::Config::cpus) are served by a slower, shared path.
    fn cpu(&self) -> u32;

    /// The caller's IRQL.
    fn irql(&self) -> crate::Irql;
}

/// A host that can keep a CPU to itself for a few instructions.
///
/// # Safety
/// From `mask` to `unmask`, the code runs on one CPU, whose number [`Host::cpu`] returns, and no
/// other code that calls the pool runs on that CPU: interrupts that might call it are masked, and
/// the thread is not preempted. `fence(cpu)` returns only when every masked section that began on
/// that CPU before the call has ended, and what it wrote is visible to the caller (an
/// inter-processor interrupt does both).
pub unsafe trait MaskInterrupts: Host {
    /// What `mask` found, for `unmask` to restore.
    type State;

    /// Masks interrupts (or raises to DISPATCH), nesting.
    fn mask(&self) -> Self::State;

    /// Restores what `mask` found.
    fn unmask(&self, state: Self::State);

    /// Waits until masked sections that began on `cpu` before the call have ended. Called by
    /// allocate's slowest path and by host calls, unmasked; never by free.
    fn fence(&self, cpu: u32);
}

pub use masked::Masked;
pub use portable::Portable;
