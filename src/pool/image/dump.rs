//! A pool's metadata looked at from outside: an image, or the bytes as they lay in memory.

use core::fmt;
use core::mem::{ManuallyDrop, offset_of};

use alloc::vec::Vec;

use super::encoding::{Counters, Decoder, most_bytes};
use super::error::ImageError;
use super::parts::{Scratch, of_span, tables, used};
use super::{config_for, decoded, report, restore_counters};
use crate::contract::adapter::{AdapterId, AdapterName};
use crate::contract::block::{BlockDetail, BlockInfo};
use crate::contract::finding::{CheckReport, NoMemory};
use crate::contract::pattern::TagPattern;
use crate::layout::classes::{CLASSES, SLAB_CLASSES, SpanSize};
use crate::layout::config::Config;
use crate::layout::control::{Control, Depot, SlabSide};
use crate::layout::geometry::Geometry;
use crate::percpu::portable::Portable;
use crate::pool::handle::{Pool, SingleCpu};
use crate::pool::usage::{TagUsage, Usage};

/// A pool's metadata, only to be looked at. It comes from an image, or from a piece of memory. [`check`](Dump::check)
/// tells what is wrong with it. Faults do not keep you from looking at the rest. But then the answers are only as good
/// as the metadata.
///
/// It has memory of its own, as [`Image`](crate::Image) has. Its functions are for PASSIVE.
///
/// ```
/// use storport_pool::{Dump, Pool, Status, TagPattern, tag};
/// let mut pool = Pool::new(1 << 20)?;
/// let disk = pool.add_adapter("disk0")?;
/// let mut block = 0;
/// assert_eq!(pool.allocate(disk, 100, tag!("Srb0"), Some(&mut block)), Status::SUCCESS);
/// let dump = Dump::of_image(&pool.save())?;
/// assert!(dump.check().is_good());
/// assert_eq!(dump.range(), pool.range());
/// assert_eq!(dump.inspect_block(block), pool.inspect_block(block));
/// assert_eq!(dump.usage(), pool.usage());
/// assert_eq!(dump.adapters(), pool.adapters());
/// dump.for_each_tag(|row| assert_eq!((row.tag, row.live), (tag!("Srb0"), 1)));
/// assert_eq!(dump.for_each_block_of(TagPattern::ALL, |one| assert_eq!(one.address, block)), 1);
/// dump.inspect_page(block, |one| println!("{:#x} {}", one.address, one.state));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Dump {
    /// Over the scratch's words. Nobody allocates of it, and it has nothing to drop.
    pool: ManuallyDrop<Pool<Portable<SingleCpu>>>,
    report: CheckReport,
    _scratch: Scratch,
}

/// Where metadata lies around its control block. [`Dump::extent_at`] finds it, and has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DumpExtent {
    /// Bytes of metadata before the control block.
    pub before: usize,
    /// Bytes of metadata from the control block's first byte on.
    pub from: usize,
    /// The first address of the pool's range, and the range's bytes.
    pub range: (u64, u64),
}

impl Dump {
    /// Reads an image, as [`Pool::save`] wrote it, whether its metadata is right or not. PASSIVE; O(pool).
    ///
    /// # Errors
    /// [`ImageError`], except [`Fault`](ImageError::Fault): [`check`](Dump::check) tells of faults.
    pub fn of_image(bytes: &[u8]) -> Result<Dump, ImageError> {
        let (mut decoder, header) = Decoder::new(bytes)?;
        let scratch = decoded(&mut decoder, &header)?;
        decoder.ended()?;
        Dump::over(scratch)
    }

    /// The most bytes that an image with this beginning can have, whatever its pool did. It is for a program that has
    /// not read all of it yet. The first 56 bytes are enough. What is longer is no image, and
    /// [`of_image`](Dump::of_image) refuses it. O(1).
    ///
    /// # Errors
    /// [`ImageError::NoImage`] and [`ImageError::Version`]. [`ImageError::Torn`] for fewer bytes, and for a geometry
    /// that no pool has.
    ///
    /// ```
    /// use storport_pool::{Dump, Pool};
    /// let image = Pool::new(1 << 20)?.save();
    /// assert!(image.len() as u64 <= Dump::most_image_bytes(&image[..56])?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn most_image_bytes(beginning: &[u8]) -> Result<u64, ImageError> {
        most_bytes(beginning)
    }

    /// Reads the first metadata that lies in a piece of memory, such as a core file's or a guest's. It must be whole,
    /// and begin at a multiple of 4096 bytes. It is recognised by its control block: each number there must follow from
    /// the others. No address in it is followed. It must be of the same build of the library, on a machine of the same
    /// byte order. PASSIVE; O(bytes).
    ///
    /// What calls had in hand when the memory was copied is no fault. But the memory must have stood still while it was
    /// copied, as a stopped process's does.
    ///
    /// ```
    /// use std::ptr::NonNull;
    /// use storport_pool::{Config, Dump, Pool, Portable, SingleCpu, tag};
    ///
    /// #[repr(align(4096))]
    /// struct Page([u8; 4096]);
    ///
    /// let config = Config::new(0x8000_0000, 1 << 20).min_block(64);
    /// let bytes = config.metadata_bytes()?;
    /// let pages = Vec::leak((0..bytes.div_ceil(4096)).map(|_| Page([0; 4096])).collect());
    /// let metadata = NonNull::slice_from_raw_parts(NonNull::from(pages).cast::<u8>(), bytes);
    /// // SAFETY: the memory is zeroed, lives for ever, and is used by nothing else.
    /// let pool = unsafe { Pool::new_in(&config, metadata, Portable::new(SingleCpu))? };
    /// let disk = pool.add_adapter("disk0")?;
    /// pool.try_allocate(disk, 100, tag!("Srb0"))?;
    ///
    /// // SAFETY: nobody calls the pool meanwhile.
    /// let core = unsafe { std::slice::from_raw_parts(metadata.cast::<u8>().as_ptr(), bytes) };
    /// let dump = Dump::of_memory(core)?;
    /// assert_eq!((dump.range().0, dump.usage().live), (0x8000_0000, 1));
    ///
    /// // The same in a stream: where is the control block, and how much lies around it?
    /// let (at, extent) = (0..bytes)
    ///     .step_by(4096)
    ///     .find_map(|at| Some((at, Dump::extent_at(&core[at..])?)))
    ///     .unwrap();
    /// assert!(extent.before <= at && at + extent.from <= bytes);
    /// assert_eq!(extent.range, dump.range());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ImageError::NoMetadata`], [`ImageError::NoMemory`].
    pub fn of_memory(bytes: &[u8]) -> Result<Dump, ImageError> {
        let found = (0..bytes.len()).step_by(4096).find_map(|at| {
            let (raw, config) = RawControl(&bytes[at..]).recognised()?;
            let geometry = raw.geometry();
            let whole = at >= geometry.below && bytes.len() - at >= geometry.above;
            whole.then_some((at, raw, config))
        });
        let (base, raw, config) = found.ok_or(ImageError::NoMetadata)?;
        let scratch = Scratch::new(&config)?;
        let meta = scratch.meta();
        let (geometry, counters) = (meta.control().geometry, raw.counters());
        for part in tables(&geometry, counters.arena_next) {
            // SAFETY: the metadata is ours.
            unsafe { part.fill(meta, bytes, base) };
        }
        for span in used(&meta) {
            // SAFETY: as above.
            of_span(&geometry, span).for_each(|part| unsafe { part.fill(meta, bytes, base) });
        }
        restore_counters(meta.control(), &counters);
        Dump::over(scratch)
    }

    /// Looks whether these bytes begin with a pool's control block. The answer is how much metadata lies around it. It
    /// is for a program that looks for metadata in more memory than it can read at once. The control block begins at a
    /// multiple of 4096 bytes. Its first 16384 bytes are enough. O(1). [`of_memory`](Dump::of_memory) has an example.
    #[must_use]
    pub fn extent_at(control: &[u8]) -> Option<DumpExtent> {
        let (raw, config) = RawControl(control).recognised()?;
        let geometry = raw.geometry();
        Some(DumpExtent { before: geometry.below, from: geometry.above, range: (config.base, config.bytes) })
    }

    fn over(scratch: Scratch) -> Result<Dump, ImageError> {
        let meta = scratch.meta();
        let report = report(&meta, true).map_err(|NoMemory| ImageError::NoMemory)?;
        let pool = Pool {
            meta,
            base: meta.range().base,
            platform: Portable::new(SingleCpu),
            #[cfg(feature = "std")]
            backing: None,
            mapped: 0,
        };
        Ok(Dump { pool: ManuallyDrop::new(pool), report, _scratch: scratch })
    }

    /// The first address of the pool's range, and the range's bytes.
    #[must_use]
    pub fn range(&self) -> (u64, u64) {
        self.pool.range()
    }

    /// What is wrong with the metadata, and where all blocks are. As [`Pool::check`].
    #[must_use]
    pub const fn check(&self) -> &CheckReport {
        &self.report
    }

    /// Sums over all blocks. As [`Pool::usage`]; O(pool).
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.pool.usage()
    }

    /// Visits each tag that was ever counted. As [`Pool::for_each_tag`]; O(pool) for each tag.
    pub fn for_each_tag(&self, visit: impl FnMut(TagUsage)) {
        self.pool.for_each_tag(visit);
    }

    /// The block that an address lies in, and where it is. As [`Pool::inspect_block`], with its bound.
    #[must_use]
    pub fn inspect_block(&self, address: u64) -> Option<BlockDetail> {
        self.pool.inspect_block(address)
    }

    /// Visits the blocks in the page of an address. As [`Pool::inspect_page`], with its bound.
    pub fn inspect_page(&self, address: u64, visit: impl FnMut(BlockDetail)) -> Option<u64> {
        self.pool.inspect_page(address, visit)
    }

    /// Visits the live blocks whose tags match. As [`Pool::for_each_block_of`]; O(pool).
    pub fn for_each_block_of(&self, tags: TagPattern, visit: impl FnMut(BlockInfo)) -> u64 {
        self.pool.for_each_block_of(tags, visit)
    }

    /// The live adapters and their names. As [`Pool::adapters`].
    #[must_use]
    pub fn adapters(&self) -> Vec<(AdapterId, AdapterName)> {
        self.pool.adapters()
    }
}

impl fmt::Debug for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base, bytes) = self.range();
        write!(f, "Dump({bytes} bytes at {base:#x})")
    }
}

/// Bytes that may begin with a control block.
struct RawControl<'a>(&'a [u8]);

impl RawControl<'_> {
    fn u32(&self, offset: usize) -> u32 {
        let bytes = self.0.get(offset..offset + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_ne_bytes)
    }

    fn u64(&self, offset: usize) -> u64 {
        let bytes = self.0.get(offset..offset + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_ne_bytes)
    }

    /// The geometry, whether it is one or not. There are as many bytes as a control block has.
    fn geometry(&self) -> Geometry {
        let at = &self.0[offset_of!(Control, geometry)..][..size_of::<Geometry>()];
        // SAFETY: the bytes are there, and the type has numbers alone, so any bytes are one.
        unsafe { at.as_ptr().cast::<Geometry>().read_unaligned() }
    }

    /// The configuration of the pool whose control block this is, if it is one's: from it all other numbers follow.
    fn recognised(self) -> Option<(Self, Config)> {
        if self.0.len() < size_of::<Control>() {
            return None;
        }
        let (geometry, cpus) = (self.geometry(), self.u32(offset_of!(Control, cpus)));
        let accounts = (self.u64(offset_of!(Control, account_mask)) as i64).unsigned_abs();
        let sane = (geometry.span == SpanSize::PAGE || geometry.span == SpanSize::MOST)
            && (geometry.least_class as usize) < SLAB_CLASSES
            && geometry.arena <= geometry.arena_end
            && accounts <= u32::MAX.into();
        if !sane {
            return None;
        }
        let config = config_for(&geometry, cpus, accounts as u32);
        (Geometry::new(&config).ok()? == geometry).then_some((self, config))
    }

    fn counters(&self) -> Counters {
        let depots = offset_of!(Control, depots);
        let carve = offset_of!(Depot, slabs) + offset_of!(SlabSide, carve);
        let mut counters = Counters {
            span_hint: self.u32(offset_of!(Control, span_hint)).into(),
            arena_next: self.u64(offset_of!(Control, arena_next)),
            empties: self.u64(offset_of!(Control, empties)),
            contended: self.u64(offset_of!(Control, contended)),
            violations: self.u64(offset_of!(Control, violations)),
            carve: [0; CLASSES],
        };
        for (class, word) in counters.carve.iter_mut().enumerate() {
            *word = self.u64(depots + class * size_of::<Depot>() + carve);
        }
        counters
    }
}
