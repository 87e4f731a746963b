//! Accounts: (adapter, tag) interned to the index of a word. The word is also the gate of allocate's
//! fast path: closing it makes the compare fail (I9).

use crate::contract::adapter::AdapterId;
use crate::contract::tag::PoolTag;
use crate::layout::block::Account;
use crate::layout::meta::Meta;
use crate::layout::state::{Record, State};
use crate::sync::{Ordering, fence};

/// An account word: tag above, owner below, and in the owner's low bits some that shut its fast path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key(pub(crate) u64);

/// How many words an interning looks at.
/// (Loom: fewer than it has accounts.)
const PROBES: isize = if cfg!(storport_pool_loom) { 3 } else { 8 };
/// The account is closed, its fast path is shut.
const CLOSED: u64 = 1;
/// With `CLOSED`: whoever set this is about to open it, unless a closer takes the bit away.
const OPENING: u64 = 2;
/// With `CLOSED`, of what an adapter left: who thins the orphans out has found no block of it yet.
const CANDIDATE: u64 = 4;
/// Of an open account: its fast path is shut, since a verifier watches it. Only the account's word has it, no [`Key`] that
/// [`account_key`](Meta::account_key) gives.
const WATCHED: u64 = 8;
/// The word of an account that is not in use. No key equals it.
pub(crate) const UNUSED: Key = Key(AdapterId::NOBODY.0 as u64 | CLOSED);

/// The word of the pool's own account, always open: what it counts means nothing. No caller's key equals it.
pub(crate) const OWN: Key = Key::new(AdapterId::NOBODY.left(), OTHER_TAG);

const _: () = assert!(
    AdapterId::GONE.0 as u64 & (CLOSED | OPENING | CANDIDATE | WATCHED) == 0,
    "a handle leaves the bits free"
);

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
        Key(self.0 & !(CLOSED | OPENING | CANDIDATE))
    }

    /// The word of an account that is being emptied, by somebody of this fork generation.
    pub(crate) const fn leaving(generation: u32) -> Key {
        Key((generation as u64) << 32 | AdapterId::NOBODY.left().0 as u64 | CLOSED)
    }

    /// Whether the account is being emptied.
    pub(crate) fn is_leaving(self) -> bool {
        self.owner() == AdapterId::NOBODY.left()
    }

    /// Whether a pool writes such a word for an adapter, a removed one's blocks, or the gone.
    #[cfg(all(feature = "alloc", not(storport_pool_loom)))]
    pub(super) const fn is_an_owners(self) -> bool {
        let owner = self.owner();
        let shut = self.0 & (CLOSED | OPENING | CANDIDATE);
        let known = matches!(shut, 0 | CLOSED) || shut == CLOSED | OPENING || shut == CLOSED | CANDIDATE;
        known
            && owner.is_a_handle()
            && owner.0 != AdapterId::NOBODY.0
            && owner.0 != AdapterId::NOBODY.left().0
    }

    /// Whether somebody is about to open the account.
    #[cfg(all(feature = "alloc", not(storport_pool_loom)))]
    pub(super) const fn is_opening(self) -> bool {
        self.0 & OPENING != 0
    }

    /// Whether the account is that of what a removed adapter left.
    pub(crate) fn is_left(self) -> bool {
        self.owner().is_left() && !self.is_leaving()
    }

    pub(crate) const fn candidate(self) -> Key {
        Key(self.closed().0 | CANDIDATE)
    }

    pub(crate) const fn closed(self) -> Key {
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

    /// The pool's own account, by which a CPU's magazine is reached when the block counts elsewhere.
    pub(crate) fn own_account(&self) -> Account {
        Account(self.control().account_mask - 1)
    }

    /// All accounts that have a word.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = Account> {
        (self.control().account_mask..0).map(Account)
    }

    /// Finds or makes the account of an open adapter; its *other* account when live ones have all places.
    ///
    /// Also gives the open word: the caller's second look compares with that, never with what it
    /// finds in the account later, which may be a closed one.
    pub(crate) fn intern(&self, key: Key) -> Option<(Account, Key)> {
        let found = match self.reserve(key).or_else(|| self.take_dead(key)) {
            Some(account) => (account, key),
            None => (self.adapter_other(key.owner())?, Key::new(key.owner(), OTHER_TAG)),
        };
        // Closed since: the adapter is on its way out.
        (self.account_key(found.0) == found.1).then_some(found)
    }

    /// The key of the account that counted a block, open: `None` when that is another one's by now, or was never one.
    pub(crate) fn key_of(&self, state: State, record: Record) -> Option<Key> {
        let account = record.account;
        let key = self.is_account(account).then(|| self.account_key(account).open())?;
        self.has(account, key, state.owner()).then_some(key)
    }

    fn is_account(&self, account: Account) -> bool {
        (self.control().account_mask..self.gone_other().0).contains(&account.0)
    }

    /// Whether an account of this key counts blocks of this owner.
    pub(crate) fn has(&self, account: Account, key: Key, owner: AdapterId) -> bool {
        key.owner() == owner
            // A verified block's, or one that is being left.
            || key.owner().left() == owner
            || account == Account::ORPHANS && owner.is_left()
    }

    /// An account's word, or what stands for it.
    pub(crate) fn account_key(&self, account: Account) -> Key {
        if account.is_other() {
            return self.other_key(account);
        }
        // ORDERING: Acquire - pairs with the CAS that changed it.
        Key(self.account_word(account).load(Ordering::Acquire) & !WATCHED)
    }

    /// Changes an account's word, watched or not. Afterwards it is not.
    pub(super) fn change_account(&self, account: Account, from: Key, to: Key) -> bool {
        let word = self.account_word(account);
        let change = |from: u64| {
            // ORDERING: AcqRel - Release: what was done with the account; Acquire: what others did.
            word.compare_exchange(from, to.0, Ordering::AcqRel, Ordering::Relaxed)
        };
        // Only an open account is watched.
        change(from.0).is_ok() || from == from.open() && change(from.0 | WATCHED).is_ok()
    }

    /// Whether the fast path of an open account is shut, since a verifier watches it.
    pub(crate) fn is_watched(&self, account: Account) -> bool {
        // ORDERING: Relaxed - who comes too late was under way before.
        !account.is_other() && self.account_word(account).load(Ordering::Relaxed) & WATCHED != 0
    }

    /// Shuts or opens the fast path of an open account of this key. `false`: it is no such account now.
    pub(crate) fn set_watched(&self, account: Account, key: Key, watched: bool) -> bool {
        let (from, to) = if watched { (key.0, key.0 | WATCHED) } else { (key.0 | WATCHED, key.0) };
        // ORDERING: AcqRel - Release: the rules that say so; Acquire: the account.
        let changed =
            self.account_word(account).compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed);
        changed.is_ok() || changed == Err(to)
    }

    /// Makes all words unused. Called once, before the pool is shared.
    pub(crate) fn init_accounts(&self) {
        for account in self.accounts() {
            // ORDERING: Relaxed - not shared yet.
            self.account_word(account).store(UNUSED.0, Ordering::Relaxed);
        }
        // ORDERING: Relaxed - as above.
        self.account_word(self.own_account()).store(OWN.0, Ordering::Relaxed);
    }

    /// The places of a key, in the order of the search. The fast path looks at the first one alone.
    pub(super) fn places(&self, key: Key) -> impl Iterator<Item = Account> {
        let hash = key.hash(self.control().account_shift) as isize;
        let mask = self.control().account_mask;
        (0..PROBES).map(move |n| Account(!(hash + n) | mask))
    }

    /// Finds or makes the word of a key, open or closed. `None`: all places are taken.
    fn reserve(&self, key: Key) -> Option<Account> {
        for place in self.places(key) {
            let seen = self.account_key(place);
            if seen == key.opening() {
                // Its maker stands still, or did not survive a fork.
                self.finish_opening(place, key);
            }
            if seen.open() == key {
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

    /// Takes the place of an account that nobody needs: a dead tag's totals go to the *other* account of the gone.
    /// Bounded by the number of classes.
    fn take_dead(&self, key: Key) -> Option<Account> {
        let generation = self.generation_number();
        let leaving = Key::leaving(generation);
        self.places(key).find(|&place| {
            let seen = self.account_key(place);
            if !self.is_dead(seen, leaving) || !self.change_account(place, seen, leaving) {
                return false;
            }
            self.pour(place, leaving, self.gone_other(), self.account_key(self.gone_other()));
            let taken = self.change_account(place, leaving, key.opening());
            self.finish_opening(place, key);
            taken
        })
    }

    /// Whether nobody needs the account: it keeps totals of a tag, an overtaken allocation made it for an adapter that
    /// was gone, or who emptied it did not survive a fork. Its counts lie in the shared row. When a fence was refused, a
    /// removal may have left accounts in which a section still counts: they look like the second kind, and stay.
    fn is_dead(&self, seen: Key, leaving: Key) -> bool {
        let owner = seen.owner();
        if seen.is_leaving() {
            return seen != leaving;
        }
        seen == seen.closed()
            && (owner == AdapterId::GONE
                || !owner.is_left() && self.adapter_removed(owner) && !self.fence_refused())
    }

    /// Opens an account that somebody made `opening`, if its adapter is open.
    ///
    /// A closer marks the adapter, fences, and looks at the words. If it does not see ours, we see its
    /// mark; if it does, it takes the bit away and our CAS fails. So no account is open after it went by.
    fn finish_opening(&self, account: Account, key: Key) {
        // ORDERING: SeqCst - pairs with the fence in `close_accounts`.
        fence(Ordering::SeqCst);
        let live = self.adapter_live(key.owner());
        let to = if live { key.open() } else { key.closed() };
        let to = match self.verifier() {
            Some(verifier) if live && verifier.watches(key.owner(), key.tag()) => Key(to.0 | WATCHED),
            _ => to,
        };
        // A failure is a closer's change, a helper's, or that of whoever took the account away.
        self.change_account(account, key.opening(), to);
    }

    /// Shuts or opens the fast paths of the open accounts, as the rules say. They were published before.
    pub(crate) fn watch_accounts(&self) {
        let Some(verifier) = self.verifier() else { return };
        // ORDERING: SeqCst - pairs with the fence in `finish_opening`: it sees the rules, or we the opening word.
        fence(Ordering::SeqCst);
        for account in self.accounts() {
            let key = self.account_key(account);
            if key == key.open().opening() {
                self.finish_opening(account, key.open());
            }
            let key = self.account_key(account);
            if key == key.open() && key != UNUSED.open() {
                self.set_watched(account, key, verifier.watches(key.owner(), key.tag()));
            }
        }
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

    /// Gives a closed account of this key another word.
    pub(super) fn retag(&self, account: Account, key: Key, to: Key) -> bool {
        loop {
            // A late opener may still take its bit away.
            let seen = self.account_key(account);
            if seen.open() != key {
                return false;
            }
            if self.change_account(account, seen, to) {
                return true;
            }
        }
    }

    /// Gives a settled account of a removed adapter to the owner of what that left.
    pub(crate) fn hand_account(&self, account: Account, key: Key, to: AdapterId) {
        self.retag(account, key, Key::new(to, key.tag()).closed());
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
