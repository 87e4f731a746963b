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

/// A pool's metadata, read from an image or from a piece of memory, to be looked at and no more. What is wrong with it is
/// told by [`check`](Dump::check), and keeps nobody from looking at the rest; then the answers are only as good as the
/// metadata.
///
/// It has memory of its own, as [`Image`](crate::Image) has.
///
/// ```
/// use storport_pool::{Dump, Pool, Status, tag};
/// let mut pool = Pool::new(1 << 20)?;
/// let disk = pool.add_adapter("disk0")?;
/// let mut block = 0;
/// assert_eq!(pool.allocate(disk, 100, tag!("Srb0"), Some(&mut block)), Status::SUCCESS);
/// let dump = Dump::of_image(&pool.save())?;
/// assert!(dump.check().is_good());
/// assert_eq!(dump.inspect_block(block), pool.inspect_block(block));
/// assert_eq!(dump.usage(), pool.usage());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Dump {
    /// Over the scratch's words. Nobody allocates of it, and it has nothing to drop.
    pool: ManuallyDrop<Pool<Portable<SingleCpu>>>,
    report: CheckReport,
    _scratch: Scratch,
}

/// Where metadata lies around its control block, as [`Dump::extent_at`] found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DumpExtent {
    /// Bytes of metadata before the control block.
    pub before: usize,
    /// Bytes from the control block's first one on.
    pub from: usize,
    /// The first address of the pool's range, and its bytes.
    pub range: (u64, u64),
}

impl Dump {
    /// Reads an image, as [`Pool::save`] wrote it, whether its metadata is right or not.
    ///
    /// O(pool).
    ///
    /// # Errors
    /// [`ImageError`], but for [`Fault`](ImageError::Fault): those are for [`check`](Dump::check) to tell.
    pub fn of_image(bytes: &[u8]) -> Result<Dump, ImageError> {
        let (mut decoder, header) = Decoder::new(bytes)?;
        let scratch = decoded(&mut decoder, &header)?;
        decoder.ended()?;
        Dump::over(scratch)
    }

    /// The bytes that an image which begins so can have at most, whatever its pool did: for who has not yet read it all. The
    /// first 56 bytes are enough. What is longer is no image, and [`of_image`](Dump::of_image) refuses it. O(1).
    ///
    /// # Errors
    /// [`ImageError::NoImage`], [`ImageError::Version`]; [`ImageError::Torn`] of fewer bytes, and of a geometry that no pool
    /// has.
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

    /// Reads the first metadata that lies in a piece of memory: of a core file or of a guest's memory, at any multiple of
    /// 4096 bytes, and whole. It is recognised by its control block, of which each number must follow from the others. No
    /// address in it is followed. Only metadata of the same build of the library, on a machine of the same byte order, is
    /// recognised.
    ///
    /// What calls had in hand when the memory was copied is no fault. But the memory must have stood still while it was
    /// copied, as a stopped process's does.
    ///
    /// O(bytes).
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

    /// Whether these bytes begin with a pool's control block, and how much metadata lies around it: for who looks for it
    /// in more memory than can be read at once. The control block begins at a multiple of 4096 bytes. The first 16384 bytes
    /// are enough. O(1).
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

    /// Where the range of the pool began, and its bytes.
    #[must_use]
    pub fn range(&self) -> (u64, u64) {
        self.pool.range()
    }

    /// What is wrong with the metadata, and where all blocks are; as [`Pool::check`].
    #[must_use]
    pub const fn check(&self) -> &CheckReport {
        &self.report
    }

    /// Sums over all blocks; as [`Pool::usage`].
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.pool.usage()
    }

    /// Visits each tag that was ever counted; as [`Pool::for_each_tag`].
    pub fn for_each_tag(&self, visit: impl FnMut(TagUsage)) {
        self.pool.for_each_tag(visit);
    }

    /// The block that an address lies in, and where it is; as [`Pool::inspect_block`].
    #[must_use]
    pub fn inspect_block(&self, address: u64) -> Option<BlockDetail> {
        self.pool.inspect_block(address)
    }

    /// Visits the blocks of the page of an address; as [`Pool::inspect_page`].
    pub fn inspect_page(&self, address: u64, visit: impl FnMut(BlockDetail)) -> Option<u64> {
        self.pool.inspect_page(address, visit)
    }

    /// Visits the live blocks whose tags match; as [`Pool::for_each_block_of`].
    pub fn for_each_block_of(&self, tags: TagPattern, visit: impl FnMut(BlockInfo)) -> u64 {
        self.pool.for_each_block_of(tags, visit)
    }

    /// The live adapters and their names; as [`Pool::adapters`].
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
