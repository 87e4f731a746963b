//! The other side: a program that looks.

use alloc::string::String;
use alloc::vec::Vec;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;

use super::decode::{decode, is_whole, slot_head};
use super::error::ReadError;
use super::format::{CLOSED, HEADER, HEADER_AND_STATE, IN_USE, MOST_AREA, SLOT_HEAD};
use super::picture::Picture;
use super::place::{open, paths_of};
use super::process::{Header, Process};

/// How often a picture is looked for while the host publishes without pause.
const ATTEMPTS: usize = 16;

/// What the system says where there is no such file.
const NOTHING: [i32; 2] = [Errno::NOENT.raw_os_error(), Errno::NOTDIR.raw_os_error()];

/// Where bytes come from.
trait Source {
    /// Fills the buffer; false: there are not so many bytes, or they cannot be read.
    fn fill(&self, to: &mut [u8], at: u64) -> bool;
}

impl Source for File {
    fn fill(&self, to: &mut [u8], at: u64) -> bool {
        self.read_exact_at(to, at).is_ok()
    }
}

impl Source for [u8] {
    fn fill(&self, to: &mut [u8], at: u64) -> bool {
        let from = usize::try_from(at).ok().and_then(|at| self.get(at..)?.get(..to.len()));
        from.map(|from| to.copy_from_slice(from)).is_some()
    }
}

/// Reads a watch. It writes nothing and stops nobody. It copies what it reads, and checks the copy. Its functions are
/// for PASSIVE.
///
/// ```
/// use storport_pool::{Pool, watch::{Process, Reader, Watch}};
///
/// let path = std::env::temp_dir().join(format!("sp-doc-reader-{}", std::process::id()));
/// let (pool, mut watch) = (Pool::new(1 << 20)?, Watch::create(&path)?);
/// watch.publish(&pool)?;
/// let mut reader = Reader::open(&path)?;
/// assert_eq!(reader.pid(), std::process::id());
/// println!("{}, since {:?}", reader.name(), reader.made());
/// assert_eq!(reader.read()?.snapshot.range_bytes, 1 << 20);
/// drop(watch);
/// assert_eq!(reader.process(), Process::Closed);
/// assert_eq!(reader.read()?.number, 1); // the last picture stays readable
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Reader {
    file: File,
    header: Header,
    /// A slot's bytes.
    slot: Vec<u8>,
}

impl Reader {
    /// Opens the watch at a path, whichever process's it is.
    ///
    /// # Errors
    /// [`ReadError`], for each way in which it is no watch. An empty or cut file is [`ReadError::NoWatch`] or
    /// [`ReadError::Torn`].
    pub fn open(path: impl AsRef<Path>) -> Result<Reader, ReadError> {
        Reader::new(open(path.as_ref(), true)?)
    }

    /// Opens the watch that a process has at its default path ([`path_of_process`](super::path_of_process)). The
    /// superuser may open any user's. The [module](super) has an example.
    ///
    /// # Errors
    /// As [`open`](Reader::open). [`ReadError::NotWatched`]: there is none.
    pub fn of_process(pid: u32) -> Result<Reader, ReadError> {
        for (path, user) in paths_of(pid) {
            match open(&path, false) {
                // Of somebody else's making, it says nothing about the process.
                Ok(file) if file.metadata().is_ok_and(|of| of.uid() != user) => {}
                Ok(file) => {
                    let reader = Reader::new(file)?;
                    return if reader.pid() == pid { Ok(reader) } else { Err(ReadError::NotWatched(pid)) };
                }
                Err(ReadError::Os(_, code)) if NOTHING.contains(&code) => {}
                Err(error) => return Err(error),
            }
        }
        Err(ReadError::NotWatched(pid))
    }

    fn new(file: File) -> Result<Reader, ReadError> {
        Ok(Reader { header: header(&file)?, file, slot: Vec::new() })
    }

    /// The last picture that was published. It copies the picture, some kilobytes, by a few system calls at most.
    ///
    /// # Errors
    /// [`ReadError::NoPicture`] before the first publish. [`ReadError::Torn`] when no picture is whole. Then the file
    /// was cut or changed. Or the host published over both slots again and again meanwhile, which no host does that
    /// waits in between.
    pub fn read(&mut self) -> Result<Picture, ReadError> {
        newest(&self.file, &self.header, &mut self.slot)
    }

    /// What became of the process. If it has ended, the picture that is read is its last one.
    #[must_use]
    pub fn process(&self) -> Process {
        let mut state = [0; 8];
        if self.file.fill(&mut state, HEADER as u64) && state == CLOSED {
            return Process::Closed;
        }
        self.header.identity.look()
    }

    /// The id of the process that publishes, in that process's pid namespace.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.header.identity.pid
    }

    /// The process's name, as the system has it: up to 15 bytes. A process may call itself anything, so control
    /// characters are replaced.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.header.identity.name;
        let len = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        let text = String::from_utf8_lossy(name.get(..len).unwrap_or_default());
        text.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
    }

    /// When the watch was made.
    #[must_use]
    pub fn made(&self) -> SystemTime {
        UNIX_EPOCH.checked_add(Duration::from_nanos(self.header.made)).unwrap_or(UNIX_EPOCH)
    }
}

impl Picture {
    /// The last picture in the bytes of a watch's file, such as a copied one. Any bytes may be passed. PASSIVE;
    /// O(bytes).
    ///
    /// # Errors
    /// As [`Reader::open`] and [`Reader::read`].
    ///
    /// ```
    /// use storport_pool::watch::{Picture, ReadError};
    /// assert_eq!(Picture::from_bytes(b"no watch").unwrap_err(), ReadError::NoWatch);
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Picture, ReadError> {
        newest(bytes, &header(bytes)?, &mut Vec::new())
    }
}

fn header<S: Source + ?Sized>(source: &S) -> Result<Header, ReadError> {
    let mut bytes = [0; HEADER_AND_STATE];
    if !source.fill(&mut bytes[..16], 0) {
        return Err(ReadError::NoWatch);
    }
    // Of another version's header this is all that is known.
    Header::from_bytes(&bytes).err().filter(|error| *error != ReadError::Torn).map_or(Ok(()), Err)?;
    if !source.fill(&mut bytes, 0) {
        return Err(ReadError::Torn);
    }
    let header = Header::from_bytes(&bytes)?;
    let state = bytes.get(HEADER..).unwrap_or_default();
    let sound = (SLOT_HEAD as u64..=MOST_AREA).contains(&header.slot_bytes)
        && header.first >= HEADER_AND_STATE as u64
        && header.first.checked_add(2 * header.slot_bytes).is_some()
        && (state == IN_USE || state == CLOSED);
    if sound { Ok(header) } else { Err(ReadError::Torn) }
}

/// The newest whole picture. While the host writes one slot, the other one is whole: it is missed only if the host
/// publishes twice during one look.
fn newest<S: Source + ?Sized>(source: &S, header: &Header, slot: &mut Vec<u8>) -> Result<Picture, ReadError> {
    let Header { first, slot_bytes, .. } = *header;
    let at = |place: u64| first + place * slot_bytes;
    for _ in 0..ATTEMPTS {
        let mut heads = [[0; SLOT_HEAD]; 2];
        let read = [0, 1].map(|place| source.fill(&mut heads[place], at(place as u64)));
        if read == [true; 2] && heads == [[0; SLOT_HEAD]; 2] {
            return Err(ReadError::NoPicture);
        }
        let mut found =
            [0, 1].map(|place| slot_head(&heads[place as usize], place, slot_bytes).map(|it| (it, place)));
        // The newest first; none comes last.
        found.sort_unstable_by(|a, b| b.cmp(a));
        for ((_, used), place) in found.into_iter().flatten() {
            slot.clear();
            slot.try_reserve(used).map_err(|_| ReadError::Memory)?;
            slot.resize(used, 0);
            if source.fill(slot, at(place)) && is_whole(slot) {
                return decode(slot);
            }
        }
        std::thread::yield_now();
    }
    Err(ReadError::Torn)
}
