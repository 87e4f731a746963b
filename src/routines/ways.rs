//! The verifier's part of the routines, called by its address: a pool without a verifier has none of it.

use super::report::Call;
use super::request::{Answer, Request};
use crate::contract::status::Status;
use crate::contract::tag::PoolTag;
use crate::layout::meta::{Located, Meta};
use crate::verify::verifier::Verifier;

/// What a verifier does. The platform is what [`opaque`](crate::percpu::platform::Platform::opaque) made of it.
pub(crate) struct Ways {
    /// An allocation that passed the contract's checks; `None`: it is one like any other.
    pub(crate) allocate: fn(Meta, *const (), &Verifier, Request, PoolTag) -> Option<Answer>,
    /// A claimed block that was set aside is given away.
    pub(crate) put: fn(Meta, *const (), Located, Call) -> Status,
    /// All that waits in the quarantine is given away: how many blocks, and how many were written to.
    pub(crate) empty: fn(Meta, *const ()) -> (usize, u64),
    /// An allocation at a bad IRQL is told, if a rule says so.
    pub(crate) tell_allocate: fn(&Meta, Call, PoolTag, u32),
    /// An allocation whose out pointer held a live block is told, if a rule says so.
    #[cfg_attr(not(feature = "std"), expect(dead_code, reason = "`Caller` wants std"))]
    pub(crate) tell_overwritten: fn(&Meta, Call, PoolTag, u64),
    /// A free at a bad IRQL is told, if a rule says so.
    pub(crate) tell_free: fn(&Meta, Call, u64),
}

/// What the pool's verifier does.
pub(crate) fn ways(verifier: &Verifier) -> &'static Ways {
    // SAFETY: `Pool::attach` made the verifier with such a table, of the pool's own platform, which never changes.
    unsafe { &*verifier.ways.cast::<Ways>() }
}
