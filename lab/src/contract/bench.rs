//! A small pool, an adapter on it, and the rows that come of them.

use std::sync::{Arc, Mutex, PoisonError};

use storport_pool::{AdapterId, Irql, Pool, PoolOptions, PoolTag, Status, Violation, tag};

use crate::results::Check;

/// What the blocks of the checks are tagged with.
pub(super) const TAG: PoolTag = tag!("Chek");
/// Bytes of the pool, so that it can be exhausted in a moment.
pub(super) const POOL_BYTES: u64 = 4 << 20;

/// The ground of a group of checks.
pub(super) struct Bench {
    pub(super) pool: Pool,
    pub(super) adapter: AdapterId,
    /// An adapter that was removed.
    pub(super) removed: AdapterId,
    heard: Arc<Mutex<Vec<Violation>>>,
    group: &'static str,
    checks: Vec<Check>,
}

impl Bench {
    pub(super) fn new(group: &'static str, options: PoolOptions) -> Result<Bench, String> {
        let pool = options.build().map_err(|error| format!("the contract's pool: {error}"))?;
        let add = |name| pool.add_adapter(name).map_err(|error| format!("the contract's adapter: {error}"));
        let (adapter, removed) = (add("checked")?, add("removed")?);
        pool.remove_adapter(removed).map_err(|status| format!("removing an adapter: {status}"))?;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hook = Arc::clone(&heard);
        pool.on_violation(move |violation| {
            hook.lock().unwrap_or_else(PoisonError::into_inner).push(*violation);
        });
        Ok(Bench { pool, adapter, removed, heard, group, checks: Vec::new() })
    }

    /// A block of the checked adapter.
    pub(super) fn block(&self, bytes: u32) -> Result<u64, String> {
        let mut out = 0;
        match self.pool.allocate(self.adapter, bytes, TAG, Some(&mut out)) {
            Status::SUCCESS => Ok(out),
            status => Err(format!("the contract's ground: allocating {bytes} bytes: {status}")),
        }
    }

    /// The plain, correct free.
    pub(super) fn free(&self, address: u64) -> Status {
        self.free_as(self.adapter, address)
    }

    /// A free in any adapter's name, of any address.
    pub(super) fn free_as(&self, adapter: AdapterId, address: u64) -> Status {
        // SAFETY: no check uses a block's memory, neither before nor after.
        unsafe { self.pool.free(adapter, address) }
    }

    /// An allocation with an out pointer that is not NULL before: "STATUS, out ...".
    pub(super) fn try_allocate(&self, adapter: AdapterId, bytes: u32, tag: PoolTag) -> String {
        let mut out = u64::MAX;
        let status = self.pool.allocate(adapter, bytes, tag, Some(&mut out));
        let left = match out {
            0 => "NULL",
            u64::MAX => "untouched",
            _ => "set",
        };
        if status == Status::SUCCESS {
            let freed = self.free_as(adapter, out);
            if freed != Status::SUCCESS {
                return format!("{}, out {left}, its free {}", short(status), short(freed));
            }
        }
        format!("{}, out {left}", short(status))
    }

    /// Live blocks, counted by a walk over all headers.
    pub(super) fn live(&self) -> u64 {
        self.pool.snapshot().tags.iter().map(|row| row.totals.live).sum()
    }

    /// The violations heard since the last call.
    pub(super) fn heard(&self) -> Vec<Violation> {
        std::mem::take(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes a row.
    pub(super) fn row(&mut self, what: &str, expected: &str, got: impl Into<String>) {
        let got = got.into();
        self.checks.push(Check {
            group: self.group.to_owned(),
            what: what.to_owned(),
            expected: expected.to_owned(),
            ok: got == expected,
            got,
        });
    }

    pub(super) fn into_rows(self) -> Vec<Check> {
        self.checks
    }
}

/// A status without the prefix that all have.
pub(super) fn short(status: Status) -> String {
    let name = status.to_string();
    name.strip_prefix("STOR_STATUS_").unwrap_or(&name).to_owned()
}

/// Does something with the thread's level raised.
pub(super) fn at<R>(level: Irql, work: impl FnOnce() -> R) -> R {
    let _guard = Irql::raise(level);
    work()
}

/// Does something while the host's switch says that the system has no such routines.
pub(super) fn not_implemented<R>(pool: &Pool, work: impl FnOnce() -> R) -> R {
    pool.set_not_implemented(true);
    let result = work();
    pool.set_not_implemented(false);
    result
}
