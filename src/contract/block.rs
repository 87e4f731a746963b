//! What a host may ask of an address.

use super::adapter::AdapterId;
use super::tag::PoolTag;

/// A block of a pool, as [`Pool::block_at`](crate::Pool::block_at) found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockInfo {
    /// Where it begins.
    pub address: u64,
    /// Bytes that were asked for, by its last allocation or [resize](crate::Pool::resize).
    pub bytes: u32,
    /// Bytes that it has: all of them may be used by whoever asks for them with [`resize`](crate::Pool::resize).
    pub capacity: u64,
    /// Whether it is allocated. Else the rest tells of its last owner.
    pub live: bool,
    /// The adapter that allocated it.
    pub owner: AdapterId,
    /// Its tag; `None` when the adapter's tags did not all find an account, or when the block is free and its account has
    /// another use by now.
    pub tag: Option<PoolTag>,
}
