//! The operating system's platform: rseq sections where the process has them, else the twin.

use core::ptr::NonNull;

use super::sealed::Sealed;
use super::{Found, Freed, Platform, Pop, portable, thread};
use crate::layout::classes::Class;
use crate::layout::control::Control;
use crate::layout::cursor::Cursor;
use crate::layout::header::{Account, BlockId};
use crate::layout::meta::Meta;

/// How a pool on std commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Commit {
    /// Restartable sequences where kernel and C library have them, else the portable twin.
    /// The environment variable `STORPORT_POOL_COMMIT=portable` forces the twin.
    #[default]
    Auto,
    /// The portable twin.
    Portable,
}

/// The platform of a process: CPU number by rseq or a slot per thread, IRQL per thread
/// ([`Irql::raise`](crate::Irql::raise)).
#[derive(Clone, Copy, Debug, Default)]
pub struct Native {
    commit: Commit,
}

impl Native {
    /// The platform with this way of committing.
    #[must_use]
    pub const fn new(commit: Commit) -> Native {
        Native { commit }
    }
}

impl Sealed for Native {}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod commit {
    use super::*;
    use crate::percpu::claim;
    use crate::percpu::rseq;
    use crate::percpu::steal::stop_and_take;
    use rustix::thread::{MembarrierCommand, MembarrierQuery, membarrier, membarrier_query};

    /// Prepares the control block for rseq sections, if the process can run them and drain them.
    pub(super) fn enable(control: &mut Control, base: NonNull<u8>, wanted: bool) {
        // Without rseq the sections still run, and miss: all CPUs' blocks are the shared row's.
        control.rseq_offset = thread::offset();
        if !wanted {
            return;
        }
        let Some(offset) = rseq::area_offset() else { return };
        let query = membarrier_query();
        let wanted = MembarrierQuery::REGISTER_PRIVATE_EXPEDITED_RSEQ
            | MembarrierQuery::PRIVATE_EXPEDITED_RSEQ
            | MembarrierQuery::REGISTER_PRIVATE_EXPEDITED
            | MembarrierQuery::PRIVATE_EXPEDITED;
        if !query.contains(wanted) || register().is_err() {
            return;
        }
        control.rseq_offset = offset;
        control.rseq = true;
        for cpu in 0..control.cpus {
            control.cpu_blocks[cpu as usize] = base.addr().get() + control.geometry.cpu_block(cpu);
        }
    }

    #[inline(always)]
    pub(super) fn active(meta: &Meta) -> bool {
        meta.control().rseq
    }

    #[inline(always)]
    pub(super) fn cpu(meta: &Meta) -> u32 {
        rseq::cpu(meta)
    }

    pub(super) fn push(meta: &Meta, class: Class, block: BlockId) -> bool {
        rseq::push(meta, class, block)
    }

    #[inline(always)]
    pub(super) fn free(meta: &Meta, found: Found) -> Freed {
        if cfg!(feature = "checked") {
            if thread::above_dispatch() {
                return Freed::Missed;
            }
            return match claim(meta.header_at(found.index), found.header) {
                true if rseq::push(meta, found.class, found.block) => Freed::Done,
                true => Freed::Claimed,
                false => Freed::Missed,
            };
        }
        rseq::free(meta, found)
    }

    #[inline(always)]
    pub(super) fn pop(meta: &Meta, class: Class, account: Account) -> Pop {
        rseq::pop(meta, class, account)
    }

    pub(super) fn exchange(meta: &Meta, cpu: u32, class: Class, expected: Cursor, new: Cursor) -> bool {
        rseq::exchange(meta, cpu, class, expected, new)
    }

    pub(super) fn steal(meta: &Meta, class: Class, each: impl FnMut(Option<Cursor>)) {
        stop_and_take(meta, class, |_| fence(MembarrierCommand::PrivateExpeditedRseq), each);
    }

    pub(super) fn fence_all() {
        fence(MembarrierCommand::PrivateExpedited);
    }

    fn fence(command: MembarrierCommand) {
        if membarrier(command).is_ok() {
            return;
        }
        // A forked child may have to register again. If even that fails, going on could hand a
        // block out twice.
        if register().is_err() || membarrier(command).is_err() {
            std::process::abort();
        }
    }

    fn register() -> rustix::io::Result<()> {
        membarrier(MembarrierCommand::RegisterPrivateExpeditedRseq)?;
        membarrier(MembarrierCommand::RegisterPrivateExpedited)
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod commit {
    use super::*;

    pub(super) fn enable(_: &mut Control, _: NonNull<u8>, _: bool) {}

    pub(super) fn active(_: &Meta) -> bool {
        false
    }

    pub(super) fn cpu(_: &Meta) -> u32 {
        0
    }

    pub(super) fn push(_: &Meta, _: Class, _: BlockId) -> bool {
        false
    }

    pub(super) fn free(_: &Meta, _: Found) -> Freed {
        Freed::Missed
    }

    pub(super) fn pop(_: &Meta, _: Class, _: Account) -> Pop {
        Pop::Miss { counted: false }
    }

    pub(super) fn exchange(_: &Meta, _: u32, _: Class, _: Cursor, _: Cursor) -> bool {
        false
    }

    pub(super) fn steal(_: &Meta, _: Class, _: impl FnMut(Option<Cursor>)) {}

    pub(super) fn fence_all() {}
}

/// Whether the pool commits by rseq sections.
pub(crate) fn uses_rseq(meta: &Meta) -> bool {
    commit::active(meta)
}

/// The thread's cache in the twin.
fn slot(meta: &Meta) -> u32 {
    thread::slot() % meta.control().cpus
}

impl Platform for Native {
    fn prepare(&self, control: &mut Control, base: NonNull<u8>) {
        let forced = std::env::var_os("STORPORT_POOL_COMMIT").is_some_and(|value| value == "portable");
        commit::enable(control, base, self.commit == Commit::Auto && !forced);
    }

    #[inline(always)]
    fn irql(&self) -> u32 {
        thread::irql()
    }

    #[inline(always)]
    fn above_dispatch(&self) -> bool {
        thread::above_dispatch()
    }

    fn cpu(&self, meta: &Meta) -> Option<u32> {
        if !commit::active(meta) {
            return Some(slot(meta));
        }
        let cpu = commit::cpu(meta);
        (cpu < meta.control().cpus).then_some(cpu)
    }

    #[inline(always)]
    fn free(&self, meta: &Meta, found: Found) -> Freed {
        commit::free(meta, found)
    }

    fn push(&self, meta: &Meta, class: Class, block: BlockId) -> bool {
        if commit::active(meta) {
            commit::push(meta, class, block)
        } else {
            portable::push(meta, slot(meta), class, block)
        }
    }

    #[inline(always)]
    fn pop(&self, meta: &Meta, class: Class, account: Account) -> Pop {
        commit::pop(meta, class, account)
    }

    fn pop_again(&self, meta: &Meta, class: Class, account: Account, counted: bool) -> Pop {
        if commit::active(meta) {
            // The section would count again, so a counted pop goes on to the slow sources.
            if counted { Pop::Miss { counted } } else { commit::pop(meta, class, account) }
        } else {
            portable::pop(meta, slot(meta), class, account, counted)
        }
    }

    fn exchange(&self, meta: &Meta, cpu: u32, class: Class, expected: Cursor, new: Cursor) -> bool {
        if commit::active(meta) {
            commit::exchange(meta, cpu, class, expected, new)
        } else {
            portable::exchange(meta, cpu, class, expected, new)
        }
    }

    fn steal(&self, meta: &Meta, class: Class, each: impl FnMut(Option<Cursor>)) {
        if commit::active(meta) {
            commit::steal(meta, class, each);
        } else {
            portable::steal(meta, class, each);
        }
    }

    #[inline(always)]
    fn publish(&self) {
        // Only an rseq section pops fast here, and then `fence_all` is a membarrier: each CPU
        // passes a full fence, so program order is enough on this side.
        // ORDERING: compiler fence - keeps the header's store before the second look.
        crate::sync::compiler_fence(crate::sync::Ordering::SeqCst);
    }

    fn fence_all(&self) {
        commit::fence_all();
        // ORDERING: SeqCst - pairs with the twin's `publish`.
        crate::sync::fence(crate::sync::Ordering::SeqCst);
    }
}
