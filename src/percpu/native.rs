//! The operating system's platform: rseq sections where the process has them, else the twin.

use core::ops::Range;
use core::ptr::NonNull;

use super::platform::sealed::Sealed;
use super::platform::{Ask, Freed, Platform, Pop, PoppedMany, Stolen, Taken};
use super::{portable, thread};
use crate::contract::adapter::AdapterId;
use crate::layout::block::{Account, BlockId};
use crate::layout::classes::Class;
use crate::layout::control::Control;
use crate::layout::create_error::CreateError;
use crate::layout::cursor::Cursor;
use crate::layout::meta::Meta;
use crate::layout::state::State;
use crate::percpu::claim::find_and_claim;

/// How the calls of a pool on [`Native`] change a CPU's cache. [`PoolOptions::commit`](crate::PoolOptions::commit)
/// takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Commit {
    /// Restartable sequences (rseq), where the kernel and the C library have them and no CPU's number can be 512 or
    /// more. Else the portable commit.
    ///
    /// The environment variable `STORPORT_POOL_COMMIT=portable` forces the portable commit. `auto` does not. Any other
    /// word is an error ([`CreateError::CommitVariable`]).
    #[default]
    Auto,
    /// The portable commit: a locked instruction instead of a restartable sequence.
    Portable,
}

/// The platform of a process. The CPU's number comes from rseq, or else from a slot of the thread. The IRQL is the
/// thread's ([`Irql::raise`](crate::Irql::raise)).
///
/// **Unloading.** A shared library that contains it must not be unloaded (`dlclose`) while threads live that called the
/// pool. The kernel may still look at the section that they ran last. Link the library with `-z nodelete`.
///
/// **Forking.** `fork` is allowed, in handlers too. A `vfork` child must not call the pool. `docs/PROCESSES.md` says
/// more. It also tells which system calls the pool makes, and what becomes of it with threads that end, in sandboxes
/// and under limits.
///
/// ```
/// use storport_pool::{Commit, Native, PoolOptions};
/// // The same as `PoolOptions::new(1 << 20).commit(Commit::Portable).build()`.
/// let pool = PoolOptions::new(1 << 20).build_on(Native::new(Commit::Portable))?;
/// assert!(!pool.uses_rseq());
/// # Ok::<(), storport_pool::CreateError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Native {
    commit: Commit,
}

impl Native {
    /// The platform with this way to commit. Any IRQL.
    #[must_use]
    pub const fn new(commit: Commit) -> Native {
        Native { commit }
    }
}

impl Sealed for Native {}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod commit {
    use super::*;
    use crate::layout::classes::SpanSize;
    use crate::layout::config::MAX_CPUS;
    use crate::layout::control::NO_CPU;
    use crate::percpu::platform::DISPATCH;
    use crate::percpu::steal::stop_and_take;
    use crate::percpu::{bulk, rseq};
    use crate::sync::{AtomicU64, Ordering};
    use rustix::thread::{MembarrierCommand, MembarrierQuery, membarrier, membarrier_query};

    /// Prepares the control block for rseq sections, if the process can run them and drain them.
    pub(super) fn enable(control: &mut Control, base: NonNull<u8>, wanted: bool) {
        let base = base.addr().get();
        // Without rseq the sections still run, and miss: all CPUs' blocks are the shared row's.
        let shared = base + control.geometry.cpu_block(control.cpus);
        control.cpu_blocks =
            [const { AtomicU64::new(0) }; NO_CPU + MAX_CPUS].map(|_| AtomicU64::new(shared as u64));
        if !wanted {
            return;
        }
        let Some(offset) = rseq::area_offset() else { return };
        if !rseq::cpus_fit() {
            return;
        }
        let query = membarrier_query();
        let wanted = MembarrierQuery::REGISTER_PRIVATE_EXPEDITED_RSEQ
            | MembarrierQuery::PRIVATE_EXPEDITED_RSEQ
            | MembarrierQuery::REGISTER_PRIVATE_EXPEDITED
            | MembarrierQuery::PRIVATE_EXPEDITED;
        if !query.contains(wanted) || register().is_err() {
            return;
        }
        thread::publish_area(offset);
        control.rseq = true;
        for cpu in 0..control.cpus {
            let block = base + control.geometry.cpu_block(cpu);
            control.cpu_blocks[NO_CPU + cpu as usize] = AtomicU64::new(block as u64);
        }
    }

    /// Leads all CPUs to the shared row, or each to its own.
    pub(super) fn switch(meta: &Meta, down: bool) {
        let control = meta.control();
        let base = meta.base().addr();
        for cpu in 0..control.cpus {
            let block = base + control.geometry.cpu_block(if down { control.cpus } else { cpu });
            // ORDERING: Relaxed - the fence behind it ends all sections that may have read the former value.
            control.cpu_blocks[NO_CPU + cpu as usize].store(block as u64, Ordering::Relaxed);
        }
        // Refused: a section that read the former value may still end, as that of a call before the switch.
        let _ = fence_sections(meta);
    }

    #[inline(always)]
    pub(super) fn active(meta: &Meta) -> bool {
        meta.control().rseq
    }

    #[inline(always)]
    pub(super) fn cpu() -> u32 {
        thread::adopt();
        rseq::cpu()
    }

    pub(super) fn push(meta: &Meta, class: Class, block: BlockId) -> bool {
        thread::adopt();
        rseq::push(meta, class, block)
    }

    #[inline(always)]
    pub(super) fn free(meta: &Meta, expected: State, block: BlockId, span: u32) -> Freed {
        if !cfg!(feature = "checked") {
            return rseq::free(meta, expected, block, span);
        }
        if thread::irql() > DISPATCH || meta.not_implemented() {
            return Freed::Missed;
        }
        match find_and_claim(meta, expected, block, span) {
            None => Freed::Missed,
            Some(class) if rseq::push(meta, class, block) => Freed::Done,
            Some(_) => Freed::Claimed,
        }
    }

    #[inline(always)]
    pub(super) fn allocate(meta: &Meta, ask: Ask) -> Taken {
        rseq::allocate::<{ SpanSize::MOST.shift() }>(meta, ask)
    }

    #[inline(always)]
    pub(super) fn allocate_in_pages(meta: &Meta, ask: Ask) -> Taken {
        rseq::allocate::<{ SpanSize::PAGE.shift() }>(meta, ask)
    }

    pub(super) fn pop(meta: &Meta, class: Class, account: Account, key: u64) -> Pop {
        thread::adopt();
        rseq::pop(meta, class, account, key)
    }

    pub(super) fn free_run(meta: &Meta, owner: AdapterId, addresses: &[u64]) -> (usize, Freed) {
        // Where spans are of one page, each by itself.
        if meta.span_size().is_most() { bulk::free_run(meta, owner, addresses) } else { (0, Freed::Missed) }
    }

    pub(super) fn pop_many(
        meta: &Meta,
        class: Class,
        account: Account,
        key: u64,
        blocks: &mut [u32],
    ) -> PoppedMany {
        bulk::pop_many(meta, class, account, key, blocks)
    }

    pub(super) fn exchange(meta: &Meta, cpu: u32, class: Class, expected: Cursor, new: Cursor) -> bool {
        rseq::exchange(meta, cpu, class, expected, new)
    }

    pub(super) fn steal(meta: &Meta, cpus: Range<u32>, class: Class, each: impl FnMut(Stolen)) {
        stop_and_take(meta, cpus, class, |_| fence_sections(meta), each);
    }

    #[must_use]
    pub(super) fn fence_sections(meta: &Meta) -> bool {
        fence(meta, MembarrierCommand::PrivateExpeditedRseq)
    }

    #[must_use]
    pub(super) fn fence_all(meta: &Meta) -> bool {
        fence(meta, MembarrierCommand::PrivateExpedited)
    }

    /// Whether the kernel fenced the process's other threads. A sandbox that was entered since the pool was made may
    /// refuse; and the kernel may lack memory for a moment.
    fn fence(meta: &Meta, command: MembarrierCommand) -> bool {
        membarrier(command).is_ok()
            // A forked child may have to register again.
            || register().is_ok() && membarrier(command).is_ok()
            || meta.refuse_fence()
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

    pub(super) fn cpu() -> u32 {
        0
    }

    pub(super) fn push(_: &Meta, _: Class, _: BlockId) -> bool {
        false
    }

    pub(super) fn free(_: &Meta, _: State, _: BlockId, _: u32) -> Freed {
        Freed::Missed
    }

    pub(super) fn allocate(_: &Meta, _: Ask) -> Taken {
        Taken(Taken::MISSED)
    }

    pub(super) fn allocate_in_pages(_: &Meta, _: Ask) -> Taken {
        Taken(Taken::MISSED)
    }

    pub(super) fn pop(_: &Meta, _: Class, _: Account, _: u64) -> Pop {
        Pop::Miss { counted: false }
    }

    pub(super) fn free_run(_: &Meta, _: AdapterId, _: &[u64]) -> (usize, Freed) {
        (0, Freed::Missed)
    }

    pub(super) fn pop_many(_: &Meta, _: Class, _: Account, _: u64, _: &mut [u32]) -> PoppedMany {
        PoppedMany { got: 0, counted: 0 }
    }

    pub(super) fn exchange(_: &Meta, _: u32, _: Class, _: Cursor, _: Cursor) -> bool {
        false
    }

    pub(super) fn steal(_: &Meta, _: Range<u32>, _: Class, _: impl FnMut(Stolen)) {}

    pub(super) fn switch(_: &Meta, _: bool) {}

    pub(super) fn fence_sections(_: &Meta) -> bool {
        true
    }

    pub(super) fn fence_all(_: &Meta) -> bool {
        true
    }
}

/// Whether the environment forces the twin. C's `getenv` asks for no memory, and takes no lock that a fork could leave
/// taken.
#[cfg(target_os = "linux")]
fn twin_forced() -> Result<bool, CreateError> {
    use core::ffi::{CStr, c_char};
    unsafe extern "C" {
        fn getenv(name: *const c_char) -> *const c_char;
    }
    // SAFETY: a terminated name. Whoever changes the environment meanwhile has promised that nobody reads it.
    let value = unsafe { getenv(c"STORPORT_POOL_COMMIT".as_ptr()) };
    if value.is_null() {
        return Ok(false);
    }
    // SAFETY: not NULL, it is a terminated string.
    match unsafe { CStr::from_ptr(value) }.to_bytes() {
        b"" | b"auto" => Ok(false),
        b"portable" => Ok(true),
        _ => Err(CreateError::CommitVariable),
    }
}

/// There is the twin alone.
#[cfg(not(target_os = "linux"))]
fn twin_forced() -> Result<bool, CreateError> {
    Ok(true)
}

/// Whether the pool commits by rseq sections.
pub(crate) fn uses_rseq(meta: &Meta) -> bool {
    commit::active(meta)
}

/// The thread's cache in the twin.
fn slot(meta: &Meta) -> u32 {
    // At least one CPU has a cache: a remainder without a panic.
    thread::slot().checked_rem(meta.control().cpus).unwrap_or(0)
}

impl Platform for Native {
    /// Its calls do not look at how it was to commit: the pool's control block says how it does.
    #[inline(always)]
    fn opaque(&self) -> *const () {
        core::ptr::null()
    }

    unsafe fn of_opaque<'a>(_: *const ()) -> &'a Native {
        &Native { commit: Commit::Auto }
    }

    fn prepare(&self, control: &mut Control, base: NonNull<u8>) -> Result<(), CreateError> {
        let forced = twin_forced()?;
        commit::enable(control, base, self.commit == Commit::Auto && !forced);
        Ok(())
    }

    #[inline(always)]
    fn irql(&self) -> u32 {
        thread::irql()
    }

    fn cpu(&self, meta: &Meta) -> Option<u32> {
        if !commit::active(meta) {
            return Some(slot(meta));
        }
        let cpu = commit::cpu();
        (cpu < meta.control().cpus).then_some(cpu)
    }

    #[inline(always)]
    fn free(&self, meta: &Meta, expected: State, block: BlockId, span: u32) -> Freed {
        commit::free(meta, expected, block, span)
    }

    #[inline(always)]
    fn allocate(&self, meta: &Meta, ask: Ask) -> Taken {
        commit::allocate(meta, ask)
    }

    #[inline(always)]
    fn allocate_in_pages(&self, meta: &Meta, ask: Ask) -> Taken {
        commit::allocate_in_pages(meta, ask)
    }

    fn push(&self, meta: &Meta, class: Class, block: BlockId) -> bool {
        if commit::active(meta) {
            commit::push(meta, class, block)
        } else {
            portable::push(meta, slot(meta), class, block)
        }
    }

    fn pop(&self, meta: &Meta, class: Class, account: Account, key: u64) -> Pop {
        self.pop_again(meta, class, account, key, false)
    }

    fn pop_again(&self, meta: &Meta, class: Class, account: Account, key: u64, counted: bool) -> Pop {
        if commit::active(meta) {
            // The section would count again, so a counted pop goes on to the slow sources.
            if counted { Pop::Miss { counted } } else { commit::pop(meta, class, account, key) }
        } else {
            portable::pop(meta, slot(meta), class, account, key, counted)
        }
    }

    fn free_run(&self, meta: &Meta, owner: AdapterId, addresses: &[u64]) -> (usize, Freed) {
        if cfg!(feature = "checked") {
            // Each by a locked claim.
            return match addresses {
                [] => (0, Freed::Done),
                _ => (0, Freed::Missed),
            };
        }
        commit::free_run(meta, owner, addresses)
    }

    fn pop_many(
        &self,
        meta: &Meta,
        class: Class,
        account: Account,
        key: u64,
        blocks: &mut [u32],
    ) -> PoppedMany {
        if commit::active(meta) {
            return commit::pop_many(meta, class, account, key, blocks);
        }
        if self.above_dispatch() {
            return PoppedMany { got: 0, counted: 0 };
        }
        portable::pop_many(meta, slot(meta), class, account, key, blocks)
    }

    fn exchange(&self, meta: &Meta, cpu: u32, class: Class, expected: Cursor, new: Cursor) -> bool {
        if commit::active(meta) {
            commit::exchange(meta, cpu, class, expected, new)
        } else {
            portable::exchange(meta, cpu, class, expected, new)
        }
    }

    fn steal(&self, meta: &Meta, cpus: Range<u32>, class: Class, each: impl FnMut(Stolen)) {
        if commit::active(meta) {
            commit::steal(meta, cpus, class, each);
        } else {
            portable::steal(meta, cpus, class, each);
        }
    }

    fn relax(&self) {
        // A system call, which a handler may make too.
        if thread::irql() == 0 { std::thread::yield_now() } else { crate::sync::spin_loop() }
    }

    fn fence_sections(&self, meta: &Meta) -> bool {
        !commit::active(meta) || commit::fence_sections(meta)
    }

    fn switched(&self, meta: &Meta, down: bool) {
        if commit::active(meta) {
            commit::switch(meta, down);
        }
    }

    fn fence_all(&self, meta: &Meta) -> bool {
        // Each CPU passes a full fence, so program order is enough in the section's second look.
        let fenced = !commit::active(meta) || commit::fence_all(meta);
        // ORDERING: SeqCst - pairs with the fence of the slow paths.
        crate::sync::fence(crate::sync::Ordering::SeqCst);
        fenced
    }
}
