//! A pool's metadata as bytes: to save with a guest, and to restore into a pool of the same geometry, as often as one
//! likes.
//!
//! Nothing in the bytes is an address: blocks are offsets in the range, magazines and states offsets in the metadata.
//! What is one, in the control block, stays the restored pool's own. An image is checked as a whole when it is read, so
//! restoring it is copying.

mod copy;
pub(crate) mod dump;
mod encoding;
pub(crate) mod error;
mod parts;
#[cfg(all(test, feature = "std"))]
mod planted;

use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use crate::contract::finding::{CheckReport, NoMemory, Places};
use crate::layout::classes::{CLASSES, Class, SpanSize};
use crate::layout::config::Config;
use crate::layout::control::Control;
use crate::layout::cursor::MAGAZINE_WORDS;
use crate::layout::geometry::Geometry;
use crate::layout::meta::Meta;
use crate::percpu::platform::Platform;
use crate::pool::handle::Pool;
use crate::stock::findings::Findings;
use crate::stock::saved::Saved;
use crate::sync::Ordering;
use encoding::{Counters, Decoder, Encoder, Header};
use error::{ImageError, OtherGeometry};
use parts::{Copy, Scratch, arena_next, of_span, tables, used};

/// A pool's metadata, read from bytes and checked. [`Pool::save`] writes it, [`Pool::restore`] takes it; `save` has an
/// example.
///
/// It has memory of its own: as much address space as the pool's metadata. Of that it touches what was in use.
///
/// ```
/// use storport_pool::{Image, Pool};
/// let mut pool = Pool::new(1 << 20)?;
/// let image = Image::read(&pool.save())?;
/// assert_eq!((image.range(), image.lost_blocks()), (pool.range(), 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Image {
    scratch: Scratch,
    header: Header,
    lost: u64,
}

impl Image {
    /// Reads what [`Pool::save`] wrote, and checks it. Each index must lead to a thing of its kind. Each block and each
    /// magazine must be in one place. So an image never leads a pool astray, whoever wrote it. PASSIVE; O(pool).
    ///
    /// # Errors
    /// [`ImageError`]. Nothing is kept then.
    pub fn read(bytes: &[u8]) -> Result<Image, ImageError> {
        let (mut decoder, header) = Decoder::new(bytes)?;
        let scratch = decoded(&mut decoder, &header)?;
        decoder.ended()?;
        let meta = scratch.meta();
        let lost = checked(&meta, &mut Findings::first())?.in_hand;
        Ok(Image { scratch, header, lost })
    }

    /// The first address of the range of the pool that was saved, and the range's bytes. Any IRQL.
    #[must_use]
    pub fn range(&self) -> (u64, u64) {
        (self.header.config.base, self.header.config.bytes)
    }

    /// Free blocks that nobody will ever get again. Calls that never ended had them in hand, such as those that a
    /// handler did not return to. Any IRQL.
    #[must_use]
    pub const fn lost_blocks(&self) -> u64 {
        self.lost
    }

    /// Writes the right checksum at the end of bytes: for tests of what is checked behind it.
    #[doc(hidden)]
    pub fn seal(bytes: &mut [u8]) {
        encoding::seal(bytes);
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base, bytes) = self.range();
        write!(f, "Image({bytes} bytes at {base:#x})")
    }
}

impl<P: Platform> Pool<P> {
    /// Looks at all of the metadata, by the rules by which an [`Image`] is read: whether each block, magazine and span
    /// is in one place, and each word is one that a pool writes. It does not end at the first fault.
    ///
    /// It may be called at any time, and stops nobody. It copies the metadata twice, and again up to six times, until
    /// two copies in a row are the same. Then the pool stood still between the two, and the report is exact
    /// ([`CheckReport::settled`]). What a call has in hand that stands still is no fault: it is counted as in hand.
    ///
    /// If the copies differ to the end, calls are under way. Then it tells only of faults that a single word proves,
    /// since no pool ever writes that word there. So a fault that it tells is one in any case. Other faults stay untold
    /// until the pool rests. While an adapter is added or removed, adapters and accounts are judged no further either
    /// ([`CheckReport::owners_settled`]).
    ///
    /// It cannot see two things. It knows nothing of the memory of the range: a write past a block there is for others
    /// to find. And if the control block, which has the geometry, is overwritten, nothing is promised of any call.
    ///
    /// It asks the global allocator for as much memory as the metadata has, and touches what is in use. It also asks
    /// for an eighth of a byte for each 16 bytes of the range. PASSIVE; O(what is in use), some eight times if the pool
    /// is busy.
    ///
    /// # Errors
    /// [`NoMemory`].
    ///
    /// ```
    /// use storport_pool::{Pool, Status, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// assert_eq!(pool.allocate(disk, 100, tag!("Srb0"), Some(&mut 0)), Status::SUCCESS);
    /// let report = pool.check()?;
    /// report.findings.iter().for_each(|finding| eprintln!("{finding}"));
    /// assert!(report.is_good() && report.settled);
    /// assert_eq!((report.places.live, report.places.in_hand), (1, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check(&self) -> Result<CheckReport, NoMemory> {
        let scratch = Scratch::new(&config_of(self.meta.control())).map_err(|_| NoMemory)?;
        let meta = scratch.meta();
        let settled = copy::until_settled(&meta, &self.meta);
        report(&meta, settled)
    }

    /// The pool's metadata as bytes, for [`Image::read`]: who has which block, what each CPU caches, all counts. A pool
    /// that is restored from it goes on exactly as this one: the same calls on the same CPUs get the same addresses.
    ///
    /// What the blocks hold is not in it. The range's owner saves that. The host's own things are not in it either: its
    /// hook, its switch, its functions. PASSIVE; O(what is in use).
    ///
    /// ```
    /// use storport_pool::{Image, PoolOptions, Portable, SingleCpu, Status, tag};
    /// let mut pool = PoolOptions::new(1 << 20).build_on(Portable::new(SingleCpu))?;
    /// let disk = pool.add_adapter("disk0")?;
    /// let (mut srb, mut again) = (0, 0);
    /// let image = Image::read(&pool.save())?;
    /// for _ in 0..1000 {
    ///     pool.restore(&image)?;
    ///     assert_eq!(pool.allocate(disk, 208, tag!("VioS"), Some(&mut again)), Status::SUCCESS);
    ///     assert!(srb == 0 || srb == again, "each run is the same");
    ///     srb = again;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn save(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let written = self.save_with(|some| {
            bytes.extend_from_slice(some);
            Ok::<_, Infallible>(())
        });
        match written {
            Ok(()) => bytes,
            Err(never) => match never {},
        }
    }

    /// As [`save`](Pool::save), but it hands the bytes to `write`, a few at a time and in order. It is for files, or
    /// for a host with no memory to spare. PASSIVE; O(what is in use).
    ///
    /// ```
    /// use std::io::Write;
    /// use storport_pool::{Image, Pool};
    /// let mut pool = Pool::new(1 << 20)?;
    /// let mut file = Vec::new(); // a File behind a BufWriter, as a rule
    /// pool.save_with(|bytes| file.write_all(bytes))?;
    /// assert_eq!(Image::read(&file)?.range(), pool.range());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What `write` returned.
    pub fn save_with<E>(&mut self, write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let meta = self.meta;
        // What waits in a verifier's quarantine is free.
        if let Some(verifier) = self.attached() {
            verifier.sweep();
        }
        let control = meta.control();
        let counters = saved_counters(control);
        let mut encoder = Encoder::new(write, Header { config: config_of(control), counters })?;
        for part in tables(&control.geometry, counters.arena_next) {
            // SAFETY: the pool is borrowed mutably, so the metadata is ours.
            encoder.put(unsafe { part.of_meta(meta) })?;
        }
        for span in used(&meta) {
            for part in of_span(&control.geometry, span) {
                // SAFETY: as above.
                encoder.put(unsafe { part.of_meta(meta) })?;
            }
        }
        encoder.finish()
    }

    /// Makes the pool what it was when the image was saved. [`save`](Pool::save) has an example. It may be done any
    /// number of times. PASSIVE; O(what is in use, here or there).
    ///
    /// **Which image.** It may be another pool's, if both have the same numbers: bytes, CPUs, accounts, adapters,
    /// smallest block, magazines. `PoolOptions` takes the CPUs of the machine, so say [`cpus`](crate::Config::cpus) if
    /// images travel. It takes the pool as `&mut`, so a pool in a static, or a global allocator's, has no such call.
    ///
    /// **Addresses.** The range may begin elsewhere. Then all addresses move with it. An alignment above 64 KiB (4 KiB
    /// in pools of less than 8 MiB) is kept only if the distance is a multiple of it. Addresses that were handed out
    /// since the save are those of whatever lies there now. The host restores what the blocks hold.
    ///
    /// **Adapters.** Handles of adapters that were added since the save are refused for ever. Each uses up one life of
    /// its place ([`Config::adapters`](crate::Config::adapters)). So a loop adds its adapters before it saves.
    ///
    /// The pool's hook and its switch stay as they are.
    ///
    /// # Errors
    /// [`OtherGeometry`]. Nothing has changed then.
    pub fn restore(&mut self, image: &Image) -> Result<(), OtherGeometry> {
        let (from, to) = (image.scratch.meta(), self.meta);
        let (image_has, pool_has) = (shape(from.control()), shape(to.control()));
        if let Some((&(what, image), &(_, pool))) =
            image_has.iter().zip(&pool_has).find(|(its, ours)| its != ours)
        {
            return Err(OtherGeometry { what, image, pool });
        }
        if let Some(verifier) = self.attached() {
            // Its notes and guard pages are those of what is no more.
            verifier.forget_all();
        }
        let most = arena_next(&from).max(arena_next(&to));
        // SAFETY: the pool is borrowed mutably, so nobody else uses its metadata; an image is never written to.
        unsafe { Copy { from, to }.all(most) };
        restore_counters(to.control(), &image.header.counters);
        let depots = to.control().depots.iter().zip(&from.control().depots);
        for (to, from) in depots {
            // ORDERING: Relaxed, all - the metadata is ours.
            to.slabs.count.store(from.slabs.count.load(Ordering::Relaxed), Ordering::Relaxed);
            for (to, from) in [(&to.full, &from.full), (&to.loose, &from.loose)] {
                for (to, from) in to.0.iter().zip(&from.0) {
                    to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
                }
            }
        }
        #[cfg(storport_pool_asan)]
        to.unpoison_all();
        to.watch_accounts();
        Ok(())
    }
}

/// The metadata of an image, as it was written.
fn decoded(decoder: &mut Decoder<'_>, header: &Header) -> Result<Scratch, ImageError> {
    let scratch = Scratch::new(&header.config)?;
    let meta = scratch.meta();
    restore_counters(meta.control(), &header.counters);
    let geometry = &meta.control().geometry;
    for part in tables(geometry, header.counters.arena_next) {
        // SAFETY: the metadata is ours.
        decoder.get(unsafe { part.of_meta(meta) })?;
    }
    for span in used(&meta) {
        // SAFETY: as above.
        of_span(geometry, span).try_for_each(|part| decoder.get(unsafe { part.of_meta(meta) }))?;
    }
    Ok(scratch)
}

/// Checks metadata that is the caller's: where all blocks are.
fn checked(meta: &Meta, findings: &mut Findings) -> Result<Places, ImageError> {
    meta.check_owners(findings)?;
    let saved = Saved::new(meta, findings).ok_or(ImageError::NoMemory)?;
    let places = saved.check(|owner| meta.may_own(owner))?;
    meta.check_counts(findings).map_err(|fault| fault.map_or(ImageError::NoMemory, ImageError::Fault))?;
    Ok(places)
}

/// All that is wrong with metadata that is the caller's. `settled`: it was copied while it stood still. What no pool's
/// metadata has is taken out of it, so that it can be walked afterwards.
fn report(meta: &Meta, settled: bool) -> Result<CheckReport, NoMemory> {
    let mut findings = Findings::all(settled, meta.owners_stand_still());
    // It goes on after each fault, so it ends for want of memory alone.
    let places = checked(meta, &mut findings).map_err(|_| NoMemory)?;
    Ok(CheckReport { places, ..findings.report() })
}

/// What two pools must have in common for one's metadata to be the other's.
fn shape(control: &Control) -> [(&'static str, u64); 7] {
    let Config { bytes, cpus, accounts, adapters, min_block, magazines, large_spans, .. } =
        config_of(control);
    [
        ("range_bytes", bytes),
        ("cpus", cpus.into()),
        ("accounts", accounts.into()),
        ("adapters", adapters.into()),
        ("min_block", min_block.into()),
        ("magazines", magazines.into()),
        ("large_spans", large_spans.into()),
    ]
}

/// The configuration of a pool, with all defaults spelt out.
fn config_of(control: &Control) -> Config {
    config_for(&control.geometry, control.cpus, control.account_mask.unsigned_abs() as u32)
}

/// The configuration of a pool of this geometry.
fn config_for(geometry: &Geometry, cpus: u32, accounts: u32) -> Config {
    let bytes = u64::from(geometry.spans) * u64::from(geometry.span.bytes());
    let config = Config::new(geometry.range.base.0, bytes)
        .cpus(cpus)
        .accounts(accounts)
        .adapters(geometry.adapters_len)
        .min_block(Class(geometry.least_class).bytes())
        .magazines((geometry.arena_end - geometry.arena) / MAGAZINE_WORDS);
    let usual = SpanSize::of_range(bytes);
    if geometry.span == usual { config } else { config.large_spans() }
}

fn saved_counters(control: &Control) -> Counters {
    // ORDERING: Relaxed, all - the metadata is the caller's.
    let mut carve = [0; CLASSES];
    for (word, depot) in carve.iter_mut().zip(&control.depots) {
        *word = depot.slabs.carve.load(Ordering::Relaxed);
    }
    Counters {
        span_hint: control.span_hint.load(Ordering::Relaxed).into(),
        arena_next: control.arena_next.load(Ordering::Relaxed),
        empties: control.empties.load(Ordering::Relaxed),
        contended: control.contended.load(Ordering::Relaxed),
        violations: control.violations.load(Ordering::Relaxed),
        carve,
    }
}

/// And nobody works at anything.
fn restore_counters(control: &Control, counters: &Counters) {
    // ORDERING: Relaxed, all - the metadata is the caller's.
    control.span_hint.store(counters.span_hint as u32, Ordering::Relaxed);
    control.arena_next.store(counters.arena_next, Ordering::Relaxed);
    control.empties.store(counters.empties, Ordering::Relaxed);
    control.contended.store(counters.contended, Ordering::Relaxed);
    control.violations.store(counters.violations, Ordering::Relaxed);
    for (depot, &word) in control.depots.iter().zip(&counters.carve) {
        depot.slabs.carve.store(word, Ordering::Relaxed);
    }
    for claim in control.stealers.iter().chain([&control.trim_claim, &control.bury_claim]) {
        claim.store(0, Ordering::Relaxed);
    }
}
