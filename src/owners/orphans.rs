//! Accounts of what removed adapters left: when they crowd the table, those without blocks go, then all of them.

use super::accounts::Key;
use crate::contract::adapter::AdapterId;
use crate::layout::block::Account;
use crate::layout::meta::Meta;

/// The table is crowded when one in so many of its accounts is the orphans'.
const CROWD: usize = 4;

impl Meta {
    /// Makes room for live adapters' accounts, when orphans have a quarter of all. PASSIVE; walks the states twice at most.
    pub(crate) fn thin_orphans(&self) {
        if !self.orphans_crowd() {
            return;
        }
        // Somebody else is at it.
        let Some(_alone) = self.try_claim(&self.control().bury_claim) else { return };
        self.end_orphans(false);
        if self.orphans_crowd() {
            self.end_orphans(true);
        }
    }

    fn orphans_crowd(&self) -> bool {
        let left = self.accounts().filter(|&account| self.account_key(account).is_left()).count();
        left * CROWD >= self.control().account_mask.unsigned_abs()
    }

    /// Ends the orphans' accounts that no block refers to, or all: then their blocks count under the orphans' *other*
    /// account from now on. We hold the claim, so nobody else ends one.
    fn end_orphans(&self, all: bool) {
        // Only those that are there before the walk: it sees all their blocks.
        for account in self.accounts() {
            let key = self.account_key(account);
            if key.is_left() {
                self.change_account(account, key, key.candidate());
            }
        }
        self.walk(|live| {
            let account = live.record.account;
            let Some(key) = self.key_of(live.state, live.record).filter(|_| !account.is_other()) else {
                return;
            };
            if !key.is_left() {
                return;
            }
            if !all {
                self.change_account(account, key.candidate(), key.closed());
            } else if self.account_key(account) == key.candidate() {
                // No one else's record equals it: the account is not handed on yet.
                self.move_record(live.class, live.block, account, Account::ORPHANS);
            }
        });
        for account in self.accounts() {
            let key = self.account_key(account);
            if !key.is_left() || key != key.open().candidate() {
                continue;
            }
            if all {
                self.retire(account, key.open(), Account::ORPHANS, self.account_key(Account::ORPHANS));
            } else {
                self.bury(account, key.open());
            }
        }
    }

    /// Empties a removed adapter's *other* account: into that of the gone, or with the blocks that are these orphans'. `key`
    /// is its open one: a forked child's handler may have ended the removal, and the place have another adapter by now.
    pub(crate) fn leave_other(&self, account: Account, key: Key, orphans: Option<AdapterId>) {
        let into = orphans.map_or(self.gone_other(), |_| Account::ORPHANS);
        self.pour(account, key.closed(), into, self.account_key(into));
        let Some(orphans) = orphans else { return };
        self.walk(|live| {
            if live.state.owner() == orphans && live.record.account == account {
                self.move_record(live.class, live.block, account, Account::ORPHANS);
            }
        });
    }
}
