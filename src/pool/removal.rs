//! Adapters: how they come, how they go, and what they leave.

use super::handle::Pool;
use crate::contract::adapter::{AdapterId, AdapterName};
use crate::contract::status::Status;
use crate::contract::violation::{Outstanding, Removed};
use crate::layout::block::Account;
use crate::layout::meta::{Located, Meta};
use crate::owners::adapters::{AdapterError, Removing};
use crate::percpu::claim::claim;
use crate::percpu::platform::{DISPATCH, Platform};
use crate::routines::report::Call;
use crate::routines::ways::ways;
use crate::stock::put::put_claimed_slow;
use crate::stock::walk::Live;
use crate::sync::Ordering;
use crate::trace::emit::emit;

impl<P: Platform> Pool<P> {
    /// Adds an adapter: the owner that HwDeviceExtension stands for. A name of more than [`AdapterName::MAX`] bytes is
    /// cut.
    ///
    /// PASSIVE; lock-free. It may walk all states: to find accounts of orphans that can be used again, or, in a forked
    /// child, to end removals that its parent had begun.
    ///
    /// ```
    /// use storport_pool::Pool;
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// assert_eq!(pool.adapter_name(disk).unwrap().as_str(), "disk0");
    /// assert_eq!(pool.adapter_named("disk0"), Some(disk));
    /// assert_eq!(pool.adapters().len(), 1);
    /// pool.remove_adapter(disk)?;
    /// assert_eq!(pool.adapter_name(disk), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AdapterError`]: as many adapters live as the pool was made for, the pool's handles are used up, or the caller runs
    /// above DISPATCH.
    pub fn add_adapter(&self, name: &str) -> Result<AdapterId, AdapterError> {
        if self.platform.irql() > DISPATCH {
            return Err(AdapterError::Irql);
        }
        while let Some((adapter, removing)) = self.meta.adopt_removal() {
            self.finish_removal(adapter, removing, |_| {}, false);
        }
        self.meta.thin_orphans();
        self.meta.add_adapter(name)
    }

    /// The name of a live adapter. `None`: there is no such adapter, or no longer. Any IRQL; no loop but over the
    /// name's bytes. [`add_adapter`](Pool::add_adapter) has an example.
    pub fn adapter_name(&self, adapter: AdapterId) -> Option<AdapterName> {
        self.meta.adapter_name(adapter)
    }

    /// The live adapter with this name. If several have it, the first one. It is for a pool that was restored from
    /// another one's image, so that its handles are not known. Names are cut to [`AdapterName::MAX`] bytes. Any IRQL;
    /// walks the adapters. [`add_adapter`](Pool::add_adapter) has an example.
    pub fn adapter_named(&self, name: &str) -> Option<AdapterId> {
        self.meta.adapter_named(name)
    }

    /// Removes an adapter, and reports what it still has, by tag. The blocks stay allocated. They belong to
    /// [`AdapterId::ORPHANS`], in whose name the host may free them. The violation hook hears of them too, as
    /// [`Leak`](crate::ViolationKind::Leak). `report` must not unwind: the adapter would stay half removed. PASSIVE;
    /// walks all states.
    ///
    /// It may run while others allocate and free. From its start, the adapter's allocations get `INVALID_PARAMETER`. A
    /// free of one of its blocks may come first: then the block is not reported. Else it gets `INVALID_PARAMETER`.
    ///
    /// An allocation that is under way may have blocks already; a bulk call, as many as it was asked for. They may be
    /// reported, though the call then fails and gives them back. So the report is what callers have, if none of the
    /// adapter's allocations is under way.
    ///
    /// ```
    /// use storport_pool::{AdapterId, Pool, Status, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// let left = pool.try_allocate(disk, 208, tag!("VioS"))?;
    /// let removed = pool.remove_adapter_with(disk, |row| {
    ///     assert_eq!((row.tag, row.blocks, row.bytes), (tag!("VioS"), 1, 208));
    /// })?;
    /// assert!(removed.exact);
    /// assert_eq!(unsafe { pool.free(AdapterId::ORPHANS, left) }, Status::SUCCESS);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `INVALID_PARAMETER`: the adapter is unknown or being removed. `INVALID_IRQL`: the caller runs above DISPATCH.
    pub fn remove_adapter_with(
        &self,
        adapter: AdapterId,
        report: impl FnMut(Outstanding),
    ) -> Result<Removed, Status> {
        self.remove(adapter, report, false)
    }

    /// As [`remove_adapter_with`](Pool::remove_adapter_with), and frees what the adapter still has. PASSIVE; walks all
    /// states.
    ///
    /// ```
    /// use storport_pool::{Pool, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// pool.try_allocate(disk, 208, tag!("VioS"))?;
    /// // SAFETY: nobody uses the block any more.
    /// unsafe { pool.release_adapter_with(disk, |row| println!("{} {}", row.tag, row.blocks))? };
    /// assert_eq!(pool.usage().live, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `INVALID_PARAMETER`: the adapter is unknown or being removed. `INVALID_IRQL`: the caller runs above DISPATCH.
    ///
    /// # Safety
    /// Nobody uses the adapter's blocks any more, and no free of one is in flight.
    pub unsafe fn release_adapter_with(
        &self,
        adapter: AdapterId,
        report: impl FnMut(Outstanding),
    ) -> Result<Removed, Status> {
        self.remove(adapter, report, true)
    }

    fn remove(
        &self,
        adapter: AdapterId,
        report: impl FnMut(Outstanding),
        release: bool,
    ) -> Result<Removed, Status> {
        // The fence below is promised to hosts at DISPATCH or below.
        if self.platform.irql() > DISPATCH {
            return Err(Status::INVALID_IRQL);
        }
        let removing = self.meta.begin_removal(adapter).ok_or(Status::INVALID_PARAMETER)?;
        Ok(self.finish_removal(adapter, removing, report, release))
    }

    fn finish_removal(
        &self,
        adapter: AdapterId,
        removing: Removing,
        mut report: impl FnMut(Outstanding),
        release: bool,
    ) -> Removed {
        let meta = &self.meta;
        meta.close_accounts(|owner| owner == adapter);
        // From here on every allocation of this adapter has its state written, or undoes itself.
        let mut exact = self.platform.fence_all(meta);
        // And no section is left that may still count. If the system refuses, one may be: then the accounts stay its.
        exact &= self.platform.fence_sections(meta);
        let (orphans, owner) = (adapter.left(), if release { adapter } else { adapter.left() });
        let accounts = || {
            // Looked at once: a forked child's handler may end the removal, and the account be another adapter's.
            let its = move |account: Account| {
                let key = meta.account_key(account).open();
                (key.owner() == adapter).then_some((account, key))
            };
            meta.accounts().chain(meta.adapter_other(adapter)).filter_map(its)
        };
        // What was never counted was never made live (I8).
        let mut any = !exact || accounts().any(|(account, _)| meta.ever_counted(account));
        if any && !release {
            any = false;
            meta.walk(|live| {
                if live.state.owner() == adapter {
                    any = true;
                    orphan(meta, live, orphans);
                } else if live.state.owner() == orphans {
                    // By a remover that did not survive a fork, and who counted nothing.
                    any = true;
                }
            });
            if any {
                // No section is left that found the adapter's state: what is live now stays so. Without the fence,
                // one may still free a block that the walk counts.
                exact &= self.platform.fence_sections(meta);
            }
        }
        for (account, key) in accounts() {
            let mut found = Outstanding { tag: key.tag(), blocks: 0, bytes: 0 };
            if any && (!exact || meta.ever_counted(account)) {
                meta.walk(|live| {
                    // What is set aside has the orphans' handle already.
                    let its = live.state.owner() == owner || live.state.owner() == orphans;
                    if its && live.record.account == account && (!release || self.release(live)) {
                        found.add(live.record.bytes);
                    }
                });
            }
            if !meta.is_removing(removing) {
                // Ended, and told, by a forked child's handler.
                exact = false;
                break;
            }
            if found.blocks > 0 {
                report(found);
                meta.report_leak(adapter, found);
            }
            let kept = found.blocks > 0 && !release;
            if account.is_other() {
                meta.leave_other(account, key, kept.then_some(orphans));
            } else if kept {
                meta.settle(account, key);
                meta.hand_account(account, key, orphans);
            } else if exact {
                meta.bury(account, key);
            }
        }
        exact &= meta.end_removal(removing);
        meta.tell_refused_fence(&self.platform, adapter);
        emit!(self.platform.irql(), INFO, "removal", adapter = adapter.raw(), exact);
        Removed { exact }
    }

    /// Frees a removed adapter's block, unless its own undoing came first.
    fn release(&self, live: Live) -> bool {
        let won = claim(self.meta.state_word(live.class, live.block), live.state);
        if won {
            match self.meta.verifier().filter(|_| live.state.owner().is_left()) {
                Some(verifier) => {
                    let found =
                        Located { start: live.block, state: live.state, class: live.class, at_start: true };
                    let call = Call { caller: live.state.owner().plain(), irql: self.platform.irql() };
                    let _ = (ways(verifier).put)(self.meta, self.platform.opaque(), found, call);
                }
                // Of the class that its slab has now: the walk, which releases blocks, pins none.
                None => {
                    let _ = put_claimed_slow(self.meta, &self.platform, live.block);
                }
            }
        }
        won
    }
}

/// Gives a removed adapter's block to the orphans, unless it is freed, or undone, first. A free that found it live
/// may still write over this: then it is free. So the remover fences the sections before it counts.
fn orphan(meta: &Meta, live: Live, orphans: AdapterId) {
    let to = live.state.owned_by(orphans);
    // ORDERING: AcqRel - Release: nothing of ours; Acquire: as a claim.
    let _ = meta.state_word(live.class, live.block).compare_exchange(
        live.state.0,
        to.0,
        Ordering::AcqRel,
        Ordering::Relaxed,
    );
}
