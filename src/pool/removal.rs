//! Adapters: how they come, how they go, and what they leave.

use super::handle::Pool;
use crate::contract::adapter::AdapterId;
use crate::contract::status::Status;
use crate::contract::violation::{Outstanding, Removed};
use crate::layout::meta::Meta;
use crate::owners::accounts::UNUSED;
use crate::owners::adapters::{AdapterError, AdapterName};
use crate::percpu::claim::claim;
use crate::percpu::platform::Platform;
use crate::stock::put::put_claimed_slow;
use crate::stock::walk::Live;
use crate::sync::Ordering;

impl<P: Platform> Pool<P> {
    /// Adds an adapter: the owner that HwDeviceExtension stands for. Lock-free; PASSIVE, since it
    /// may have to walk the states for accounts that can be used again.
    ///
    /// # Errors
    /// [`AdapterError`], when as many live as the pool was made for, no account is left, or the pool's handles are used up.
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

    /// Removes an adapter and reports what it still has, by tag. The blocks stay allocated and
    /// belong to [`AdapterId::ORPHANS`], in whose name the host may free them. The violation hook hears of them too, as
    /// [`Leak`](crate::ViolationKind::Leak). `report` must not unwind: the adapter would stay half removed.
    ///
    /// May run while others allocate and free. From its start, the adapter's allocations get `INVALID_PARAMETER`. A
    /// free of one of its blocks either comes first, and then the block is not reported, or gets `INVALID_PARAMETER`.
    /// PASSIVE; walks all states.
    ///
    /// # Errors
    /// `INVALID_PARAMETER`, when the adapter is unknown or being removed.
    pub fn remove_adapter_with(
        &self,
        adapter: AdapterId,
        report: impl FnMut(Outstanding),
    ) -> Result<Removed, Status> {
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
    ) -> Result<Removed, Status> {
        self.remove(adapter, report, true)
    }

    fn remove(
        &self,
        adapter: AdapterId,
        mut report: impl FnMut(Outstanding),
        release: bool,
    ) -> Result<Removed, Status> {
        let meta = &self.meta;
        if !meta.begin_removal(adapter) {
            return Err(Status::INVALID_PARAMETER);
        }
        meta.close_accounts(|owner| owner == adapter);
        // From here on every allocation of this adapter has its state written, or undoes itself.
        let mut exact = self.platform.fence_all(meta);
        // And no section is left that may still count. If the system refuses, one may be: then the accounts stay its.
        exact &= self.platform.fence_sections(meta);
        let orphans = (!release).then(|| adapter.left());
        // What was never counted was never made live (I8).
        let mut any = !exact
            || meta
                .accounts()
                .any(|account| meta.account_key(account).owner() == adapter && meta.ever_counted(account));
        if let Some(orphans) = orphans.filter(|_| any) {
            any = false;
            meta.walk(|live| {
                if live.state.owner() == adapter {
                    any = true;
                    orphan(meta, live, orphans);
                }
            });
            if any {
                // No section is left that found the adapter's state: what is live now stays so. Without the fence,
                // one may still free a block that the walk counts.
                exact &= self.platform.fence_sections(meta);
            }
        }
        for account in meta.accounts() {
            let key = meta.account_key(account);
            if key.owner() != adapter {
                continue;
            }
            let mut found = Outstanding { tag: key.tag(), blocks: 0, bytes: 0 };
            if any && (!exact || meta.ever_counted(account)) {
                meta.walk(|live| {
                    let mine =
                        live.record.account == account && live.state.owner() == orphans.unwrap_or(adapter);
                    if mine && (!release || self.release(live)) {
                        found.add(live.record.bytes);
                    }
                });
            }
            if found.blocks > 0 {
                report(found);
                meta.report_leak(adapter, found);
            }
            if found.blocks > 0 && orphans.is_some() {
                meta.hand_account(account, orphans);
            } else if exact {
                meta.bury_account(account);
            }
        }
        meta.end_removal(adapter);
        meta.tell_refused_fence(&self.platform, adapter);
        Ok(Removed { exact })
    }

    /// Frees a removed adapter's block, unless its own undoing came first.
    fn release(&self, live: Live) -> bool {
        let won = claim(self.meta.state_word(live.class, live.block), live.state);
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
        // A removal whose fence was refused left accounts in which a section may still count. A fence of now says
        // that none does any more.
        if meta.fence_refused() && !(self.platform.fence_all(meta) && self.platform.fence_sections(meta)) {
            return;
        }
        for account in meta.accounts() {
            let key = meta.account_key(account);
            let owner = key.owner();
            if key == UNUSED || !owner.is_left() && !meta.adapter_removed(owner) {
                continue;
            }
            // Looked at before its adapter was seen to be gone, it may have another owner by now. From here on it
            // keeps this one: nobody else buries, and the removal is over.
            if meta.account_key(account).open() != key.open() {
                continue;
            }
            // Both kinds are closed, so no block of theirs comes up while we look.
            let mut used = false;
            meta.walk(|live| used |= live.record.account == account && live.state.owner() == owner);
            if !used {
                meta.bury_account(account);
            }
        }
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
