//! Blocks whose contents show whether somebody else had them.

use storport_pool::{AdapterId, Platform, Pool, PoolTag, Status};

use super::{SIZES, alloc_tag, must_free};

/// A small generator, so that a run can be repeated.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn size(&mut self) -> u32 {
        let n = self.next();
        match n % 16 {
            0 => 4097 + (n >> 8) as u32 % 28_000,
            1 => 32_769 + (n >> 8) as u32 % 100_000,
            2..6 => 1 + (n >> 8) as u32 % 4096,
            _ => SIZES[(n >> 8) as usize % 20],
        }
    }
}

/// A block with a pattern in its first and last words.
pub struct Block {
    pub address: u64,
    pub bytes: u32,
    mark: u64,
}

impl Block {
    pub fn new<P: Platform>(
        pool: &Pool<P>,
        id: AdapterId,
        bytes: u32,
        tag: PoolTag,
        mark: u64,
    ) -> Option<Block> {
        let address = match alloc_tag(pool, id, bytes, tag) {
            Ok(address) => address,
            Err(status) => {
                assert_eq!(status, Status::INSUFFICIENT_RESOURCES);
                return None;
            }
        };
        Some(Block::marked(address, bytes, mark))
    }

    /// So many at once, or none.
    pub fn many<P: Platform>(
        pool: &Pool<P>,
        id: AdapterId,
        bytes: u32,
        tag: PoolTag,
        marks: &[u64],
    ) -> Vec<Block> {
        let mut addresses = vec![0; marks.len()];
        let status = pool.allocate_bulk(id, bytes, tag, &mut addresses);
        assert!(status.is_success() || status == Status::INSUFFICIENT_RESOURCES, "{status}");
        let got = if status.is_success() { marks.len() } else { 0 };
        addresses.iter().zip(marks).take(got).map(|(&at, &mark)| Block::marked(at, bytes, mark)).collect()
    }

    fn marked(address: u64, bytes: u32, mark: u64) -> Block {
        let block = Block { address, bytes, mark };
        for word in block.words() {
            // SAFETY: the block is ours, and the range is memory of this process.
            unsafe { word.write(mark ^ word.addr() as u64) };
        }
        block
    }

    /// Frees them at once.
    pub fn free_many<P: Platform>(blocks: Vec<Block>, pool: &Pool<P>, id: AdapterId) {
        let addresses: Vec<u64> =
            blocks.iter().inspect(|block| block.check()).map(|block| block.address).collect();
        let mut statuses = vec![Status::UNSUCCESSFUL; addresses.len()];
        // SAFETY: the blocks are ours, and nobody uses them any more.
        let freed = unsafe { pool.free_bulk(id, &addresses, &mut statuses) };
        assert_eq!((freed, statuses), (addresses.len(), vec![Status::SUCCESS; addresses.len()]));
    }

    fn words(&self) -> impl Iterator<Item = *mut u64> {
        let (start, words) = (self.address as *mut u64, self.bytes as usize / 8);
        let all = (0..words.min(16)).chain(words.saturating_sub(16).max(16)..words);
        all.map(move |n| start.wrapping_add(n))
    }

    pub fn check(&self) {
        for word in self.words() {
            // SAFETY: as in `new`.
            assert_eq!(unsafe { word.read() }, self.mark ^ word.addr() as u64, "{:#x}", self.address);
        }
    }

    pub fn free<P: Platform>(self, pool: &Pool<P>, id: AdapterId) {
        self.check();
        must_free(pool, id, self.address);
    }
}
