//! Questions to a pool that runs: one block, one page, the blocks of a tag.

use crate::contract::block::{BlockDetail, BlockInfo};
use crate::contract::pattern::TagPattern;
use crate::percpu::platform::Platform;
use crate::pool::handle::Pool;

impl<P: Platform> Pool<P> {
    /// The block that an address lies in, and where it is: with its caller, in a CPU's cache, in the stock, or not
    /// carved yet. In a span without blocks, the answer is the large run, or the span. `None`: the address is outside
    /// of the range, or behind the last block of a slab.
    ///
    /// It tells what was so when it looked, and is exact at rest. A block that moves meanwhile may be
    /// [`InHand`](crate::BlockState::InHand).
    ///
    /// Any address, any IRQL. It asks for no memory. It has only loads, but not few: at most one for each 64 magazines
    /// of the pool, two for each CPU, and one for each entry (252 at most) of the magazines with blocks of this size.
    /// [`block_at`](Pool::block_at) takes a handful, but does not say where a free block is.
    ///
    /// ```
    /// use storport_pool::{BlockState, Pool, Status, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// let mut block = 0;
    /// assert_eq!(pool.allocate(disk, 100, tag!("Srb0"), Some(&mut block)), Status::SUCCESS);
    /// let found = pool.inspect_block(block + 99).unwrap();
    /// assert_eq!((found.address, found.bytes, found.capacity), (block, 100, 112));
    /// assert_eq!((found.state, found.owner, found.tag), (BlockState::Live, Some(disk), Some(tag!("Srb0"))));
    /// assert_eq!(unsafe { pool.free(disk, block) }, Status::SUCCESS);
    /// assert!(pool.inspect_block(block).unwrap().state.is_cached());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn inspect_block(&self, address: u64) -> Option<BlockDetail> {
        self.meta.inspect_block(address)
    }

    /// Visits all blocks in the page of an address, even those that lie there only in part. They come in the order of
    /// their addresses: it is what `!pool` shows. The answer is where the page begins. `None`: the address is outside
    /// of the range, and nothing is visited.
    ///
    /// A page is 4096 bytes. A page of a large run has one block, the run. A page of a span that is free, or that a
    /// call has in hand, has one, the span. Bytes behind the last block of a page or slab belong to no block, so a page
    /// may have none.
    ///
    /// It is as exact as [`inspect_block`](Pool::inspect_block), for the same IRQL. It has the same bound for the whole
    /// page, and one load more for each block. It asks for no memory, and takes some 3 KiB of stack.
    ///
    /// ```
    /// use storport_pool::{Pool, Status, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// let mut block = 0;
    /// assert_eq!(pool.allocate(disk, 1000, tag!("Srb0"), Some(&mut block)), Status::SUCCESS);
    /// let mut seen = 0;
    /// let page = pool.inspect_page(block, |one| {
    ///     println!("{:#x} {:6} {:6} {}", one.address, one.capacity, one.bytes, one.state);
    ///     seen += 1;
    /// });
    /// assert_eq!((page, seen), (Some(block & !0xFFF), 4)); // four blocks of 1024 bytes
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn inspect_page(&self, address: u64, visit: impl FnMut(BlockDetail)) -> Option<u64> {
        self.meta.inspect_page(address, visit)
    }

    /// Visits the live blocks whose tags match, in the order of their addresses: it is what `!poolfind` shows. The
    /// answer is how many there were. A block whose tag is not known ([`BlockInfo::tag`]) matches `*` alone.
    ///
    /// It is exact at rest. Each block that it visits was live when it looked, and had what is said of it. A block that
    /// lives all the while is visited once, unless its adapter is removed meanwhile. The visitor may call the pool.
    /// PASSIVE; walks all states; asks for no memory.
    ///
    /// ```
    /// use storport_pool::{Pool, Status, TagPattern, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// for tag in [tag!("Srb0"), tag!("Srb1"), tag!("Ahci")] {
    ///     assert_eq!(pool.allocate(disk, 100, tag, Some(&mut 0)), Status::SUCCESS);
    /// }
    /// let found = pool.for_each_block_of(TagPattern::new("Srb?")?, |block| println!("{:#x}", block.address));
    /// assert_eq!(found, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn for_each_block_of(&self, tags: TagPattern, mut visit: impl FnMut(BlockInfo)) -> u64 {
        let mut count = 0;
        self.meta.each_live(|block| {
            if block.tag.map_or(tags.is_all(), |tag| tags.matches(tag)) {
                count += 1;
                visit(block);
            }
        });
        count
    }
}
