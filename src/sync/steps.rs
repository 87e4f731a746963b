//! The atomics with a hook before each operation, for tests that count them, or interrupt there.
//! Compiled under `--cfg storport_pool_steps` only; the product has the atomics themselves.

use core::sync::atomic;
pub(crate) use core::sync::atomic::Ordering;
use std::sync::OnceLock;

/// What is about to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A load.
    Load,
    /// A store.
    Store,
    /// A read-modify-write: what x86-64 locks. A sequentially consistent store is one there too.
    Rmw,
    /// A fence.
    Fence,
}

static HOOK: OnceLock<fn(Step, usize)> = OnceLock::new();

/// Has `hook` called before each operation, in every thread, from now on, with the address of the word; 0 for a
/// fence. The first hook stays.
pub fn install(hook: fn(Step, usize)) {
    let _ = HOOK.set(hook);
}

#[inline]
fn step(step: Step, word: usize) {
    if let Some(hook) = HOOK.get() {
        hook(step, word);
    }
}

pub(crate) fn fence(order: Ordering) {
    step(Step::Fence, 0);
    atomic::fence(order);
}

macro_rules! atomics {
    ($($name:ident$(<$t:ident>)?, $value:ty;)*) => {$(
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub(crate) struct $name$(<$t>)?(atomic::$name$(<$t>)?);

        #[allow(dead_code, reason = "not each type needs all of them")]
        impl$(<$t>)? $name$(<$t>)? {
            pub(crate) const fn new(value: $value) -> Self {
                Self(atomic::$name::new(value))
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                step(Step::Load, &raw const self.0 as usize);
                self.0.load(order)
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                let step_is = if order == Ordering::SeqCst { Step::Rmw } else { Step::Store };
                step(step_is, &raw const self.0 as usize);
                self.0.store(value, order);
            }

            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                step(Step::Rmw, &raw const self.0 as usize);
                self.0.swap(value, order)
            }

            pub(crate) fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                step(Step::Rmw, &raw const self.0 as usize);
                self.0.compare_exchange(current, new, success, failure)
            }

            pub(crate) fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(current, new, success, failure)
            }
        }
    )*};
}

macro_rules! arithmetic {
    ($($name:ident, $value:ty: $($fetch:ident),*;)*) => {$(
        impl $name {
            $(pub(crate) fn $fetch(&self, value: $value, order: Ordering) -> $value {
                step(Step::Rmw, &raw const self.0 as usize);
                self.0.$fetch(value, order)
            })*
        }
    )*};
}

atomics! {
    AtomicPtr<T>, *mut T;
    AtomicU32, u32;
    AtomicU64, u64;
}

arithmetic! {
    AtomicU32, u32: fetch_add, fetch_sub;
    AtomicU64, u64: fetch_add, fetch_and, fetch_or;
}

#[cfg(all(feature = "std", target_os = "linux", target_arch = "x86_64"))]
impl AtomicU32 {
    /// For sections, whose operations no hook sees.
    pub(crate) const fn as_ptr(&self) -> *mut u32 {
        self.0.as_ptr()
    }
}

#[cfg(all(feature = "std", target_os = "linux", target_arch = "x86_64"))]
impl AtomicU64 {
    /// As above.
    pub(crate) const fn as_ptr(&self) -> *mut u64 {
        self.0.as_ptr()
    }
}

impl AtomicU64 {
    pub(crate) fn fetch_update(
        &self,
        success: Ordering,
        failure: Ordering,
        mut update: impl FnMut(u64) -> Option<u64>,
    ) -> Result<u64, u64> {
        let mut seen = self.load(failure);
        while let Some(new) = update(seen) {
            match self.compare_exchange_weak(seen, new, success, failure) {
                Ok(_) => return Ok(seen),
                Err(now) => seen = now,
            }
        }
        Err(seen)
    }
}
