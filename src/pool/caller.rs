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

/// An adapter of a pool over [`Native`], ready to call: a host that finds both by the address of a
/// HwDeviceExtension keeps this in its table, and its calls read nothing else on the way to the pool's own memory.
///
/// It outlives nothing: each call promises that the pool still lives. An adapter that was removed is refused as by
/// the [`Pool`]'s own routines, which these are, inlined: statuses, IRQL and bounds are theirs.
///
/// ```
/// use storport_pool::{Caller, Pool, Status, tag};
/// let pool = Pool::new(1 << 20)?;
/// let (words, adapter) = pool.caller(pool.add_adapter("disk0")?).into_raw();
/// // And where a call finds them again:
/// let mut srb = 0;
/// unsafe {
///     let caller = Caller::from_raw(words, adapter);
///     assert_eq!(caller.allocate(208, tag!("VioS"), &mut srb), Status::SUCCESS);
///     assert_eq!(caller.free(srb), Status::SUCCESS);
///     assert_eq!(caller.free(srb), Status::INVALID_PARAMETER);
///     assert_eq!(caller.allocate(0, tag!("VioS"), &mut srb), Status::INVALID_PARAMETER);
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
    /// The adapter, ready to call.
    #[must_use]
    pub fn caller(&self, adapter: AdapterId) -> Caller {
        Caller { meta: self.meta, adapter }
    }
}

impl Caller {
    /// As words of a table.
    #[must_use]
    pub fn into_raw(self) -> (NonNull<u8>, u32) {
        (self.meta.memory().base(), self.adapter.0)
    }

    /// From the two words of a table.
    ///
    /// # Safety
    /// Each is a word of a `Caller` that [`into_raw`](Caller::into_raw) took apart. (If they are not of the same one, the
    /// call is made for some adapter of the pool, or refused: pools give out the same numbers.)
    #[must_use]
    #[inline(always)]
    pub const unsafe fn from_raw(pool: NonNull<u8>, adapter: u32) -> Caller {
        // SAFETY: the base of a pool's metadata; the calls' promises say that it lives.
        let memory = unsafe { Memory::new(pool) };
        Caller { meta: Meta::new(memory), adapter: AdapterId(adapter) }
    }

    /// [`Pool::allocate`]; `out` is set to 0 on every failure.
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

    /// [`Pool::free`].
    ///
    /// # Safety
    /// The pool lives, and the block is not used afterwards.
    #[inline(always)]
    pub unsafe fn free(self, address: u64) -> Status {
        let place = self.meta.range().base.place_of(address);
        free_here(self.meta, PLATFORM, place, expected(self.adapter, place))
    }

    /// [`Pool::free_bulk`].
    ///
    /// # Safety
    /// The pool lives, and no block is used afterwards.
    pub unsafe fn free_bulk(self, addresses: &[u64], statuses: &mut [Status]) -> usize {
        free_bulk(self.meta, PLATFORM, self.adapter, addresses, statuses)
    }

    /// [`Pool::allocate_bulk`].
    ///
    /// # Safety
    /// The pool lives.
    pub unsafe fn allocate_bulk(self, bytes: u32, tag: PoolTag, out: &mut [u64]) -> Status {
        allocate_bulk(self.meta, PLATFORM, Key::new(self.adapter, tag), bytes, out)
    }

    /// [`Pool::hint_free`].
    ///
    /// # Safety
    /// The pool lives.
    #[inline(always)]
    pub unsafe fn hint_free(self, address: u64) {
        hint(self.meta, address);
    }
}
