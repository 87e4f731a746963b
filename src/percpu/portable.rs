//! The portable twin: swap the cursor with CLAIMED, work, store it back. Whoever finds it claimed
//! (by the code it interrupted, or by another thread that shares the slot) goes elsewhere at once.

use core::ops::Range;

use super::generation::Inside;
use super::platform::sealed::Sealed;
use super::platform::{Host, Platform, Pop, PoppedMany, Stolen};
use crate::layout::block::{Account, BlockId};
use crate::layout::cell::count_seen;
use crate::layout::classes::Class;
use crate::layout::cursor::Cursor;
use crate::layout::meta::Meta;
use crate::sync::{AtomicU32, Ordering, store_swapped};

/// A claimed cursor's word.
struct Claimed<'a> {
    word: &'a AtomicU32,
    _inside: Inside,
}

/// Claims the cursor. `None`: somebody has it.
#[inline]
fn claim(meta: &Meta, cpu: u32, class: Class) -> Option<(Claimed<'_>, Cursor)> {
    let word = meta.cursor(cpu, class);
    let inside = Inside::enter();
    let claimed = Cursor::claimed(meta.generation(&inside));
    // ORDERING: Acquire - the entries of whoever stored the cursor back; pairs with the Release
    // in `unclaim` and the CAS in `exchange`.
    let seen = Cursor(word.swap(claimed.0, Ordering::Acquire));
    if seen == claimed {
        return None;
    }
    let held = if seen.is_claimed() { left_behind() } else { seen };
    Some((Claimed { word, _inside: inside }, held))
}

/// The claimer did not survive a fork; its magazine stays with it.
#[cold]
fn left_behind() -> Cursor {
    Cursor::NONE
}

/// Ends a claim.
#[inline]
fn unclaim(claimed: Claimed<'_>, cursor: Cursor) {
    // ORDERING: Release - the magazine's entries; pairs with the Acquire in `claim`.
    store_swapped(claimed.word, cursor.0, Ordering::Release);
}

#[inline]
pub(crate) fn push(meta: &Meta, cpu: u32, class: Class, block: BlockId) -> bool {
    let Some((claimed, cursor)) = claim(meta, cpu, class) else {
        return false;
    };
    let room = cursor.is_magazine() && !cursor.is_full();
    unclaim(claimed, if room { meta.put_id(cursor, block) } else { cursor });
    room
}

pub(crate) fn pop_many(
    meta: &Meta,
    cpu: u32,
    class: Class,
    account: Account,
    key: u64,
    blocks: &mut [u32],
) -> PoppedMany {
    const NOTHING: PoppedMany = PoppedMany { got: 0, counted: 0 };
    let cell = meta.cell(cpu, account, class);
    // ORDERING: Acquire - as in `pop`.
    let seen = cell.load(Ordering::Acquire);
    // ORDERING: Relaxed - as in `pop`.
    if meta.account_word(account).load(Ordering::Relaxed) != key || meta.not_implemented() {
        return NOTHING;
    }
    let Some((claimed, cursor)) = claim(meta, cpu, class) else {
        return NOTHING;
    };
    let (after, got) = take_ids(meta, class, cursor, blocks);
    if got > 0 && !count_seen(cell, seen, got as u64) {
        unclaim(claimed, cursor);
        return NOTHING;
    }
    unclaim(claimed, after);
    PoppedMany { got, counted: got as u64 }
}

/// Takes blocks of a magazine in hand that may have none; how many.
pub(crate) fn take_ids(meta: &Meta, class: Class, mut cursor: Cursor, blocks: &mut [u32]) -> (Cursor, usize) {
    let count = (meta.entries(class, cursor) as usize).min(blocks.len());
    for to in blocks.iter_mut().take(count) {
        let (block, rest) = meta.take_id(cursor);
        (*to, cursor) = (block.0, rest);
    }
    (cursor, count)
}

#[inline]
pub(crate) fn pop(meta: &Meta, cpu: u32, class: Class, account: Account, key: u64, counted: bool) -> Pop {
    let cell = meta.cell(cpu, account, class);
    // ORDERING: Acquire - before the look at the account: when that is open, the cell was not emptied yet (I13).
    let seen = cell.load(Ordering::Acquire);
    // ORDERING: Relaxed - compared whole; an open word says that its adapter is open (I9).
    if meta.account_word(account).load(Ordering::Relaxed) != key || meta.not_implemented() {
        return Pop::Miss { counted };
    }
    let Some((claimed, cursor)) = claim(meta, cpu, class) else {
        return Pop::Miss { counted };
    };
    if meta.entries(class, cursor) == 0 {
        unclaim(claimed, cursor);
        return Pop::Miss { counted };
    }
    let (block, rest) = meta.take_id(cursor);
    if !counted && !count_seen(cell, seen, 1) {
        unclaim(claimed, cursor);
        return Pop::Miss { counted };
    }
    unclaim(claimed, rest);
    Pop::Got(block, rest)
}

pub(crate) fn exchange(meta: &Meta, cpu: u32, class: Class, expected: Cursor, new: Cursor) -> bool {
    meta.cursor(cpu, class)
        // ORDERING: AcqRel - Release: `new`'s entries, for the next claim; Acquire: `expected`'s.
        .compare_exchange(expected.0, new.0, Ordering::AcqRel, Ordering::Relaxed)
        .is_ok()
}

pub(crate) fn steal(meta: &Meta, cpus: Range<u32>, class: Class, each: impl FnMut(Stolen)) {
    cpus.map(|cpu| steal_from(meta, cpu, class)).for_each(each);
}

fn steal_from(meta: &Meta, cpu: u32, class: Class) -> Stolen {
    // ORDERING: Relaxed - a first look.
    let seen = Cursor(meta.cursor(cpu, class).load(Ordering::Relaxed));
    if seen.is_none() || seen.is_magazine() && meta.entries(class, seen) == 0 {
        return Stolen::Nothing;
    }
    match claim(meta, cpu, class) {
        None => Stolen::Busy,
        Some((claimed, cursor)) if meta.entries(class, cursor) > 0 => {
            unclaim(claimed, Cursor::NONE);
            Stolen::Magazine(cursor)
        }
        Some((claimed, cursor)) => {
            unclaim(claimed, cursor);
            Stolen::Nothing
        }
    }
}

/// The platform of a host that gives the CPU's number and the IRQL. It commits by atomics alone, and masks nothing.
///
/// Interrupt handlers may call allocate and free at any point. Use it where interrupts cannot be masked cheaply, or
/// where the host has no inter-processor interrupt to fence with. [`Host`] has a longer example.
///
/// ```
/// use storport_pool::{Host, Irql, PoolOptions, Portable, SingleCpu};
/// let pool = PoolOptions::new(1 << 20).cpus(1).build_on(Portable::new(SingleCpu))?;
/// assert_eq!(pool.platform().host().irql(), Irql::PASSIVE);
/// # Ok::<(), storport_pool::CreateError>(())
/// ```
#[derive(Debug, Default)]
pub struct Portable<H> {
    host: H,
}

impl<H: Host> Portable<H> {
    /// The platform on this host. Any IRQL.
    pub const fn new(host: H) -> Portable<H> {
        Portable { host }
    }

    /// The host. Any IRQL.
    pub const fn host(&self) -> &H {
        &self.host
    }
}

impl<H: Host> Sealed for Portable<H> {}

impl<H: Host> Platform for Portable<H> {
    #[inline(always)]
    fn irql(&self) -> u32 {
        u32::from(self.host.irql().level())
    }

    #[inline(always)]
    fn cpu(&self, meta: &Meta) -> Option<u32> {
        let cpu = self.host.cpu();
        (cpu < meta.control().cpus).then_some(cpu)
    }

    #[inline(always)]
    fn push(&self, meta: &Meta, class: Class, block: BlockId) -> bool {
        self.cpu(meta).is_some_and(|cpu| push(meta, cpu, class, block))
    }

    #[inline(always)]
    fn pop(&self, meta: &Meta, class: Class, account: Account, key: u64) -> Pop {
        match self.cpu(meta) {
            Some(cpu) if !self.above_dispatch() => pop(meta, cpu, class, account, key, false),
            _ => Pop::Miss { counted: false },
        }
    }

    fn pop_many(
        &self,
        meta: &Meta,
        class: Class,
        account: Account,
        key: u64,
        blocks: &mut [u32],
    ) -> PoppedMany {
        match self.cpu(meta) {
            Some(cpu) if !self.above_dispatch() => pop_many(meta, cpu, class, account, key, blocks),
            _ => PoppedMany { got: 0, counted: 0 },
        }
    }

    fn exchange(&self, meta: &Meta, cpu: u32, class: Class, expected: Cursor, new: Cursor) -> bool {
        exchange(meta, cpu, class, expected, new)
    }

    fn steal(&self, meta: &Meta, cpus: Range<u32>, class: Class, each: impl FnMut(Stolen)) {
        steal(meta, cpus, class, each);
    }

    fn relax(&self) {
        self.host.relax();
    }
}
