//! The pool: creation, the two routines, adapters, and the host's switches.

use core::fmt;
#[cfg(not(storport_pool_loom))]
use core::ptr::NonNull;

use crate::allocate::{allocate, null_out_slow};
use crate::contract::hook::HookRecord;
use crate::free::{free, put_claimed_slow, refuse_tag};
use crate::layout::classes::{CLASS_SLOTS, Class, SPAN};
use crate::layout::control::Control;
use crate::layout::cursor::Cursor;
use crate::layout::geometry::{Config, CreateError, Geometry};
use crate::layout::memory::Memory;
#[cfg(storport_pool_loom)]
use crate::layout::memory::Words;
use crate::layout::meta::Meta;
use crate::layout::range::Base;
use crate::owners::accounts::{Key, UNUSED};
use crate::owners::adapters::{AdapterError, AdapterName};
use crate::percpu::Platform;
use crate::sync::Ordering;
use crate::walk::Live;
use crate::{AdapterId, Outstanding, PoolTag, Status};

/// The platform of a [`Pool`] that names none.
#[cfg(feature = "std")]
pub type DefaultPlatform = crate::Native;
/// The platform of a [`Pool`] that names none.
#[cfg(not(feature = "std"))]
pub type DefaultPlatform = crate::Portable<SingleCpu>;

/// A host of one CPU whose callers all run at [`Irql::PASSIVE`](crate::Irql::PASSIVE).
#[derive(Clone, Copy, Debug, Default)]
pub struct SingleCpu;

impl crate::Host for SingleCpu {
    fn cpu(&self) -> u32 {
        0
    }

    fn irql(&self) -> crate::Irql {
        crate::Irql::PASSIVE
    }
}

/// A tagged, per-CPU slab pool over an address range.
///
/// Dropping it reports blocks that are still allocated to the violation hook, then gives the memory
/// back.
///
/// | routine | IRQL | progress | bound |
/// |---|---|---|---|
/// | [`free`](Pool::free) | <= DISPATCH | wait-free | docs/CONCURRENCY.md, section 4 |
/// | [`allocate`](Pool::allocate) | <= DISPATCH | lock-free | none on its slow paths |
/// | [`snapshot`](Pool::snapshot), [`trim`](Pool::trim), adapters | PASSIVE | as documented there | O(pool) |
///
/// Both routines may interrupt themselves and each other anywhere, in a signal or interrupt
/// handler too.
pub struct Pool<P: Platform = DefaultPlatform> {
    pub(crate) meta: Meta,
    pub(crate) base: Base,
    pub(crate) platform: P,
    #[cfg(feature = "std")]
    pub(crate) backing: Option<crate::source::Backing>,
}

/// What [`Pool::trim`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trimmed {
    /// Empty slabs that returned to the common stock.
    pub slabs: u64,
    /// Bytes given back to the operating system.
    pub bytes: u64,
}

/// Another trim or drain is under way; nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another trim or drain is under way")
    }
}

impl core::error::Error for Busy {}

impl<P: Platform> Pool<P> {
    /// A pool whose metadata lies in memory that the caller supplies. The core asks for no other.
    ///
    /// The range itself is never read or written, so it may be memory that the host cannot address.
    ///
    /// # Errors
    /// [`CreateError`], when the configuration is out of bounds or the metadata too small.
    ///
    /// # Safety
    /// `metadata` is valid for reads and writes as long as the pool and all that its calls handed
    /// out are in use, zeroed, and used by nothing else. Whoever uses addresses that the pool
    /// hands out must own the range.
    #[cfg(not(storport_pool_loom))]
    pub unsafe fn new_in(
        config: &Config,
        metadata: NonNull<[u8]>,
        platform: P,
    ) -> Result<Pool<P>, CreateError> {
        // SAFETY: the caller's promise.
        unsafe { Pool::build(config, metadata, platform, |_| {}) }
    }

    /// # Safety
    /// As [`new_in`](Pool::new_in); `adjust` only sets the fork word.
    #[cfg(not(storport_pool_loom))]
    pub(crate) unsafe fn build(
        config: &Config,
        metadata: NonNull<[u8]>,
        platform: P,
        adjust: impl FnOnce(&mut Control),
    ) -> Result<Pool<P>, CreateError> {
        let geometry = Geometry::new(config)?;
        let start = metadata.cast::<u8>();
        if metadata.len() < geometry.below + geometry.above || !start.addr().get().is_multiple_of(4096) {
            return Err(CreateError::Metadata);
        }
        // SAFETY: the sum lies inside the caller's memory, as just checked.
        let base = unsafe { start.byte_add(geometry.below) };
        let mut control = Control::new(config, geometry);
        control.cpu_blocks.fill(base.addr().get() + geometry.cpu_block(config.cpus));
        let place = base.cast::<Control>();
        // SAFETY: the place is aligned (base is a multiple of 4096), inside the memory, and ours.
        unsafe {
            control.fork_word = &raw const (*place.as_ptr()).own_generation;
            adjust(&mut control);
            platform.prepare(&mut control, base);
            place.write(control);
        }
        // SAFETY: the control block is written, the other words are zeroed by the caller's promise.
        let memory = unsafe { Memory::new(base) };
        Ok(Pool::over(memory, platform))
    }

    /// A pool whose words are loom's.
    ///
    /// # Errors
    /// As for any pool.
    #[cfg(storport_pool_loom)]
    pub fn modelled(config: &Config, platform: P) -> Result<Pool<P>, CreateError> {
        let mut words = Words::new(Control::new(config, Geometry::new(config)?));
        let control = words.control_mut();
        control.fork_word = &raw const control.own_generation;
        Ok(Pool::over(Memory::new(words), platform))
    }

    /// The control block is written; the other words are 0.
    fn over(memory: Memory, platform: P) -> Pool<P> {
        let meta = Meta::new(memory);
        for cpu in 0..=meta.control().cpus {
            for class in 0..CLASS_SLOTS as u8 {
                // ORDERING: Relaxed - not shared yet.
                meta.cursor(cpu, Class(class)).store(Cursor::NONE.0, Ordering::Relaxed);
            }
        }
        meta.init_accounts();
        meta.init_page_map();
        meta.init_spans();
        meta.init_adapters();
        Pool {
            meta,
            base: meta.range().base,
            platform,
            #[cfg(feature = "std")]
            backing: None,
        }
    }

    /// The platform.
    pub const fn platform(&self) -> &P {
        &self.platform
    }

    /// The first address of the range, and its bytes, after rounding.
    pub fn range(&self) -> (u64, u64) {
        let geometry = &self.meta.control().geometry;
        (self.base.0, u64::from(geometry.spans) * u64::from(SPAN))
    }

    /// `StorPortAllocatePool`: a block of `bytes` bytes, not zeroed.
    ///
    /// The address is a multiple of 16, and of 4096 from 4096 bytes up; a block of up to 4096
    /// bytes crosses no page boundary. `out` is set to 0 on every failure; `None` stands for a
    /// NULL out pointer. IRQL <= DISPATCH; lock-free.
    ///
    /// | status | when |
    /// |---|---|
    /// | `NOT_IMPLEMENTED` | the host's switch is down ([`set_not_implemented`](Pool::set_not_implemented)) |
    /// | `INVALID_PARAMETER` | `out` is `None`, `bytes` is 0, the adapter is unknown or removed, or the tag is refused |
    /// | `INVALID_IRQL` | the caller runs above DISPATCH |
    /// | `INSUFFICIENT_RESOURCES` | no block is free anywhere and nothing fits |
    ///
    /// Source: `storport/nf-storport-storportallocatepool.md`.
    #[inline]
    pub fn allocate(&self, adapter: AdapterId, bytes: u32, tag: PoolTag, out: Option<&mut u64>) -> Status {
        let Some(out) = out else { return null_out_slow(self.meta) };
        let answer = allocate(self.meta, &self.platform, Key::new(adapter, tag), bytes);
        #[cfg(storport_pool_asan)]
        self.meta.unpoison_block(answer.address, bytes);
        *out = answer.address;
        answer.status
    }

    /// `StorPortFreePool`: gives a block back. Any address may be passed; a bad one changes nothing.
    ///
    /// IRQL <= DISPATCH; wait-free, with the bound of docs/CONCURRENCY.md, section 4.
    ///
    /// | status | when |
    /// |---|---|
    /// | `NOT_IMPLEMENTED` | the host's switch is down |
    /// | `INVALID_PARAMETER` | `address` is 0, the adapter is unknown or removed, or `address` is no live block of this adapter (then the violation hook hears of it) |
    /// | `INVALID_IRQL` | the caller runs above DISPATCH |
    ///
    /// Source: `storport/nf-storport-storportfreepool.md`.
    ///
    /// # Safety
    /// The block is not used afterwards. A stale address that was handed out *again* in the
    /// meantime is that new block's address: freeing it succeeds, and the new owner's free is
    /// then the double one. Nobody can tell the two apart.
    #[inline]
    pub unsafe fn free(&self, adapter: AdapterId, address: u64) -> Status {
        free(self.meta, &self.platform, self.base.place_of(address), adapter)
    }

    /// `ExFreePoolWithTag`: as [`free`](Pool::free), but a live block of another tag is refused with
    /// `INVALID_PARAMETER`, and the hook hears of it. Not exact against others that free the block at the same
    /// time: free then decides.
    ///
    /// Source: `wdm/nf-wdm-exfreepoolwithtag.md`; `debugger/bug-check-0xc2--bad-pool-caller.md`, 0x0A.
    ///
    /// # Safety
    /// As [`free`](Pool::free).
    pub unsafe fn free_with_tag(&self, adapter: AdapterId, address: u64, tag: PoolTag) -> Status {
        if refuse_tag(self.meta, &self.platform, adapter, address, tag) {
            return Status::INVALID_PARAMETER;
        }
        // SAFETY: the caller's promise.
        unsafe { self.free(adapter, address) }
    }

    /// Adds an adapter: the owner that HwDeviceExtension stands for. Lock-free; PASSIVE, since it
    /// may have to walk the headers for accounts that can be used again.
    ///
    /// # Errors
    /// [`AdapterError`], when as many live as the pool was made for, or no account is left.
    pub fn add_adapter(&self, name: &str) -> Result<AdapterId, AdapterError> {
        match self.meta.add_adapter(name) {
            Err(AdapterError::NoAccount) => {
                self.bury_unused();
                self.meta.add_adapter(name)
            }
            other => other,
        }
    }

    /// The name of a live adapter.
    pub fn adapter_name(&self, adapter: AdapterId) -> Option<AdapterName> {
        self.meta.adapter_name(adapter)
    }

    /// Removes an adapter and reports what it still has, by tag. `report` must not unwind: the adapter would
    /// stay half removed. The blocks stay allocated and
    /// belong to [`AdapterId::ORPHANS`], in whose name the host may free them.
    ///
    /// May run while others allocate: from its start, the adapter's calls get `INVALID_PARAMETER`.
    /// PASSIVE; walks all headers.
    ///
    /// # Errors
    /// `INVALID_PARAMETER`, when the adapter is unknown or being removed.
    pub fn remove_adapter_with(
        &self,
        adapter: AdapterId,
        report: impl FnMut(Outstanding),
    ) -> Result<(), Status> {
        self.remove(adapter, report, false)
    }

    /// As [`remove_adapter_with`](Pool::remove_adapter_with), and frees what the adapter still has.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Safety
    /// Nobody uses the adapter's blocks any more, and no free of one is in flight.
    pub unsafe fn release_adapter_with(
        &self,
        adapter: AdapterId,
        report: impl FnMut(Outstanding),
    ) -> Result<(), Status> {
        self.remove(adapter, report, true)
    }

    fn remove(
        &self,
        adapter: AdapterId,
        mut report: impl FnMut(Outstanding),
        release: bool,
    ) -> Result<(), Status> {
        let meta = &self.meta;
        if !meta.begin_removal(adapter) {
            return Err(Status::INVALID_PARAMETER);
        }
        meta.close_accounts(|owner| owner == adapter);
        // From here on every allocation of this adapter has its header written, or undoes itself.
        self.platform.fence_all(meta);
        // And no section is left that may still count.
        self.platform.fence_sections(meta);
        for account in meta.accounts() {
            let key = meta.account_key(account);
            if key.owner() != adapter {
                continue;
            }
            let counted = meta.ever_counted(account);
            let mut found = Outstanding { tag: key.tag(), blocks: 0, bytes: 0 };
            if counted {
                meta.walk(|live| {
                    if live.account() == account && (!release || self.release(live)) {
                        found.add(live.header.bytes());
                    }
                });
            }
            if found.blocks > 0 {
                report(found);
                meta.report_leak(adapter, found);
            }
            if found.blocks > 0 && !release {
                meta.hand_account(account, Some(AdapterId::ORPHANS));
            } else {
                meta.bury_account(account);
            }
        }
        meta.end_removal(adapter);
        Ok(())
    }

    /// Tells the hook what was left allocated, by adapter and tag. The pool is ours alone.
    fn report_leaks(&mut self) {
        let meta = &self.meta;
        let mut any = false;
        meta.walk(|_| any = true);
        if !any {
            return;
        }
        for account in meta.accounts().filter(|&account| meta.ever_counted(account)) {
            let key = meta.account_key(account);
            let mut found = Outstanding { tag: key.tag(), blocks: 0, bytes: 0 };
            meta.walk(|live| {
                if live.account() == account {
                    found.add(live.header.bytes());
                }
            });
            if found.blocks > 0 {
                meta.report_leak(key.owner(), found);
            }
        }
    }

    /// Frees a removed adapter's block, unless its own undoing came first.
    fn release(&self, live: Live) -> bool {
        let word = self.meta.header_of(live.class, live.block);
        let won = crate::percpu::claim::claim(word, live.header);
        if won {
            // Of the class that its slab has now: the walk, which releases blocks, pins none.
            let _ = put_claimed_slow(self.meta, &self.platform, live.block);
        }
        won
    }

    /// Frees the accounts of orphans that nobody has any more, and those that an overtaken allocation made
    /// for an adapter when it was already gone.
    fn bury_unused(&self) {
        let meta = &self.meta;
        let Some(_alone) = meta.try_claim(&meta.control().bury_claim) else {
            return;
        };
        for account in meta.accounts() {
            let key = meta.account_key(account);
            let owner = key.owner();
            let orphaned = owner == AdapterId::ORPHANS && meta.adapter_other(owner) != Some(account);
            if key == UNUSED || !orphaned && !meta.adapter_removed(owner) {
                continue;
            }
            // Both kinds are closed, so no block of theirs comes up while we look.
            let mut used = false;
            meta.walk(|live| used |= live.account() == account);
            if !used {
                meta.bury_account(account);
            }
        }
    }

    /// The host's switch: while it is set, both routines (and so a dropped [`Block`](crate::Block)) return `NOT_IMPLEMENTED`, as they do on an
    /// old system or in dump mode. Walks the accounts. PASSIVE; one call at a time.
    pub fn set_not_implemented(&self, set: bool) {
        // ORDERING: SeqCst - pairs with the look in `adapter_open`.
        self.meta.control().not_implemented.store(u32::from(set), Ordering::SeqCst);
        if set {
            self.meta.close_accounts(|_| true);
            self.platform.fence_all(&self.meta);
        } else {
            self.meta.open_accounts();
        }
    }

    /// Publishes who hears of violations from now on; `None`: nobody.
    pub fn set_violation_hook(&self, hook: Option<&'static HookRecord>) {
        let record = hook.map_or(core::ptr::null_mut(), |record| core::ptr::from_ref(record).cast_mut());
        self.publish_hook(record);
    }

    pub(crate) fn publish_hook(&self, record: *mut HookRecord) {
        // ORDERING: Release - the record; pairs with the Acquire in `report`.
        self.meta.control().hook.store(record, Ordering::Release);
    }

    /// Violations found since creation.
    pub fn violations(&self) -> u64 {
        // ORDERING: Relaxed - a statistic.
        self.meta.control().violations.load(Ordering::Relaxed)
    }

    /// Returns empty slabs of all classes to the common stock, then hands runs of free spans that
    /// may be resident to `decommit` (address, bytes), which answers whether it gave them back.
    ///
    /// While a run is with `decommit`, nobody allocates from it; blocks that are being swept are
    /// not to be had either, and an allocation that misses them counts as `contended`. `decommit` must not
    /// unwind: its run would be lost. PASSIVE.
    ///
    /// # Errors
    /// [`Busy`], when another trim or drain is under way.
    pub fn trim_with(&self, mut decommit: impl FnMut(u64, u64) -> bool) -> Result<Trimmed, Busy> {
        let meta = &self.meta;
        let claim = meta.try_reclaim().ok_or(Busy)?;
        let slabs = u64::from(meta.sweep_all(&self.platform, &claim));
        // A gap or another consumer leaves runs for the next time.
        let _ = meta.collect_large();
        let span = u64::from(SPAN);
        let base = self.base.0;
        let given = meta
            .for_free_resident(|start, len| decommit(base + u64::from(start) * span, u64::from(len) * span));
        drop(claim);
        Ok(Trimmed { slabs, bytes: given * span })
    }
}

impl<P: Platform> fmt::Debug for Pool<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base, bytes) = self.range();
        write!(f, "Pool({bytes} bytes at {base:#x})")
    }
}

impl<P: Platform> Drop for Pool<P> {
    fn drop(&mut self) {
        self.report_leaks();
        #[cfg(feature = "alloc")]
        self.drop_hooks();
        // SAFETY: the pool is ours alone, and the last to use its words.
        #[cfg(storport_pool_loom)]
        unsafe {
            self.meta.memory().free();
        }
    }
}
