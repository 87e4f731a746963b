//! What accounts have counted, when they change hands: it is moved, never lost, and never left to the next owner.

use super::accounts::{Key, UNUSED};
use crate::contract::adapter::AdapterId;
use crate::layout::block::Account;
use crate::layout::cell::{add_to_cell, empty_cell};
use crate::layout::classes::{CLASSES, Class};
use crate::layout::meta::Meta;

fn classes() -> impl Iterator<Item = Class> {
    (0..CLASSES as u8).map(Class)
}

impl Meta {
    /// Whether anything was ever counted under an account.
    pub(crate) fn ever_counted(&self, account: Account) -> bool {
        classes().any(|class| self.count(account, class) != 0)
    }

    /// Counts an allocation in the shared row. `false`: the account is the key's no more.
    pub(crate) fn count_shared(&self, account: Account, key: Key, class: Class) -> bool {
        add_to_cell(self.shared_cell(account, class), 1, || self.account_key(account) == key)
    }

    /// Takes back an allocation that a section counted, and that found no block: from where the count is now.
    pub(crate) fn uncount(&self, account: Account, key: Key, class: Class) {
        let take_back = |account, owner: Key| {
            let cell = self.shared_cell(account, class);
            add_to_cell(cell, 1u64.wrapping_neg(), || self.account_key(account).open() == owner)
        };
        // While the account is the adapter's, or that of what it left, it has all that it counted.
        if take_back(account, key) || take_back(account, Key::new(key.owner().left(), key.tag())) {
            return;
        }
        let gone = Key::new(AdapterId::GONE, key.tag());
        let counted = |account| self.count(account, class) != 0;
        let kept = |account| {
            self.account_key(account).open() == gone && counted(account) && take_back(account, gone)
        };
        if self.accounts().any(kept) {
            return;
        }
        // No tag's totals have it, so it was moved where it has none.
        let other = if counted(self.gone_other()) { self.gone_other() } else { Account::ORPHANS };
        take_back(other, self.account_key(other));
    }

    /// Moves all that a closed account has counted to its cells of the shared row. Whoever found it open before counts
    /// first, or not at all. The sections are fenced.
    pub(crate) fn settle(&self, account: Account, key: Key) {
        let ours = || self.account_key(account).open() == key;
        for (cpu, class) in (0..self.control().cpus).flat_map(|cpu| classes().map(move |class| (cpu, class)))
        {
            let Some(count) = empty_cell(self.cell(cpu, account, class), ours) else { return };
            if count != 0 && !add_to_cell(self.shared_cell(account, class), count, ours) {
                // A forked child's handler was faster than its interrupted removal.
                self.add_to_gone(class, count);
            }
        }
    }

    /// Moves what lies in an account's cells of the shared row to another account while that has this key, else to the
    /// *other* account of the gone. Nobody else does it while the account has the key `from`.
    pub(crate) fn pour(&self, account: Account, from: Key, into: Account, key: Key) {
        for class in classes() {
            let cell = self.shared_cell(account, class);
            let Some(count) = empty_cell(cell, || self.account_key(account) == from) else { return };
            let valid = || self.account_key(into).open() == key;
            if count != 0 && !add_to_cell(self.shared_cell(into, class), count, valid) {
                self.add_to_gone(class, count);
            }
        }
    }

    fn add_to_gone(&self, class: Class, count: u64) {
        add_to_cell(self.other_cell(self.gone_other(), class), count, || true);
    }

    /// Frees the word of a settled account; its counts go to another one that was found with this key. When that is another
    /// owner's by now, to the *other* account of the gone.
    pub(crate) fn retire(&self, account: Account, key: Key, into: Account, found: Key) {
        let leaving = Key::leaving(self.generation_number());
        if self.retag(account, key, leaving) {
            self.pour(account, leaving, into, found);
            self.change_account(account, leaving, UNUSED);
        }
    }

    /// Ends a closed account of this key to which no block refers. Its totals go to the one account that keeps its tag's;
    /// it becomes that, if there is none yet.
    pub(crate) fn bury(&self, account: Account, key: Key) {
        self.settle(account, key);
        let gone = Key::new(AdapterId::GONE, key.tag());
        let keeper = self.accounts().find(|&other| self.account_key(other).open() == gone);
        if keeper.is_none() && self.ever_counted(account) {
            self.retag(account, key, gone.closed());
        } else {
            let other = self.gone_other();
            let (into, found) = keeper.map_or((other, self.account_key(other)), |keeper| (keeper, gone));
            self.retire(account, key, into, found);
        }
    }
}
