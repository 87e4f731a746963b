//! The host's side: the file, and what is written there.

use alloc::vec::Vec;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::encode::{Head, encode};
use super::error::WatchError;
use super::format::{CLOSED, FIRST, HEADER, LEAST_AREA, MOST_AREA};
use super::place::Place;
use super::process::{Header, Identity, own_pid};
use crate::percpu::platform::Platform;
use crate::pool::handle::Pool;

/// How to make a watch. Its functions are for PASSIVE.
///
/// ```
/// use storport_pool::watch::WatchOptions;
/// let path = std::env::temp_dir().join(format!("sp-doc-options-{}", std::process::id()));
/// let watch = WatchOptions::new().area_bytes(1 << 20).create(&path)?;
/// let other = WatchOptions::new().area_bytes(1 << 20).for_this_process()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WatchOptions {
    area: u64,
}

impl Default for WatchOptions {
    fn default() -> WatchOptions {
        WatchOptions::new()
    }
}

impl WatchOptions {
    /// The defaults: an area of 256 KiB.
    #[must_use]
    pub const fn new() -> WatchOptions {
        WatchOptions { area: 256 << 10 }
    }

    /// Bytes of the area that a picture has: 4 KiB to 16 MiB. The file has two areas, and 4 KiB.
    ///
    /// A tag takes 48 bytes, and an adapter's tag 88. Each of them takes 24 more for each size that it ever asked for.
    /// A CPU takes 24, a size class 32. So the default has room for 700 adapters' tags of five sizes each, and their
    /// tags.
    #[must_use]
    pub const fn area_bytes(mut self, bytes: u64) -> WatchOptions {
        self.area = bytes;
        self
    }

    /// As [`Watch::create`], with these options.
    ///
    /// # Errors
    /// As [`Watch::create`]. [`WatchError::Area`], if the area is out of bounds.
    pub fn create(&self, path: impl AsRef<Path>) -> Result<Watch, WatchError> {
        self.make(|| Place::new(path.as_ref()))
    }

    /// As [`Watch::for_this_process`], with these options.
    ///
    /// # Errors
    /// As [`Watch::for_this_process`]. [`WatchError::Area`], if the area is out of bounds.
    pub fn for_this_process(&self) -> Result<Watch, WatchError> {
        self.make(Place::own)
    }

    fn make(&self, place: impl FnOnce() -> Result<Place, WatchError>) -> Result<Watch, WatchError> {
        if !(LEAST_AREA..=MOST_AREA).contains(&self.area) {
            return Err(WatchError::Area(self.area));
        }
        // Slots are whole words.
        let area = self.area / 8 * 8;
        let place = place()?;
        let mut slot = Vec::new();
        slot.try_reserve_exact(area as usize).map_err(|_| WatchError::Memory)?;
        let identity = Identity::own();
        let header = Header { identity, first: FIRST, slot_bytes: area, made: now() };
        let file = place.make(&header, FIRST + 2 * area)?;
        Ok(Watch { place, file, pid: identity.pid, area, slot, number: 0, missed: 0 })
    }
}

/// A file in which another process sees a pool. The [module](super) tells what it costs, and what does not hold.
///
/// The watch ends when it is dropped. The file says so, and is removed. A process that is killed, or calls exec, leaves
/// its file. Its last picture can still be read. The next watch with this path takes its place.
#[derive(Debug)]
pub struct Watch {
    place: Place,
    file: File,
    /// Who made it. A forked child is not it.
    pid: u32,
    area: u64,
    /// A slot's bytes, before they are written.
    slot: Vec<u8>,
    number: u64,
    missed: u64,
}

impl Watch {
    /// Makes a watch at a path, with mode 0600. Room is reserved now, so that a full file system is told here. PASSIVE.
    ///
    /// # Errors
    /// [`WatchError`]; nothing is left behind. What was there is kept, with two exceptions: the watch of a process that
    /// has ended, and what this process left there before it called exec.
    ///
    /// ```
    /// use storport_pool::{Pool, watch::Watch};
    /// let path = std::env::temp_dir().join(format!("sp-doc-create-{}", std::process::id()));
    /// let mut watch = Watch::create(&path)?;
    /// watch.publish(&Pool::new(1 << 20)?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create(path: impl AsRef<Path>) -> Result<Watch, WatchError> {
        WatchOptions::new().create(path)
    }

    /// Makes a watch where `storport-pool poolmon --pid N` looks for it: `$XDG_RUNTIME_DIR/storport-pool/N.watch`. If
    /// that variable is not set, it is `/tmp/storport-pool-UID/N.watch`. The folder is made with mode 0700. If it is
    /// there already, it must be this user's alone, and no link. A process has one such watch at a time. PASSIVE.
    ///
    /// # Errors
    /// [`WatchError`]; [`WatchError::InUse`] for a second one.
    ///
    /// ```
    /// let watch = storport_pool::watch::Watch::for_this_process()?;
    /// assert!(watch.path().exists());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn for_this_process() -> Result<Watch, WatchError> {
        WatchOptions::new().for_this_process()
    }

    /// Where the file is. Any IRQL.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Publishes what the pool has now. One file may show different pools in turn, but a reader cannot tell them apart.
    /// [`create`](Watch::create) has an example.
    ///
    /// It never waits for a reader. It takes as long as a [`snapshot`](Pool::snapshot) and a write of some kilobytes to
    /// a file. PASSIVE; not in a signal handler.
    ///
    /// # Errors
    /// [`WatchError::Memory`] or [`WatchError::Forked`]. [`WatchError::Os`] when the file system is full after all: one
    /// that shares or compresses blocks may not keep what it reserved. The picture before stays readable. The next one
    /// counts what was [missed](super::Picture::missed).
    pub fn publish<P: Platform>(&mut self, pool: &Pool<P>) -> Result<(), WatchError> {
        self.is_ours()?;
        let published = self.try_publish(pool);
        if published.is_err() {
            self.missed += 1;
        }
        published
    }

    fn try_publish<P: Platform>(&mut self, pool: &Pool<P>) -> Result<(), WatchError> {
        let snapshot = pool.try_snapshot().map_err(|_| WatchError::Memory)?;
        let number = self.number + 1;
        let head = Head { number, time: now(), missed: self.missed };
        encode(head, &snapshot, &mut self.slot, self.area as usize);
        let at = FIRST + number % 2 * self.area;
        self.file
            .write_all_at(&self.slot, at)
            .map_err(|error| WatchError::Os("writing the picture", error.raw_os_error().unwrap_or(0)))?;
        self.number = number;
        Ok(())
    }

    /// # Errors
    /// This is a forked child of the process that made the watch.
    pub(super) fn is_ours(&self) -> Result<(), WatchError> {
        if own_pid() == self.pid { Ok(()) } else { Err(WatchError::Forked) }
    }
}

impl Drop for Watch {
    /// Says that no picture follows, and removes the file. In a forked child it does neither.
    fn drop(&mut self) {
        if self.is_ours().is_ok() {
            // Without it, the process's end says as much.
            let _ = self.file.write_all_at(&CLOSED, HEADER as u64);
            self.place.remove(&self.file);
        }
    }
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
