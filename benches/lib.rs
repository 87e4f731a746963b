//! What both benchmarks share: a pool, and each way a free is refused.

use storport_pool::{
    AdapterId, Host, Irql, Native, Platform, Pool, PoolOptions, PoolTag, Portable, Status, tag,
};

/// The tag of all blocks.
pub const TAG: PoolTag = tag!("Benc");

/// A pool with an adapter, a second one, and one that was removed.
pub struct Ground<P: Platform = Native> {
    /// The pool.
    pub pool: Pool<P>,
    /// Whose blocks they are.
    pub owner: AdapterId,
    /// Another one.
    pub other: AdapterId,
    /// One that is gone.
    pub stale: AdapterId,
}

/// A machine of one CPU, whose IRQL is the thread's.
pub struct Machine;

impl Host for Machine {
    fn cpu(&self) -> u32 {
        0
    }

    fn irql(&self) -> Irql {
        Irql::current()
    }
}

fn options() -> PoolOptions {
    PoolOptions::new(512 << 20).accounts(2048)
}

impl Ground {
    /// On this system: 512 MiB of address space.
    pub fn native() -> Ground {
        Ground::new(options().build().expect("a pool"))
    }
}

impl Ground<Portable<Machine>> {
    /// The same, by the portable commit.
    pub fn portable() -> Ground<Portable<Machine>> {
        Ground::new(options().build_on(Portable::new(Machine)).expect("a pool"))
    }
}

impl<P: Platform> Ground<P> {
    fn new(pool: Pool<P>) -> Ground<P> {
        let add = |name| pool.add_adapter(name).expect("room for an adapter");
        let (owner, other, stale) = (add("disk0"), add("disk1"), add("gone"));
        pool.remove_adapter(stale).expect("it was added");
        Ground { pool, owner, other, stale }
    }

    /// A block.
    #[inline(always)]
    pub fn allocate(&self, bytes: u32) -> u64 {
        self.allocate_as(bytes, TAG)
    }

    /// A block with a tag.
    #[inline(always)]
    pub fn allocate_as(&self, bytes: u32, tag: PoolTag) -> u64 {
        let mut block = 0;
        let status = self.pool.allocate(self.owner, bytes, tag, Some(&mut block));
        debug_assert_eq!(status, Status::SUCCESS);
        block
    }

    /// As many blocks as there is room for.
    pub fn allocate_bulk(&self, bytes: u32, blocks: &mut [u64]) {
        let status = self.pool.allocate_bulk(self.owner, bytes, TAG, blocks);
        assert_eq!(status, Status::SUCCESS);
    }

    /// Frees them in the owner's name; says how many that did.
    pub fn free_bulk(&self, blocks: &[u64]) -> usize {
        // SAFETY: no benchmark uses a block's memory.
        unsafe { self.pool.free_bulk(self.owner, blocks, &mut []) }
    }

    /// Frees in the owner's name.
    #[inline(always)]
    pub fn free(&self, block: u64) -> Status {
        self.free_as(self.owner, block)
    }

    /// Frees in anybody's name.
    #[inline(always)]
    pub fn free_as(&self, owner: AdapterId, block: u64) -> Status {
        // SAFETY: no benchmark uses a block's memory.
        unsafe { self.pool.free(owner, block) }
    }
}

/// A free that is refused, and why.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    /// NULL.
    Null,
    /// An address of no pool.
    Foreign,
    /// Into a block.
    Interior,
    /// A block that is free already.
    Freed,
    /// A block of another adapter.
    Owner,
    /// In the name of an adapter that is no more.
    Stale,
    /// Above DISPATCH_LEVEL.
    Irql,
}

impl Refusal {
    /// All.
    pub const ALL: [Refusal; 7] = [
        Refusal::Null,
        Refusal::Foreign,
        Refusal::Interior,
        Refusal::Freed,
        Refusal::Owner,
        Refusal::Stale,
        Refusal::Irql,
    ];

    /// Calls `work` with a closure that is refused in this way; the block is freed afterwards.
    pub fn stage<P: Platform, R>(self, ground: &Ground<P>, work: impl FnOnce(&dyn Fn() -> Status) -> R) -> R {
        let block = ground.allocate(64);
        let call = |owner, address| move || ground.free_as(owner, address);
        let result = match self {
            Refusal::Null => work(&call(ground.owner, 0)),
            Refusal::Foreign => work(&call(ground.owner, 0x1000)),
            Refusal::Interior => work(&call(ground.owner, block + 16)),
            Refusal::Freed => {
                assert_eq!(ground.free(block), Status::SUCCESS);
                return work(&call(ground.owner, block));
            }
            Refusal::Owner => work(&call(ground.other, block)),
            Refusal::Stale => work(&call(ground.stale, block)),
            Refusal::Irql => {
                let _interrupt = Irql::raise(Irql::DEVICE);
                work(&call(ground.owner, block))
            }
        };
        let status = ground.free(block);
        assert_eq!(status, Status::SUCCESS, "the refused free changed something");
        result
    }
}

/// The README's examples, compiled. The library's package does not have the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
