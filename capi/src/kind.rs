//! A pool on one of three platforms.

use core::ops::Range;
use std::sync::Mutex;

use pool::{AdapterId, Masked, Native, Pool, Portable};

use crate::host::{Callbacks, Masking};

/// A pool.
pub struct sp_pool {
    pub(crate) kind: Kind,
    /// The adapter in whose name `ExAllocatePool2` and its kind allocate.
    pub(crate) system: AdapterId,
    /// Places of the registry that are this pool's until it goes.
    pub(crate) places: Mutex<Vec<Range<usize>>>,
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
