//! A stand-in with the shape of the library's `TaggedAlloc`.

use core::cell::OnceCell;

use pool::{AdapterId, Native, Pool, PoolTag};

pub(crate) struct TaggedAlloc {
    _tag: PoolTag,
    bytes: u64,
    made: OnceCell<Option<(Pool<Native>, AdapterId)>>,
}

impl TaggedAlloc {
    pub(crate) const fn new(tag: PoolTag, bytes: u64) -> TaggedAlloc {
        TaggedAlloc { _tag: tag, bytes, made: OnceCell::new() }
    }

    fn made(&self) -> Option<&(Pool<Native>, AdapterId)> {
        let make = || {
            let pool = Pool::new(self.bytes).ok()?;
            let adapter = pool.add_adapter("main").ok()?;
            Some((pool, adapter))
        };
        self.made.get_or_init(make).as_ref()
    }

    pub(crate) fn pool(&self) -> Option<&Pool<Native>> {
        self.made().map(|made| &made.0)
    }

    pub(crate) fn adapter(&self) -> Option<AdapterId> {
        self.made().map(|made| made.1)
    }
}
