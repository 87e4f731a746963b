//! Who hears of violations: records of the host's, and those that the pool makes of closures.

use crate::contract::hook::HookRecord;
use crate::layout::meta::Meta;
use crate::sync::Ordering;

impl Meta {
    pub(crate) fn publish_hook(&self, record: *mut HookRecord) {
        // ORDERING: Release - the record; pairs with the Acquire in `report`.
        self.control().hook.store(record, Ordering::Release);
    }
}

#[cfg(feature = "alloc")]
mod owned {
    use alloc::boxed::Box;

    use super::{HookRecord, Meta, Ordering};
    use crate::contract::violation::Violation;

    /// A record that calls a closure.
    pub(crate) fn record<F: Fn(&Violation) + Send + Sync + 'static>(hook: F) -> *mut HookRecord {
        fn call<F: Fn(&Violation)>(violation: &Violation, context: *mut ()) {
            // SAFETY: `context` is the `F` that lives in the record's box until the pool is dropped.
            unsafe { (*context.cast::<F>().cast_const())(violation) }
        }
        /// # Safety
        /// `record` came from `on_violation::<F>`, and nobody uses it any more.
        unsafe fn drop_record<F>(record: *mut HookRecord) {
            // SAFETY: both were made by Box::into_raw there.
            unsafe { drop(Box::from_raw(Box::from_raw(record).context.cast::<F>())) }
        }
        let context = Box::into_raw(Box::new(hook)).cast();
        let record = Box::new(HookRecord {
            call: call::<F>,
            context,
            next: core::ptr::null_mut(),
            drop: Some(drop_record::<F>),
        });
        Box::into_raw(record)
    }

    impl Meta {
        /// Chains a record for `drop_hooks`, then publishes it.
        pub(crate) fn keep_hook(&self, record: *mut HookRecord) {
            let chain = &self.control().hooks;
            // ORDERING: Relaxed - the CAS decides.
            let mut seen = chain.load(Ordering::Relaxed);
            loop {
                // SAFETY: the record is not published yet.
                unsafe { (*record).next = seen };
                // ORDERING: Release - the record; pairs with the exclusive access at drop.
                match chain.compare_exchange_weak(seen, record, Ordering::Release, Ordering::Relaxed) {
                    Ok(_) => break,
                    Err(now) => seen = now,
                }
            }
            self.publish_hook(record);
        }

        /// # Safety
        /// No call is in flight, and none will come.
        pub(crate) unsafe fn drop_hooks(&self) {
            // ORDERING: Acquire - the records; the pool is the caller's alone.
            let mut record = self.control().hooks.swap(core::ptr::null_mut(), Ordering::Acquire);
            while !record.is_null() {
                // SAFETY: the chain holds records of `on_violation`, each once.
                let (next, drop) = unsafe { ((*record).next, (*record).drop) };
                if let Some(drop) = drop {
                    // SAFETY: no call is in flight, by the caller's promise.
                    unsafe { drop(record) };
                }
                record = next;
            }
        }
    }
}
#[cfg(feature = "alloc")]
pub(crate) use owned::record;
