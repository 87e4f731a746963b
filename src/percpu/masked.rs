//! The hook for hosts that mask interrupts, or raise to DISPATCH, around the commit.

use core::ops::Range;

use super::claim::{claim, find};
use super::platform::sealed::Sealed;
use super::platform::{DISPATCH, Freed, MaskInterrupts, Platform, Pop, PoppedMany, Stolen};
use super::portable::take_ids;
use super::steal::stop_and_take;
use crate::layout::block::{Account, BlockId};
use crate::layout::classes::Class;
use crate::layout::cursor::Cursor;
use crate::layout::meta::Meta;
use crate::layout::state::State;
#[cfg(all(debug_assertions, not(storport_pool_loom)))]
use crate::sync::AtomicBool;
use crate::sync::{Ordering, fence, store_swapped};

/// The platform of a host that masks interrupts around each commit. The fast paths have no locked instruction.
/// [`MaskInterrupts`] has an example.
///
/// ```
/// use storport_pool::{Host, Irql, MaskInterrupts, Masked, PoolOptions};
///
/// struct Kernel;
/// impl Host for Kernel {
///     fn cpu(&self) -> u32 { 0 }
///     fn irql(&self) -> Irql { Irql::PASSIVE }
/// }
/// // SAFETY: an example of one CPU without interrupts.
/// unsafe impl MaskInterrupts for Kernel {
///     type State = ();
///     fn mask(&self) {}
///     fn unmask(&self, (): ()) {}
///     fn fence(&self, _cpu: u32) {}
/// }
///
/// let pool = PoolOptions::new(1 << 20).cpus(1).build_on(Masked::new(Kernel))?;
/// assert_eq!(pool.platform().host().cpu(), 0);
/// # Ok::<(), storport_pool::CreateError>(())
/// ```
#[derive(Debug, Default)]
pub struct Masked<H> {
    host: H,
    #[cfg(all(debug_assertions, not(storport_pool_loom)))]
    inside: Inside,
}

impl<H: MaskInterrupts> Masked<H> {
    /// The platform on this host. Any IRQL.
    pub const fn new(host: H) -> Masked<H> {
        Masked {
            host,
            #[cfg(all(debug_assertions, not(storport_pool_loom)))]
            inside: Inside::nobody(),
        }
    }

    /// The host. Any IRQL.
    pub const fn host(&self) -> &H {
        &self.host
    }

    /// Sections on these CPUs that began before have ended; later ones see what we wrote before.
    fn fence(&self, cpus: Range<u32>) -> bool {
        // ORDERING: SeqCst, twice - what we wrote is visible before the host looks for sections or
        // interrupts them, and what we read afterwards is what they left.
        fence(Ordering::SeqCst);
        cpus.for_each(|cpu| self.host.fence(cpu));
        fence(Ordering::SeqCst);
        true
    }

    /// Runs `work` masked, with the CPU's number if that has a cache.
    #[inline(always)]
    fn masked<R>(&self, meta: &Meta, work: impl FnOnce(Option<u32>) -> R) -> R {
        let state = self.host.mask();
        let cpu = self.cpu(meta);
        #[cfg(all(debug_assertions, not(storport_pool_loom)))]
        self.inside.enter(cpu);
        let result = work(cpu);
        #[cfg(all(debug_assertions, not(storport_pool_loom)))]
        self.inside.leave(cpu);
        self.host.unmask(state);
        result
    }
}

/// Which CPUs are inside a masked section: what the host promises, looked at.
#[cfg(all(debug_assertions, not(storport_pool_loom)))]
#[derive(Debug, Default)]
struct Inside([AtomicBool; 32]);

#[cfg(all(debug_assertions, not(storport_pool_loom)))]
impl Inside {
    const fn nobody() -> Inside {
        Inside([const { AtomicBool::new(false) }; 32])
    }

    fn enter(&self, cpu: Option<u32>) {
        if let Some(inside) = cpu.and_then(|cpu| self.0.get(cpu as usize)) {
            // ORDERING: Relaxed - no other section of this CPU runs, or the host has broken its promise.
            let alone = !inside.swap(true, Ordering::Relaxed);
            assert!(alone, "two masked sections at once on CPU {cpu:?}: `Host::cpu` or `mask` is wrong");
        }
    }

    fn leave(&self, cpu: Option<u32>) {
        if let Some(inside) = cpu.and_then(|cpu| self.0.get(cpu as usize)) {
            // ORDERING: Relaxed - as in `enter`.
            inside.store(false, Ordering::Relaxed);
        }
    }
}

/// Pushes, with interrupts masked on `cpu`.
#[inline(always)]
fn push_masked(meta: &Meta, cpu: u32, class: Class, block: BlockId) -> bool {
    let word = meta.cursor(cpu, class);
    // ORDERING: Acquire - the entries behind a cursor that a stealer reset.
    let cursor = Cursor(word.load(Ordering::Acquire));
    if !cursor.is_magazine() || cursor.is_full() {
        return false;
    }
    // ORDERING: Release - the entry; pairs with the stealer's swap.
    store_swapped(word, meta.put_id(cursor, block).0, Ordering::Release);
    true
}

impl<H: MaskInterrupts> Sealed for Masked<H> {}

impl<H: MaskInterrupts> Platform for Masked<H> {
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
    fn free(&self, meta: &Meta, expected: State, block: BlockId, span: u32) -> Freed {
        if self.above_dispatch() {
            return Freed::Missed;
        }
        self.masked(meta, |cpu| {
            // `fence_sections` reaches the CPUs that have a cache, and no others.
            let Some(cpu) = cpu.filter(|_| !meta.not_implemented()) else { return Freed::Missed };
            let Some(found) = find(meta, expected, block, span) else {
                return Freed::Missed;
            };
            // Nothing on this CPU comes between look and store; another CPU's free in the same
            // instant is excepted, but for the `checked` profile.
            if cfg!(feature = "checked") {
                if !claim(found.word, expected) {
                    return Freed::Missed;
                }
            } else {
                // A remover may exchange the word meanwhile; it ends freed, whoever comes first.
                // ORDERING: Release - the caller's use of the block ended before it is free.
                store_swapped(found.word, expected.freed().0, Ordering::Release);
            }
            // No slab whose entry we have read is used anew before we unmask: `fence_sections`.
            if push_masked(meta, cpu, found.entry.class(), block) { Freed::Done } else { Freed::Claimed }
        })
    }

    fn pop_many(
        &self,
        meta: &Meta,
        class: Class,
        account: Account,
        key: u64,
        blocks: &mut [u32],
    ) -> PoppedMany {
        const NOTHING: PoppedMany = PoppedMany { got: 0, counted: 0 };
        if self.above_dispatch() {
            return NOTHING;
        }
        self.masked(meta, |cpu| {
            let Some(cpu) = cpu else { return NOTHING };
            // ORDERING: Relaxed - as in `pop`.
            if meta.account_word(account).load(Ordering::Relaxed) != key || meta.not_implemented() {
                return NOTHING;
            }
            let word = meta.cursor(cpu, class);
            // ORDERING: Acquire - as in `push`.
            let (after, got) = take_ids(meta, class, Cursor(word.load(Ordering::Acquire)), blocks);
            if got > 0 {
                let cell = meta.cell(cpu, account, class);
                // ORDERING: Relaxed, twice - as in `pop`.
                cell.store(cell.load(Ordering::Relaxed).wrapping_add(got as u64), Ordering::Relaxed);
                // ORDERING: Release - as in `push`.
                store_swapped(word, after.0, Ordering::Release);
            }
            PoppedMany { got, counted: got as u64 }
        })
    }

    #[inline(always)]
    fn push(&self, meta: &Meta, class: Class, block: BlockId) -> bool {
        self.masked(meta, |cpu| cpu.is_some_and(|cpu| push_masked(meta, cpu, class, block)))
    }

    #[inline(always)]
    fn pop(&self, meta: &Meta, class: Class, account: Account, key: u64) -> Pop {
        if self.above_dispatch() {
            return Pop::Miss { counted: false };
        }
        self.masked(meta, |cpu| {
            let Some(cpu) = cpu else { return Pop::Miss { counted: false } };
            // ORDERING: Relaxed - a remover that closed it fences us before it takes the counts.
            if meta.account_word(account).load(Ordering::Relaxed) != key || meta.not_implemented() {
                return Pop::Miss { counted: false };
            }
            let word = meta.cursor(cpu, class);
            // ORDERING: Acquire - as in `push`.
            let cursor = Cursor(word.load(Ordering::Acquire));
            if meta.entries(class, cursor) == 0 {
                return Pop::Miss { counted: false };
            }
            let (block, rest) = meta.take_id(cursor);
            let cell = meta.cell(cpu, account, class);
            // ORDERING: Relaxed, twice - only this CPU writes the cell, and we are masked.
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
            // ORDERING: Release - as in `push`.
            store_swapped(word, rest.0, Ordering::Release);
            Pop::Got(block, rest)
        })
    }

    fn exchange(&self, meta: &Meta, cpu: u32, class: Class, expected: Cursor, new: Cursor) -> bool {
        self.masked(meta, |here| {
            let word = meta.cursor(cpu, class);
            // ORDERING: Acquire - `expected`'s entries.
            if here != Some(cpu) || word.load(Ordering::Acquire) != expected.0 {
                return false;
            }
            // ORDERING: Release - `new`'s entries; pairs with the stealer's swap.
            store_swapped(word, new.0, Ordering::Release);
            true
        })
    }

    fn steal(&self, meta: &Meta, cpus: Range<u32>, class: Class, each: impl FnMut(Stolen)) {
        stop_and_take(meta, cpus, class, |cpus| self.fence(cpus), each);
    }

    fn relax(&self) {
        self.host.relax();
    }

    /// Above DISPATCH, as where a dump begins, no host is asked for a fence: a section that is under way ends as it would.
    fn switched(&self, meta: &Meta, _: bool) {
        if self.irql() <= DISPATCH {
            let _ = self.fence_sections(meta);
        }
    }

    /// The host promised.
    fn fence_sections(&self, meta: &Meta) -> bool {
        self.fence(0..meta.control().cpus)
    }
}
