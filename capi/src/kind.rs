//! A pool on one of three platforms.

use std::sync::atomic::{AtomicU16, AtomicU64};

use pool::{AdapterId, HookRecord, Irql, Masked, Native, Pool, Portable};

use crate::hearer::Hearers;
use crate::host::{Callbacks, Masking};

/// A pool.
pub struct sp_pool {
    pub(crate) kind: Kind,
    /// The adapter in whose name `ExAllocatePool2` and its kind allocate.
    pub(crate) system: AdapterId,
    /// Whether this process can address the range.
    pub(crate) addressable: bool,
    /// The first of the pool's extensions, by its record's number in the registry; 0: none.
    pub(crate) extensions: AtomicU16,
    /// Who hears of violations.
    pub(crate) hearers: Hearers,
    /// Violations that the pool itself does not count: of `ExFreePool` and its kind.
    pub(crate) violations: AtomicU64,
    /// What the pool calls with its violations; written once, before the pool is handed out.
    pub(crate) hook: HookRecord,
}

impl sp_pool {
    /// The caller's level, as this pool's calls see it.
    pub(crate) fn irql(&self) -> Irql {
        match &self.kind {
            Kind::Native(_) => Irql::current(),
            Kind::Portable(pool) => pool::Host::irql(pool.platform().host()),
            Kind::Masked(pool) => pool::Host::irql(pool.platform().host()),
        }
    }
}

/// By what it runs on. The tag stands by itself, so that a call tells it by one compare.
#[repr(u32)]
pub(crate) enum Kind {
    Native(Pool<Native>),
    Portable(Pool<Portable<Callbacks>>),
    Masked(Pool<Masked<Masking>>),
}

/// Does the same with a handle's pool, whatever it runs on.
macro_rules! with_pool {
    ($handle:expr, $pool:ident => $work:expr) => {
        match &$handle.kind {
            crate::kind::Kind::Native($pool) => $work,
            crate::kind::Kind::Portable($pool) => $work,
            crate::kind::Kind::Masked($pool) => $work,
        }
    };
}
pub(crate) use with_pool;
