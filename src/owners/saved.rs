//! Adapters and accounts that were saved: looked at before anybody uses them, and put over those of another pool.

use super::accounts::{Key, OWN, UNUSED};
use crate::contract::adapter::AdapterId;
use crate::contract::fault::ImageFault;
use crate::layout::block::Account;
use crate::layout::classes::{CLASSES, Class};
use crate::layout::meta::Meta;
use crate::layout::zeroed::Zeroed;
use crate::sync::Ordering;

/// Counts are smaller. A larger one is negative, or would soon be.
const MOST: u64 = 1 << 47;

impl Meta {
    /// Checks saved adapters and accounts, and makes marks that say who works at one say that nobody does. The caller has
    /// the metadata to itself.
    pub(crate) fn check_owners(&self) -> Result<(), ImageFault> {
        for slot in self.slots() {
            self.settle_slot(slot)
                .ok_or(ImageFault::new("an adapter's place has no such life", slot.into()))?;
        }
        if self.account_key(self.own_account()) != OWN {
            return Err(ImageFault::new("the pool's own account is another one's", 0));
        }
        for account in self.accounts() {
            if !self.settle_account(account) {
                let number = account.0.unsigned_abs() as u64;
                return Err(ImageFault::new("an account's word is none that a pool writes", number));
            }
        }
        for account in self.accounts().chain(self.other_accounts()) {
            let counts = (0..CLASSES as u8).map(|class| self.count(account, Class(class)));
            if counts.max().is_some_and(|most| most >= MOST) {
                return Err(ImageFault::new(
                    "an account's count is below zero",
                    account.0.unsigned_abs() as u64,
                ));
            }
        }
        Ok(())
    }

    /// Whether a saved block may be this one's: a live adapter's, one's that is being removed, or what one left.
    pub(crate) fn may_own(&self, owner: AdapterId) -> bool {
        if owner.is_left() { self.has_lived(owner) } else { self.adapter_here(owner) }
    }

    /// Checks that nobody has more blocks than were ever counted. The states are checked. `None`: there is no memory to.
    pub(crate) fn check_counts(&self) -> Result<(), Option<ImageFault>> {
        let (first, all) = (self.control().account_mask, self.accounts().chain(self.other_accounts()));
        let place = |account: Account| (account.0 - first) as usize;
        let mut live = Zeroed::new(all.count() * 8).ok_or(None)?;
        self.walk(|block| {
            if self.key_of(block.state, block.record).is_some() {
                live.words()[place(block.record.account)] += 1;
            }
        });
        for account in self.accounts().chain(self.other_accounts()) {
            let counted: u64 = (0..CLASSES as u8).map(|class| self.count(account, Class(class))).sum();
            if counted < live.words()[place(account)] {
                let number = account.0.unsigned_abs() as u64;
                return Err(Some(ImageFault::new("an account has more blocks than it counted", number)));
            }
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
