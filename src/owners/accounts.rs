//! Accounts: (adapter, tag) interned to the index of a word. The word is also the gate of allocate's
//! fast path: closing it makes the compare fail (I9).

use crate::contract::adapter::AdapterId;
use crate::contract::tag::PoolTag;
use crate::layout::block::Account;
use crate::layout::classes::{CLASSES, Class};
use crate::layout::meta::Meta;
use crate::layout::state::{Record, State};
use crate::sync::{Ordering, fence};

/// An account word: tag above, owner below, and in the owner's low bits two that shut its fast path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key(pub(crate) u64);

/// How many words an interning looks at.
/// (Loom: fewer than it has accounts.)
const PROBES: isize = if cfg!(storport_pool_loom) { 3 } else { 8 };
/// The account is closed, its fast path is shut.
const CLOSED: u64 = 1;
/// With `CLOSED`: whoever set this is about to open it, unless a closer takes the bit away.
const OPENING: u64 = 2;
/// The word of an account that is not in use. No key equals it.
pub(crate) const UNUSED: Key = Key(AdapterId::NOBODY.0 as u64 | CLOSED);

const _: () = assert!(AdapterId::GONE.0 as u64 & (CLOSED | OPENING) == 0, "a handle leaves the bits free");

impl Key {
    #[inline(always)]
    pub(crate) const fn new(owner: AdapterId, tag: PoolTag) -> Key {
        Key((tag.raw() as u64) << 32 | owner.0 as u64)
    }

    pub(crate) const fn owner(self) -> AdapterId {
        AdapterId(self.open().0 as u32)
    }

    pub(crate) const fn tag(self) -> PoolTag {
        PoolTag::from_raw((self.0 >> 32) as u32)
    }

    /// The open word.
    pub(crate) const fn open(self) -> Key {
        Key(self.0 & !(CLOSED | OPENING))
    }

    const fn closed(self) -> Key {
        Key(self.open().0 | CLOSED)
    }

    const fn opening(self) -> Key {
        Key(self.closed().0 | OPENING)
    }

    /// Where the search for this key begins, in a table of `1 << (64 - shift)` places.
    #[inline(always)]
    pub(crate) const fn hash(self, shift: u32) -> u64 {
        // Multiplicative hashing: the *highest* bits of a product depend on all bits of what was
        // multiplied, on the tag's last character and the owner's generation too.
        self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> shift
    }
}

impl Meta {
    /// The first place where a key may stand; the fast path looks at no other.
    #[inline(always)]
    pub(crate) fn first_place(&self, key: Key) -> Account {
        Account(!key.hash(self.control().account_shift) as isize)
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
        // Closed since: the adapter is on its way out.
        (self.account_key(found.0) == found.1).then_some(found)
    }

    /// The key of the account that counted a block, open: `None` when that is another one's by now, or was never one.
    pub(crate) fn key_of(&self, state: State, record: Record) -> Option<Key> {
        let account = record.account;
        let known = (self.control().account_mask..0).contains(&account.0);
        let key = known.then(|| self.account_key(account).open())?;
        (key.owner() == state.owner()).then_some(key)
    }

    /// An account's word.
    pub(crate) fn account_key(&self, account: Account) -> Key {
        // ORDERING: Acquire - pairs with the CAS that changed it.
        Key(self.account_word(account).load(Ordering::Acquire))
    }

    fn change_account(&self, account: Account, from: Key, to: Key) -> bool {
        self.account_word(account)
            // ORDERING: AcqRel - Release: what was done with the account; Acquire: what others did.
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Makes all words unused. Called once, before the pool is shared.
    pub(crate) fn init_accounts(&self) {
        for account in self.accounts() {
            // ORDERING: Relaxed - not shared yet.
            self.account_word(account).store(UNUSED.0, Ordering::Relaxed);
        }
    }

    /// The places of a key, in the order of the search. The fast path looks at the first one alone, where
    /// an *other* account never stands: its tag is no caller's.
    fn places(&self, key: Key) -> impl Iterator<Item = Account> {
        let hash = key.hash(self.control().account_shift) as isize;
        let mask = self.control().account_mask;
        (isize::from(key.tag() == OTHER_TAG)..PROBES).map(move |n| Account(!(hash + n) | mask))
    }

    /// Finds or makes the word of a key, open or closed. `None`: all places are taken.
    pub(crate) fn reserve(&self, key: Key) -> Option<Account> {
        for place in self.places(key) {
            let seen = self.account_key(place);
            if seen == key || seen == key.closed() {
                return Some(place);
            }
        }
        for place in self.places(key) {
            let seen = self.account_key(place);
            // Interned since the first look.
            if seen == key {
                return Some(place);
            }
            if seen == UNUSED && self.change_account(place, UNUSED, key.opening()) {
                self.finish_opening(place, key);
                return Some(place);
            }
        }
        None
    }

    /// Opens an account that we made `opening`, if its adapter is open.
    ///
    /// A closer marks the adapter, fences, and looks at the words. If it does not see ours, we see its
    /// mark; if it does, it takes the bit away and our CAS fails. So no account is open after it went by.
    fn finish_opening(&self, account: Account, key: Key) {
        // ORDERING: SeqCst - pairs with the fence in `close_accounts`.
        fence(Ordering::SeqCst);
        let to = if self.adapter_live(key.owner()) { key.open() } else { key.closed() };
        // A failure is a closer's change, or that of whoever took the account away.
        self.change_account(account, key.opening(), to);
    }

    /// Shuts the fast path of every account that `owner` accepts. The caller has marked the
    /// adapter before.
    pub(crate) fn close_accounts(&self, owner: impl Fn(AdapterId) -> bool) {
        // ORDERING: SeqCst - pairs with the fence in `finish_opening`.
        fence(Ordering::SeqCst);
        for account in self.accounts() {
            // Fails when someone opens it, or takes it away, in between: then look again.
            loop {
                let key = self.account_key(account);
                let shut = key == key.closed() || !owner(key.owner());
                if shut || self.change_account(account, key, key.closed()) {
                    break;
                }
            }
        }
    }

    /// Opens a closed account if its adapter is open.
    pub(crate) fn open_account(&self, account: Account) {
        let key = self.account_key(account);
        if key == key.closed()
            && self.adapter_live(key.owner())
            && self.change_account(account, key, key.opening())
        {
            self.finish_opening(account, key);
        }
    }

    /// Gives an account of a removed adapter to someone else, closed; `None`: to nobody.
    pub(crate) fn hand_account(&self, account: Account, to: Option<AdapterId>) {
        let first = self.account_key(account);
        let to = to.map_or(UNUSED, |owner| Key::new(owner, first.tag()).closed());
        loop {
            // A late opener may still take its bit away.
            let key = self.account_key(account);
            if key.open() != first.open() || self.change_account(account, key, to) {
                return;
            }
        }
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
            .rev()
            // ORDERING: Acquire - read after the walk (I8). The shared row first: what it takes back
            // was counted before, there or in another row; pairs with the Release in `shared_cell`.
            .map(|cpu| self.cell(cpu, account, class).load(Ordering::Acquire))
            .fold(0, u64::wrapping_add)
    }
}

/// The tag of an adapter's *other* account. No printable tag equals it.
pub(crate) const OTHER_TAG: PoolTag = PoolTag::from_raw(u32::MAX);

#[cfg(test)]
mod tests {
    use super::*;

    /// Drivers number their tags in one character.
    #[test]
    fn tags_that_differ_in_one_character_have_places_of_their_own() {
        for (bits, least) in [(4, 8), (10, 80)] {
            for position in 0..4 {
                let mut places = [false; 1 << 10];
                for character in b'!'..=b'~' {
                    let mut tag = *b"Tag0";
                    tag[position] = character;
                    let key =
                        Key::new(AdapterId::from_raw(0x1C3), PoolTag::from_raw(u32::from_le_bytes(tag)));
                    places[key.hash(64 - bits) as usize] = true;
                }
                let taken = places.iter().filter(|&&taken| taken).count();
                assert!(taken >= least, "{taken} places of 2^{bits}, character {position}");
            }
        }
    }
}
