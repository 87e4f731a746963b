//! Adapters and accounts that were saved: looked at before anybody uses them, and put over those of another pool.

use super::accounts::{Key, OWN, UNUSED};
use crate::contract::adapter::AdapterId;
use crate::contract::fault::ImageFault;
use crate::contract::finding::{Finding, Subject};
use crate::layout::block::Account;
use crate::layout::classes::{CLASSES, Class};
use crate::layout::meta::Meta;
use crate::layout::zeroed::Zeroed;
use crate::stock::findings::{Findings, Proof};
use crate::sync::Ordering;

/// Counts are smaller. A larger one is negative, or would soon be.
const MOST: u64 = 1 << 47;

fn of_account(what: &'static str, account: Account) -> Finding {
    Finding::new(what, Subject::Account, account.0.unsigned_abs() as u64)
}

impl Meta {
    /// Checks saved adapters and accounts, and makes marks that say who works at one say that nobody does. The caller has
    /// the metadata to itself.
    pub(crate) fn check_owners(&self, findings: &mut Findings) -> Result<(), ImageFault> {
        for slot in self.slots() {
            let word = self.slot_word(slot);
            findings.ensure(self.settle_slot(slot).is_some(), Proof::Word, || {
                Finding::new("an adapter's place has no such life", Subject::Adapter, slot.into()).found(word)
            })?;
        }
        let own = self.account_key(self.own_account());
        findings.ensure(own == OWN, Proof::Word, || {
            Finding::new("the pool's own account is another one's", Subject::Account, 0)
                .found(own.0)
                .expected(OWN.0)
        })?;
        for account in self.accounts() {
            let key = self.account_key(account);
            let known = self.settle_account(account);
            // What nobody writes at any time, or what fits no adapter as it is.
            let proof = if key.is_leaving() || key.is_an_owners() { Proof::Owners } else { Proof::Word };
            findings.ensure(known, proof, || {
                of_account("an account's word is none that a pool writes", account).found(key.0)
            })?;
        }
        for account in self.accounts().chain(self.other_accounts()) {
            let counts = (0..CLASSES as u8).map(|class| self.count(account, Class(class)));
            let most = counts.max().unwrap_or(0);
            findings.ensure(most < MOST, Proof::Owners, || {
                of_account("an account's count is below zero", account).found(most)
            })?;
        }
        Ok(())
    }

    /// Whether nobody adds or removes an adapter, or ends an account: no word says so. (One whose remover did not survive a
    /// fork says so until an adapter is added.) The metadata is as it was copied.
    pub(crate) fn owners_stand_still(&self) -> bool {
        let keys = || self.accounts().map(|account| self.account_key(account));
        // ORDERING: Relaxed - the caller's.
        self.control().bury_claim.load(Ordering::Relaxed) == 0
            && self.slots().all(|slot| self.is_slot_at_rest(slot))
            && keys().all(|key| key == UNUSED || !key.is_leaving() && !key.is_opening())
    }

    /// Whether a saved block may be this one's: a live adapter's, one's that is being removed, or what one left.
    pub(crate) fn may_own(&self, owner: AdapterId) -> bool {
        if owner.is_left() { self.has_lived(owner) } else { self.adapter_here(owner) }
    }

    /// Checks that nobody has more blocks than were ever counted. The states are checked. `None`: there is no memory to.
    pub(crate) fn check_counts(&self, findings: &mut Findings) -> Result<(), Option<ImageFault>> {
        let (first, all) = (self.control().account_mask, self.accounts().chain(self.other_accounts()));
        let place = |account: Account| (account.0 - first) as usize;
        let mut live = Zeroed::new(all.count() * 8).ok_or(None)?;
        self.walk(|block| {
            if self.key_of(block.state, block.record).is_some() {
                live.words()[place(block.record.account)] += 1;
            }
        });
        for account in self.accounts().chain(self.other_accounts()) {
            let counted: u64 =
                (0..CLASSES as u8).map(|class| self.count(account, Class(class))).fold(0, u64::wrapping_add);
            let has = live.words()[place(account)];
            findings.ensure(counted >= has, Proof::Owners, || {
                of_account("an account has more blocks than it counted", account).found(has).expected(counted)
            })?;
        }
        Ok(())
    }

    /// Whether an account's word is one that a pool writes.
    fn settle_account(&self, account: Account) -> bool {
        let key = self.account_key(account);
        // No verifier watches it.
        // ORDERING: Relaxed - as below.
        self.account_word(account).store(key.0, Ordering::Relaxed);
        if key == UNUSED || key.is_leaving() && key == key.closed() {
            if key.is_leaving() {
                // Emptied by somebody who is no more: then it is dead.
                // ORDERING: Relaxed - the metadata is the caller's.
                self.account_word(account).store(Key::leaving(0).0, Ordering::Relaxed);
            }
            return true;
        }
        let live = self.adapter_live(key.owner());
        let placed = || self.places(key.open()).any(|place| place == account);
        match key {
            _ if !key.is_an_owners() => false,
            _ if key == key.open() => live && placed(),
            // Of a live adapter, only on the way to be opened.
            _ if key == key.closed() => !live,
            _ => true,
        }
    }
}
