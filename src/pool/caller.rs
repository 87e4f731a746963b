//! An adapter as its host's table keeps it: the two routines without the way through the pool.

use core::ptr::NonNull;

use static_assertions::{assert_eq_size, assert_impl_all};

use crate::contract::adapter::AdapterId;
use crate::contract::status::Status;
use crate::contract::tag::PoolTag;
use crate::layout::memory::Memory;
use crate::layout::meta::Meta;
use crate::owners::accounts::Key;
use crate::percpu::native::{Commit, Native};
use crate::pool::handle::Pool;
use crate::routines::allocate::allocate_into;
use crate::routines::bulk::{allocate_bulk, free_bulk, hint};
use crate::routines::free::{expected, free_here};

/// The platform's value says how a pool is made; calls do not look at it.
const PLATFORM: &Native = &Native::new(Commit::Auto);

/// An adapter of a pool over [`Native`], ready to call. It is for a host that finds pool and adapter by the address of
/// a HwDeviceExtension: it keeps this in its table. Then its calls read nothing else on the way to the pool's own
/// memory.
///
/// It does not keep the pool alive. With each call the host promises that the pool still lives. The calls are the
/// [`Pool`]'s own routines, inlined: statuses, IRQL and bounds are theirs. A removed adapter is refused as they refuse
/// it.
///
/// ```
/// use storport_pool::{Caller, Pool, Status, tag};
/// let pool = Pool::new(1 << 20)?;
/// let (words, adapter) = pool.caller(pool.add_adapter("disk0")?).into_raw();
/// // And where a call finds them again:
/// let mut srb = 0;
/// let mut more = [0; 4];
/// unsafe {
///     let caller = Caller::from_raw(words, adapter);
///     assert_eq!(caller.allocate(208, tag!("VioS"), &mut srb), Status::SUCCESS);
///     caller.hint_free(srb);
///     assert_eq!(caller.free(srb), Status::SUCCESS);
///     assert_eq!(caller.free(srb), Status::INVALID_PARAMETER);
///     assert_eq!(caller.allocate(0, tag!("VioS"), &mut srb), Status::INVALID_PARAMETER);
///     assert_eq!(caller.allocate_bulk(208, tag!("VioS"), &mut more), Status::SUCCESS);
///     assert_eq!(caller.free_bulk(&more, &mut []), 4);
/// }
/// assert_eq!(srb, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Caller {
    meta: Meta,
    adapter: AdapterId,
}

// Two words of a table, for any thread.
assert_eq_size!(Caller, [usize; 2]);
assert_impl_all!(Caller: Copy, Send, Sync);

impl Pool<Native> {
    /// This adapter, ready to call. Any IRQL; no loop. [`Caller`] has an example.
    #[must_use]
    pub fn caller(&self, adapter: AdapterId) -> Caller {
        Caller { meta: self.meta, adapter }
    }
}

impl Caller {
    /// The two words of a table that [`from_raw`](Caller::from_raw) takes. Any IRQL.
    #[must_use]
    pub fn into_raw(self) -> (NonNull<u8>, u32) {
        (self.meta.memory().base(), self.adapter.0)
    }

    /// A caller from the two words of a table. Any IRQL.
    ///
    /// # Safety
    /// Each is a word of a `Caller` that [`into_raw`](Caller::into_raw) took apart, and its pool still lives when a
    /// call is made. The two may come from different ones. Then the call is made for some adapter of the pool, or
    /// refused: pools give out the same numbers.
    #[must_use]
    #[inline(always)]
    pub const unsafe fn from_raw(pool: NonNull<u8>, adapter: u32) -> Caller {
        // SAFETY: the base of a pool's metadata; the calls' promises say that it lives.
        let memory = unsafe { Memory::new(pool) };
        Caller { meta: Meta::new(memory), adapter: AdapterId(adapter) }
    }

    /// As [`Pool::allocate`], with its statuses, IRQL and bound. `out` is set to 0 on every failure.
    ///
    /// # Safety
    /// The pool lives.
    #[inline(always)]
    pub unsafe fn allocate(self, bytes: u32, tag: PoolTag, out: &mut u64) -> Status {
        let status = allocate_into(self.meta, PLATFORM, Key::new(self.adapter, tag), bytes, out);
        #[cfg(storport_pool_asan)]
        self.meta.unpoison_block(*out, bytes);
        status
    }

    /// As [`Pool::free`], with its statuses, IRQL and bound.
    ///
    /// # Safety
    /// The pool lives, and the block is not used afterwards.
    #[inline(always)]
    pub unsafe fn free(self, address: u64) -> Status {
        let place = self.meta.range().base.place_of(address);
        free_here(self.meta, PLATFORM, place, expected(self.adapter, place))
    }

    /// As [`Pool::free_bulk`], with its statuses, IRQL and bound.
    ///
    /// # Safety
    /// The pool lives, and no block is used afterwards.
    pub unsafe fn free_bulk(self, addresses: &[u64], statuses: &mut [Status]) -> usize {
        free_bulk(self.meta, PLATFORM, self.adapter, addresses, statuses)
    }

    /// As [`Pool::allocate_bulk`], with its statuses, IRQL and bound.
    ///
    /// # Safety
    /// The pool lives.
    pub unsafe fn allocate_bulk(self, bytes: u32, tag: PoolTag, out: &mut [u64]) -> Status {
        allocate_bulk(self.meta, PLATFORM, Key::new(self.adapter, tag), bytes, out)
    }

    /// As [`Pool::hint_free`]: any IRQL, two loads and a prefetch.
    ///
    /// # Safety
    /// The pool lives.
    #[inline(always)]
    pub unsafe fn hint_free(self, address: u64) {
        hint(self.meta, address);
    }
}
