//! Sampling: now and then the next allocation of some account becomes a guarded one.

use super::accounts::Key;
use crate::contract::verify::rule::{checks, mix};
use crate::layout::block::Account;
use crate::layout::classes::{CLASSES, Class};
use crate::layout::meta::Meta;
use crate::sync::{Ordering, fence};
use crate::verify::verifier::Verifier;

impl Meta {
    /// Arms a sample, if so many allocations went by since the last one: in an account that is chosen by how many of them
    /// were its. The caller has the verifier's claim. PASSIVE; reads all counts. Whether one is armed now.
    pub(crate) fn arm_sample(&self, verifier: &Verifier) -> bool {
        let sampling = &verifier.sampling;
        // ORDERING: Relaxed, all - statistics, and words that the claim's holder alone writes.
        let every = sampling.every.load(Ordering::Relaxed);
        if every == 0 {
            return false;
        }
        let armed = sampling.armed.load(Ordering::Relaxed);
        let count = |account| (0..CLASSES as u8).map(|class| self.count(account, Class(class))).sum::<u64>();
        let total: u64 = self.accounts().chain(self.other_accounts()).map(count).sum();
        // A pool that was restored has counted less.
        if sampling.at.load(Ordering::Relaxed) > total {
            sampling.at.store(total, Ordering::Relaxed);
        }
        let since = total.saturating_sub(sampling.at.load(Ordering::Relaxed));
        if since < every {
            return armed != 0;
        }
        if armed != 0 {
            // Nobody has allocated there since: it is another one's turn.
            self.disarm(verifier, Account(-(armed as isize)));
        }
        let mut rest = mix(total) % since;
        let mut chosen = None;
        for (account, last) in self.accounts().zip(verifier.last()) {
            let now = count(account);
            let its = now.saturating_sub(last.swap(now, Ordering::Relaxed));
            if chosen.is_none() && rest < its {
                chosen = Some(account);
            }
            rest = rest.saturating_sub(its);
        }
        sampling.at.store(total, Ordering::Relaxed);
        let Some(account) = chosen else { return false };
        let key = self.account_key(account);
        sampling.armed.store(account.0.unsigned_abs() as u64, Ordering::Relaxed);
        // Fails if the account was closed meanwhile.
        let armed = key == key.open() && self.set_watched(account, key, true);
        if !armed {
            sampling.armed.store(0, Ordering::Relaxed);
            return false;
        }
        // ORDERING: SeqCst - pairs with the fence in `disarm`.
        fence(Ordering::SeqCst);
        if sampling.armed.load(Ordering::Relaxed) == 0 {
            // Taken, before the account was watched.
            self.unwatch(verifier, account);
        }
        true
    }

    /// Ends a sample that nobody took, or that is taken: whether it was still armed.
    fn disarm(&self, verifier: &Verifier, account: Account) -> bool {
        let number = account.0.unsigned_abs() as u64;
        // ORDERING: Relaxed - one of all who try takes it.
        let ours =
            verifier.sampling.armed.compare_exchange(number, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !ours {
            return false;
        }
        // ORDERING: SeqCst - pairs with the fence in `arm_sample`: it sees the sample taken, or we the account watched.
        fence(Ordering::SeqCst);
        self.unwatch(verifier, account);
        true
    }

    /// Opens an account's fast path, unless a rule is for it.
    fn unwatch(&self, verifier: &Verifier, account: Account) {
        let key = self.account_key(account);
        if key == key.open() {
            self.set_watched(account, key, false);
            // ORDERING: SeqCst - pairs with the fence in `watch_accounts`: it saw the account unwatched, or we see its rule.
            fence(Ordering::SeqCst);
            if verifier.watches(key.owner(), key.tag()) {
                self.set_watched(account, key, true);
            }
        }
    }

    /// What is checked of an allocation because it is a sample; `None`: it is none.
    pub(crate) fn take_sample(&self, verifier: &Verifier, account: Account, key: Key) -> Option<u32> {
        // ORDERING: Relaxed - `disarm` decides.
        let armed = verifier.sampling.armed.load(Ordering::Relaxed);
        if armed == 0 || account.is_other() || armed != account.0.unsigned_abs() as u64 {
            return None;
        }
        if self.account_key(account) != key || !self.disarm(verifier, account) {
            return None;
        }
        // ORDERING: Relaxed - a statistic.
        let taken = verifier.sampling.taken.fetch_add(1, Ordering::Relaxed);
        // Every other one finds what is written before the block.
        let before = if taken.is_multiple_of(2) { 0 } else { checks::BEFORE };
        Some(checks::CANARY | checks::TRACK | checks::QUARANTINE | checks::GUARD | before)
    }
}
