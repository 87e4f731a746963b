//! Accounts: (adapter, tag) interned to the index of a word. The word is also the gate of both
//! fast paths: closing it makes their compare fail (I9).

use crate::layout::classes::{CLASSES, Class};
use crate::layout::control::NOBODY;
use crate::layout::header::Account;
use crate::layout::meta::Meta;
use crate::sync::{Ordering, fence};
use crate::{AdapterId, PoolTag};

/// An account word: tag above, owner below; 0 = unused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key(pub(crate) u64);

/// How many words an interning looks at.
/// (Loom: fewer than it has accounts.)
const PROBES: u32 = if cfg!(storport_pool_loom) { 2 } else { 8 };
/// In a word's owner: the account is closed, its fast paths are shut.
const CLOSED: u64 = NOBODY;

impl Key {
    #[inline(always)]
    pub(crate) const fn new(owner: AdapterId, tag: PoolTag) -> Key {
        Key((tag.raw() as u64) << 32 | owner.0 as u64)
    }

    pub(crate) const fn owner(self) -> AdapterId {
        AdapterId((self.0 & !CLOSED) as u32)
    }

    pub(crate) const fn tag(self) -> PoolTag {
        PoolTag::from_raw((self.0 >> 32) as u32)
    }

    const fn open(self) -> Key {
        Key(self.0 & !CLOSED)
    }

    /// Where the search for this key begins.
    #[inline(always)]
    pub(crate) const fn hash(self) -> u32 {
        // Multiplicative hashing: the high bits of a product depend on all bits of what was
        // multiplied, on the tag's last character and the owner's generation too.
        (self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 49) as u32
    }
}

impl Meta {
    /// The `n`th place where a key of this hash may stand.
    #[inline(always)]
    pub(crate) fn place(&self, hash: u32, n: u32) -> Account {
        Account(hash.wrapping_add(n) as isize | self.control().account_mask)
    }

    /// All accounts.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = Account> {
        (self.control().account_mask..0).map(Account)
    }

    /// Finds or makes the account of an open adapter; its *other* account when all places are taken.
    ///
    /// Also gives the open word: the caller's second look compares with that, never with what it
    /// finds in the account later, which may be a closed one.
    pub(crate) fn intern(&self, key: Key) -> Option<(Account, Key)> {
        let found = match self.reserve(key) {
            Some(account) => (account, key),
            None => (self.adapter_other(key.owner())?, Key::new(key.owner(), OTHER_TAG)),
        };
        // Closed since: the adapter is on its way out, or the pool's switch is down.
        (self.account_key(found.0) == found.1).then_some(found)
    }

    /// Finds or makes the word of a key, open or closed. `None`: all places are taken.
    pub(crate) fn reserve(&self, key: Key) -> Option<Account> {
        let hash = key.hash();
        for n in 0..PROBES {
            let place = self.place(hash, n);
            if self.account_key(place).open() == key {
                return Some(place);
            }
        }
        for n in 0..PROBES {
            let place = self.place(hash, n);
            let seen = self.account_key(place);
            // Interned since the first look.
            if seen.open() == key {
                return Some(place);
            }
            if seen.0 != 0 {
                continue;
            }
            // ORDERING: AcqRel - Release: nothing yet but the word; Acquire: pairs with other internings.
            match self.account_word(place).compare_exchange(0, key.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    // A closer that swept before us has not seen the word: look at what it set.
                    // ORDERING: SeqCst - pairs with the fence in `close_accounts`.
                    fence(Ordering::SeqCst);
                    if !self.adapter_open(key.owner()) {
                        self.close_account(place);
                    }
                    return Some(place);
                }
                Err(now) if Key(now).open() == key => return Some(place),
                Err(_) => {}
            }
        }
        None
    }

    fn close_account(&self, account: Account) {
        // ORDERING: AcqRel - as the CAS of `reserve`.
        self.account_word(account).fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// Shuts the fast paths of every account that `owner` accepts. The caller has marked the
    /// adapter, or the pool, before.
    pub(crate) fn close_accounts(&self, owner: impl Fn(AdapterId) -> bool) {
        // ORDERING: SeqCst - pairs with the fence in `reserve`.
        fence(Ordering::SeqCst);
        for account in self.accounts() {
            let key = self.account_key(account);
            if key.0 != 0 && owner(key.owner()) {
                self.close_account(account);
            }
        }
    }

    /// Opens every closed account whose adapter is open.
    pub(crate) fn open_accounts(&self) {
        self.accounts().for_each(|account| self.open_account(account));
    }

    /// Opens a closed account if its adapter is open.
    pub(crate) fn open_account(&self, account: Account) {
        let key = self.account_key(account);
        if key == key.open() || !self.adapter_open(key.owner()) {
            return;
        }
        let word = self.account_word(account);
        // ORDERING: AcqRel - as the CAS of `reserve`. A failure is another one's change.
        let _ = word.compare_exchange(key.0, key.open().0, Ordering::AcqRel, Ordering::Relaxed);
        // ORDERING: SeqCst - a closer that came in between is seen here, or sees us.
        fence(Ordering::SeqCst);
        if !self.adapter_open(key.owner()) {
            self.close_account(account);
        }
    }

    /// Gives a closed account to another owner, open if that is; or frees its word (`None`).
    pub(crate) fn hand_account(&self, account: Account, to: Option<AdapterId>) {
        let key = self.account_key(account);
        let word = to.map_or(0, |owner| Key::new(owner, key.tag()).0 | CLOSED);
        // ORDERING: Release - what the remover did; pairs with the Acquire in `account_key`.
        self.account_word(account).store(word, Ordering::Release);
        if to.is_some() {
            self.open_account(account);
        }
    }

    /// Closes one account if it still has this key: of all who try, one wins.
    pub(crate) fn try_close(&self, account: Account, key: Key) -> bool {
        // ORDERING: AcqRel - as the CAS of `reserve`.
        self.account_word(account)
            .compare_exchange(key.0, key.0 | CLOSED, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Frees a closed account's word. What was counted goes to the one account that keeps its tag's
    /// totals; this one becomes that, if there is none yet. No block refers to it.
    pub(crate) fn bury_account(&self, account: Account) {
        let tag = self.account_key(account).tag();
        let gone = Key::new(AdapterId::GONE, tag);
        let keeper = self.accounts().find(|&other| self.account_key(other).open() == gone);
        if !self.ever_counted(account) {
            self.hand_account(account, None);
        } else if let Some(keeper) = keeper {
            self.merge_counts(account, keeper);
            self.hand_account(account, None);
        } else {
            self.hand_account(account, Some(AdapterId::GONE));
        }
    }

    /// Whether anything was ever counted under an account.
    pub(crate) fn ever_counted(&self, account: Account) -> bool {
        (0..CLASSES as u8).any(|class| self.count(account, Class(class)) != 0)
    }

    /// Moves what was counted under one account to another.
    pub(crate) fn merge_counts(&self, from: Account, into: Account) {
        let control = self.control();
        for cpu in 0..=control.cpus {
            for class in (0..CLASSES as u8).map(Class) {
                // ORDERING: Relaxed - cells are sums; the account is closed and fenced.
                let count = self.cell(cpu, from, class).swap(0, Ordering::Relaxed);
                if count != 0 {
                    self.cell(control.cpus, into, class).fetch_add(count, Ordering::Relaxed);
                }
            }
        }
    }

    /// Allocations counted under an account, in one class.
    pub(crate) fn count(&self, account: Account, class: Class) -> u64 {
        (0..=self.control().cpus)
            // ORDERING: Relaxed - read after the walk (I8).
            .map(|cpu| self.cell(cpu, account, class).load(Ordering::Relaxed))
            .fold(0, u64::wrapping_add)
    }
}

/// The tag of an adapter's *other* account. No printable tag equals it.
pub(crate) const OTHER_TAG: PoolTag = PoolTag::from_raw(u32::MAX);
