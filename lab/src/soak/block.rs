//! Blocks whose contents show whether somebody else had them.

use storport_pool::{AdapterId, Native, Pool, PoolTag, Status};

/// A block, what it was asked for, and what was written into it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) address: u64,
    pub(super) bytes: u32,
    pub(super) owner: AdapterId,
    mark: u64,
}

impl Block {
    /// Allocates and marks; `None` when the pool is exhausted.
    pub(super) fn take(
        pool: &Pool<Native>,
        owner: AdapterId,
        bytes: u32,
        tag: PoolTag,
        mark: u64,
    ) -> Result<Option<Block>, Status> {
        let mut address = 0;
        match pool.allocate(owner, bytes, tag, Some(&mut address)) {
            Status::SUCCESS => {
                let block = Block { address, bytes, owner, mark };
                for word in block.words() {
                    // SAFETY: the block is ours, and its range memory of this process.
                    unsafe { word.write(mark ^ word.addr() as u64) };
                }
                Ok(Some(block))
            }
            Status::INSUFFICIENT_RESOURCES => Ok(None),
            other => Err(other),
        }
    }

    /// Some words of the beginning, and of the end.
    fn words(&self) -> impl Iterator<Item = *mut u64> + use<> {
        let (start, count) = (self.address as *mut u64, self.bytes as usize / 8);
        (0..count.min(8)).chain(count.saturating_sub(8).max(8)..count).map(move |n| start.wrapping_add(n))
    }

    /// Whether nobody else wrote into it.
    pub(super) fn check(&self) -> Result<(), String> {
        // SAFETY: as in `take`.
        let intact = self.words().all(|word| unsafe { word.read() } == self.mark ^ word.addr() as u64);
        if intact { Ok(()) } else { Err(format!("{self:x?} is damaged")) }
    }

    /// The same block, after its adapter went.
    pub(super) fn orphaned(self) -> Block {
        Block { owner: AdapterId::ORPHANS, ..self }
    }

    /// Checks and frees.
    pub(super) fn give(self, pool: &Pool<Native>) -> Result<(), String> {
        self.check()?;
        // SAFETY: nobody uses the block any more.
        match unsafe { pool.free(self.owner, self.address) } {
            Status::SUCCESS => Ok(()),
            other => Err(format!("the free of {self:x?} got {other}")),
        }
    }
}
