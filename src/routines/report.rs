//! Telling the host: the hook and its context, published together as one immutable record.

use crate::contract::adapter::AdapterId;
use crate::contract::irql::Irql;
use crate::contract::tag::PoolTag;
use crate::contract::verify::evidence::Evidence;
use crate::contract::violation::{Outstanding, Violation, ViolationKind};
use crate::layout::classes::LARGE;
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
    #[cold]
    #[inline(never)]
    pub(crate) fn refuse_allocate(&self, call: Call, kind: ViolationKind, bytes: u32, tag: PoolTag) {
        let mut violation = Violation::new(kind, call.caller, level(call.irql));
        violation.bytes = bytes.into();
        violation.tag = Some(tag);
        self.report(&mut violation);
    }

    /// Reports a misuse of free. `found`: the block at fault, if there is one: who has it, or had it last, and what
    /// was asked for. Its tag is known while its account is the owner's.
    pub(crate) fn refuse_free(&self, call: Call, kind: ViolationKind, address: u64, found: Option<Located>) {
        self.refuse_with(call, kind, address, found, None);
    }

    /// Reports a free of a live block with another tag than its own.
    pub(crate) fn refuse_tag(&self, call: Call, address: u64, found: Located, given: PoolTag) {
        self.refuse_with(call, ViolationKind::WrongTag, address, Some(found), Some(given));
    }

    /// A violation is large: it stays off the stack of good frees that take the same way.
    #[cold]
    #[inline(never)]
    fn refuse_with(
        &self,
        call: Call,
        kind: ViolationKind,
        address: u64,
        found: Option<Located>,
        given: Option<PoolTag>,
    ) {
        let mut violation = Violation::new(kind, call.caller, level(call.irql));
        violation.address = address;
        violation.given_tag = given;
        if let Some(found) = found {
            self.describe(&mut violation, found);
        }
        self.report(&mut violation);
    }

    /// Says which block it is about.
    fn describe(&self, violation: &mut Violation, found: Located) {
        let record = self.record(found.class, found.start);
        violation.bytes = record.bytes.into();
        violation.tag = self.key_of(found.state, record).map(|key| key.tag());
        violation.owner = Some(self.owner_of(found.state));
        violation.block = Some(self.address_of(found.class, found.start));
        if found.state.owner().is_left()
            && let Some(verifier) = self.verifier()
        {
            (verifier.describe)(verifier, found.start, found.state, violation);
            violation.guarded = self.is_guarded(found);
        }
    }

    /// Whether a block has pages of its own, with guards.
    pub(super) fn is_guarded(&self, found: Located) -> bool {
        found.class == LARGE && self.guarded(self.span_of(found.start)).is_some()
    }

    /// What was found in memory, at or beside a block. The caller holds the block, or looks at it again before it tells.
    pub(super) fn evident(
        &self,
        call: Call,
        kind: ViolationKind,
        found: Located,
        evidence: Evidence,
    ) -> Violation {
        let mut violation = Violation::new(kind, call.caller, level(call.irql));
        violation.address = self.address_of(found.class, found.start);
        violation.evidence = Some(evidence);
        self.describe(&mut violation, found);
        violation
    }

    /// What a fault at an address means: the pages of a guarded block, or beside it. `None`: none is there.
    pub(crate) fn explain_fault(&self, address: u64, irql: u32) -> Option<Violation> {
        let found = self.locate(self.range().grain_of(address)?)?;
        let kind = match found.state {
            _ if !self.is_guarded(found) => return None,
            state if state.is_live(found.start) => ViolationKind::AccessBeyond,
            state if state.is_freed(found.start) => ViolationKind::AccessFreed,
            _ => return None,
        };
        let mut violation = Violation::new(kind, self.owner_of(found.state), level(irql));
        violation.address = address;
        self.describe(&mut violation, found);
        Some(violation)
    }

    /// Tells the host, once, that the system refuses a fence; a load if there is nothing to tell. The caller holds
    /// nothing of the pool's.
    pub(crate) fn tell_refused_fence<P: Platform>(&self, platform: &P, caller: AdapterId) {
        if self.tells_refused_fence() {
            self.tell(&mut Violation::new(ViolationKind::FenceRefused, caller, level(platform.irql())));
        }
    }

    /// Reports a block whose owner in Rust is gone, though it could not be freed.
    #[cold]
    #[inline(never)]
    pub(crate) fn report_stranded(&self, call: Call, address: u64) {
        let mut violation = Violation::new(ViolationKind::Stranded, call.caller, level(call.irql));
        violation.address = address;
        if let Some(found) = self.range().grain_of(address).and_then(|grain| self.locate(grain)) {
            self.describe(&mut violation, found);
        }
        self.report(&mut violation);
    }

    /// Reports an adapter whose last owner in Rust is gone, though it could not be removed.
    #[cold]
    #[inline(never)]
    pub(crate) fn report_stranded_adapter(&self, call: Call) {
        self.report(&mut Violation::new(ViolationKind::StrandedAdapter, call.caller, level(call.irql)));
    }

    /// Reports blocks that a removed adapter, or a dropped pool, left behind.
    pub(crate) fn report_leak(&self, owner: AdapterId, found: Outstanding) {
        self.report(&mut Violation {
            bytes: found.bytes,
            blocks: found.blocks,
            tag: Some(found.tag),
            owner: Some(owner),
            ..Violation::new(ViolationKind::Leak, owner, Irql::PASSIVE)
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
            // Each was told when its adapter was removed.
            if key.owner().known() == AdapterId::ORPHANS {
                continue;
            }
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
    pub(crate) fn report(&self, violation: &mut Violation) {
        // ORDERING: Relaxed - a statistic.
        self.control().violations.fetch_add(1, Ordering::Relaxed);
        self.tell(violation);
    }

    /// Names the adapters, and calls the hook.
    #[cold]
    fn tell(&self, violation: &mut Violation) {
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
            violation.caller_name = self.adapter_name(violation.caller);
            violation.owner_name = match violation.owner {
                Some(owner) if owner == violation.caller => violation.caller_name,
                Some(owner) => self.adapter_name(owner),
                None => None,
            };
            (record.call)(violation, record.context);
        }
    }
}

pub(super) fn level(irql: u32) -> Irql {
    Irql::new(irql.min(15) as u8).unwrap_or(Irql::HIGH)
}
