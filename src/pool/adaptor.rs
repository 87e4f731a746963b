//! The `Allocator` trait over an adapter of a pool: collections whose memory is one adapter's, and of one tag.

use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};
use static_assertions::assert_impl_all;

use crate::contract::adapter::AdapterId;
use crate::contract::tag::PoolTag;
use crate::percpu::platform::Platform;
use crate::pool::handle::{DefaultPlatform, Pool};
use crate::pool::layouts::Owner;
use crate::pool::safe::Adapter;

/// An [`Allocator`] in the name of an adapter, with a tag. It has three words, and each collection gets a copy.
///
/// It is for collections of the crate `allocator-api2`, and for all that take its allocators: hashbrown, bumpalo and
/// others. When the pool refuses an allocation, the answer is an `AllocError`, and the collection decides what follows.
/// A block grows and shrinks in place, as far as its size allows. Calls are for IRQL <= DISPATCH. Above, a block that
/// is dropped leaks.
///
/// ```
/// use allocator_api2::{boxed::Box, vec::Vec};
/// use storport_pool::{Pool, tag};
///
/// let pool = Pool::new(1 << 20)?;
/// let disk = pool.adapter("disk0")?;
/// let queue = disk.tagged(tag!("Queu")).unwrap();
/// let mut requests = Vec::with_capacity_in(10, queue);
/// requests.push(Box::new_in(4711, queue));
/// assert_eq!(pool.usage().live, 2);
/// drop(requests);
/// assert_eq!(pool.usage().live, 0);
/// # Ok::<(), std::boxed::Box<dyn std::error::Error>>(())
/// ```
pub struct Tagged<'a, P: Platform = DefaultPlatform> {
    owner: Owner<'a, P>,
    tag: PoolTag,
}

assert_impl_all!(Tagged<'static>: Copy, Send, Sync);

impl<P: Platform> Pool<P> {
    /// An [`Allocator`] in the name of this adapter, with this tag. Any IRQL; no loop.
    ///
    /// `None`: the pool cannot reach its range as memory. The caller supplied the range, and did not say where its
    /// memory is ([`Pool::with_memory`]), or it has other addresses in this program.
    ///
    /// If the adapter is removed before all blocks are freed, they go to the orphans. They stay good, and leak.
    ///
    /// ```
    /// use storport_pool::{TaggedAlloc, tag};
    /// static GLOBAL: TaggedAlloc = TaggedAlloc::new(tag!("Main"), 1 << 20);
    /// let json = GLOBAL.pool().unwrap().tagged(GLOBAL.adapter().unwrap(), tag!("Json")).unwrap();
    /// let mut names = allocator_api2::vec::Vec::new_in(json);
    /// names.extend([1, 2, 3]);
    /// ```
    pub fn tagged(&self, adapter: AdapterId, tag: PoolTag) -> Option<Tagged<'_, P>> {
        // SAFETY: the range's memory is where its addresses say: the pool's own mapping, or by the promise of
        // `with_memory`. Both have exposed it. (A range never begins at 0.)
        (self.mapped as u64 == self.base.0).then(|| unsafe { Tagged::new(self, adapter, tag) })
    }
}

impl<P: Platform> Adapter<'_, P> {
    /// An [`Allocator`] in this adapter's name, as [`Pool::tagged`].
    ///
    /// ```
    /// use storport_pool::{Pool, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.adapter("disk0")?;
    /// let mut cache = hashbrown::HashMap::new_in(disk.tagged(tag!("Cach")).unwrap());
    /// cache.insert(17, "a sector");
    /// assert_eq!(pool.usage().live, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tagged(&self, tag: PoolTag) -> Option<Tagged<'_, P>> {
        self.pool().tagged(self.id(), tag)
    }
}

impl<'a, P: Platform> Tagged<'a, P> {
    /// An [`Allocator`] over a range that the caller supplied. Any IRQL.
    ///
    /// ```
    /// # use std::ptr::NonNull;
    /// use storport_pool::{Config, Pool, Portable, SingleCpu, Tagged, tag};
    /// # let mut memory = vec![0u64; (4 << 20) / 8];
    /// # let mut range = vec![0u64; (1 << 20) / 8];
    /// let base = range.as_mut_ptr().expose_provenance() as u64;
    /// let config = Config::new(base, 1 << 20).min_block(64);
    /// # let start = NonNull::new((memory.as_mut_ptr() as usize).next_multiple_of(4096) as *mut u8).unwrap();
    /// # let metadata = NonNull::slice_from_raw_parts(start, config.metadata_bytes()?);
    /// // SAFETY: the metadata is zeroed, aligned to 4096, and used by nothing else; nor is the range.
    /// let pool = unsafe { Pool::new_in(&config, metadata, Portable::new(SingleCpu))? };
    /// let disk = pool.add_adapter("disk0")?;
    /// let queue = unsafe { Tagged::new(&pool, disk, tag!("Queu")) };
    /// let numbers = allocator_api2::vec::Vec::<u32, _>::with_capacity_in(100, queue);
    /// assert!((base..base + (1 << 20)).contains(&(numbers.as_ptr() as u64)));
    /// # drop(numbers);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Safety
    /// * The pool's range is memory of this process, for reads and writes, at the addresses that the pool hands out. Their provenance is
    ///   exposed.
    /// * Nobody else uses it while the pool, and what was allocated from it, is in use.
    /// * Nobody else frees what is allocated here, nor releases it with the adapter
    ///   ([`release_adapter_with`](Pool::release_adapter_with)).
    #[must_use]
    pub const unsafe fn new(pool: &'a Pool<P>, adapter: AdapterId, tag: PoolTag) -> Tagged<'a, P> {
        Tagged { owner: Owner { pool, adapter }, tag }
    }

    /// The same adapter's allocator with another tag.
    ///
    /// ```
    /// use storport_pool::{Pool, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.adapter("disk0")?;
    /// let queue = disk.tagged(tag!("Queu")).unwrap();
    /// let names = allocator_api2::vec::Vec::<u8, _>::with_capacity_in(10, queue.with_tag(tag!("Name")));
    /// assert_eq!(pool.block_at(names.as_ptr() as u64).unwrap().tag, Some(tag!("Name")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn with_tag(self, tag: PoolTag) -> Tagged<'a, P> {
        Tagged { tag, ..self }
    }
}

/// What the trait answers, of a block or null.
fn answer(block: *mut u8, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
    let block = NonNull::new(block).ok_or(AllocError)?;
    Ok(NonNull::slice_from_raw_parts(block, layout.size()))
}

/// A block of no bytes, which is nobody's.
fn nothing(layout: Layout) -> NonNull<[u8]> {
    // An alignment is not 0.
    let nowhere = NonNull::new(core::ptr::without_provenance_mut(layout.align()));
    NonNull::slice_from_raw_parts(nowhere.unwrap_or(NonNull::dangling()), 0)
}

// SAFETY: a block is memory of the range, which whoever made the value vouches for; nobody else's until it is freed
// (I1 to I3 of docs/CONCURRENCY.md), wherever the value is moved or copied; the pool outlives all copies.
unsafe impl<P: Platform> Allocator for Tagged<'_, P> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        answer(self.owner.allocate(layout, self.tag), layout)
    }

    fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        answer(self.owner.allocate_zeroed(layout, self.tag), layout)
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() != 0 {
            // SAFETY: the caller's promise: it gives the block up.
            unsafe { self.owner.free(block.as_ptr()) };
        }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if old.size() == 0 {
            return self.allocate(new);
        }
        // SAFETY: the caller's promise: its block, of the old layout; and the new one has no less bytes than that.
        answer(unsafe { self.owner.reallocate(block.as_ptr(), old, new, self.tag) }, new)
    }

    unsafe fn grow_zeroed(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise.
        let grown = unsafe { self.grow(block, old, new) }?;
        let more = new.size() - old.size();
        // SAFETY: the block has the new size, and is ours.
        unsafe { grown.cast::<u8>().add(old.size()).write_bytes(0, more) };
        Ok(grown)
    }

    unsafe fn shrink(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if new.size() == 0 {
            // SAFETY: the caller's promise: it gives the block up.
            unsafe { self.deallocate(block, old) };
            return Ok(nothing(new));
        }
        // SAFETY: the caller's promise: its block, of the old layout; and the new one has a size.
        answer(unsafe { self.owner.reallocate(block.as_ptr(), old, new, self.tag) }, new)
    }
}

impl<P: Platform> Clone for Tagged<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Platform> Copy for Tagged<'_, P> {}

impl<P: Platform> fmt::Debug for Tagged<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tagged({}, tag {:?})", self.owner.adapter, self.tag)
    }
}
