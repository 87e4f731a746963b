//! Telling the host: the hook and its context, published together as one immutable record.

use crate::contract::adapter::AdapterId;
use crate::contract::irql::Irql;
use crate::contract::tag::PoolTag;
use crate::contract::violation::{Outstanding, Violation, ViolationKind};
use crate::layout::meta::{Located, Meta};
use crate::percpu::platform::Platform;
use crate::sync::Ordering;
use crate::trace::emit::emit;

/// The circumstances of a refused call.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) caller: AdapterId,
    pub(crate) irql: u32,
}

impl Meta {
    /// Reports a misuse of allocate.
    pub(crate) fn refuse_allocate(&self, call: Call, kind: ViolationKind, bytes: u32, tag: PoolTag) {
        self.report(&Violation {
            kind,
            address: 0,
            bytes: u64::from(bytes),
            blocks: 0,
            tag: Some(tag),
            given_tag: None,
            owner: None,
            caller: call.caller,
            irql: level(call.irql),
        });
    }

    /// Reports a misuse of free. `found`: the block at fault, if there is one: who has it, or had it last, and what
    /// was asked for. Its tag is known while its account is the owner's.
    pub(crate) fn refuse_free(&self, call: Call, kind: ViolationKind, address: u64, found: Option<Located>) {
        self.report(&self.misuse(call, kind, address, found));
    }

    /// Reports a free of a live block with another tag than its own.
    pub(crate) fn refuse_tag(&self, call: Call, address: u64, found: Located, given: PoolTag) {
        let misuse = self.misuse(call, ViolationKind::WrongTag, address, Some(found));
        self.report(&Violation { given_tag: Some(given), ..misuse });
    }

    fn misuse(&self, call: Call, kind: ViolationKind, address: u64, found: Option<Located>) -> Violation {
        let found = found.map(|found| (found.state, self.record(found.class, found.start)));
        Violation {
            kind,
            address,
            bytes: found.map_or(0, |(_, record)| u64::from(record.bytes)),
            blocks: 0,
            tag: found.and_then(|(state, record)| Some(self.key_of(state, record)?.tag())),
            given_tag: None,
            owner: found.map(|(state, _)| state.owner().known()),
            caller: call.caller,
            irql: level(call.irql),
        }
    }

    /// Tells the host, once, that the system refuses a fence; a load if there is nothing to tell. The caller holds
    /// nothing of the pool's.
    pub(crate) fn tell_refused_fence<P: Platform>(&self, platform: &P, caller: AdapterId) {
        if self.tells_refused_fence() {
            self.tell(&Violation {
                kind: ViolationKind::FenceRefused,
                address: 0,
                bytes: 0,
                blocks: 0,
                tag: None,
                given_tag: None,
                owner: None,
                caller,
                irql: level(platform.irql()),
            });
        }
    }

    /// Reports blocks that a removed adapter, or a dropped pool, left behind.
    pub(crate) fn report_leak(&self, owner: AdapterId, found: Outstanding) {
        self.report(&Violation {
            kind: ViolationKind::Leak,
            address: 0,
            bytes: found.bytes,
            blocks: found.blocks,
            tag: Some(found.tag),
            given_tag: None,
            owner: Some(owner),
            caller: owner,
            irql: Irql::PASSIVE,
        });
    }

    /// Tells the hook what was left allocated, by adapter and tag. The pool is the caller's alone.
    pub(crate) fn report_leaks(&self) {
        let mut any = false;
        self.walk(|_| any = true);
        if !any {
            return;
        }
        let accounts = self.accounts().chain(self.other_accounts());
        for account in accounts.filter(|&account| self.ever_counted(account)) {
            let key = self.account_key(account).open();
            let mut found = Outstanding { tag: key.tag(), blocks: 0, bytes: 0 };
            self.walk(|live| {
                if live.record.account == account && self.has(account, key, live.state.owner()) {
                    found.add(live.record.bytes);
                }
            });
            if found.blocks > 0 {
                self.report_leak(key.owner().known(), found);
            }
        }
    }

    #[cold]
    fn report(&self, violation: &Violation) {
        // ORDERING: Relaxed - a statistic.
        self.control().violations.fetch_add(1, Ordering::Relaxed);
        self.tell(violation);
    }

    #[cold]
    fn tell(&self, violation: &Violation) {
        emit!(
            u32::from(violation.irql.level()),
            WARN,
            "violation",
            kind = violation.kind.describe(),
            tag = violation.tag.map(tracing::field::display),
            bytes = violation.bytes,
            address = violation.address,
            adapter = violation.caller.raw()
        );
        // ORDERING: Acquire - the record's fields; pairs with the Release of the swap that
        // published it.
        let record = self.control().hook.load(Ordering::Acquire);
        // SAFETY: a published record lives as long as the pool.
        if let Some(record) = unsafe { record.as_ref() } {
            (record.call)(violation, record.context);
        }
    }
}

fn level(irql: u32) -> Irql {
    Irql::new(irql.min(15) as u8).unwrap_or(Irql::HIGH)
}
