//! Why a pool is not watched.

use core::fmt;

use rustix::io::Errno;

/// Why a watch was not made, or a picture not published.
///
/// ```
/// use storport_pool::watch::{WatchError, WatchOptions};
/// let error = WatchOptions::new().area_bytes(100).for_this_process().unwrap_err();
/// assert!(matches!(error, WatchError::Area(100)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WatchError {
    /// The path has a zero byte, or names no file.
    Path,
    /// Something is there that is not the watch of a process that has ended. Nothing was changed.
    Exists,
    /// The process with this id publishes there. Nothing was changed.
    InUse(u32),
    /// The folder of the default path is a link, belongs to another user, or lets others in. Nothing was changed.
    Folder,
    /// The area is smaller than 4 KiB or larger than 16 MiB.
    Area(u64),
    /// The process may not write files so large (`RLIMIT_FSIZE`).
    Limit(u64),
    /// There is no memory for the picture.
    Memory,
    /// This is a forked child of the process that made the watch. Nothing was written.
    Forked,
    /// The operating system refused: what was tried, and its error number.
    Os(&'static str, i32),
}

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            WatchError::Path => "the path of the watch names no file",
            WatchError::Exists => {
                "the path of the watch is taken by something that is no ended process's watch; it was left as it is"
            }
            WatchError::InUse(pid) => return write!(f, "process {pid} publishes there already"),
            WatchError::Folder => {
                "the folder of the watch is a link, belongs to another user, or others may enter it (mode 0700 is wanted)"
            }
            WatchError::Area(bytes) => {
                return write!(f, "the watch's area is {bytes} bytes; it must be 4 KiB to 16 MiB");
            }
            WatchError::Limit(bytes) => {
                return write!(f, "this process may not write a file of {bytes} bytes (RLIMIT_FSIZE)");
            }
            WatchError::Memory => "there is no memory for the picture",
            WatchError::Forked => "a forked child does not publish into its parent's watch",
            WatchError::Os(doing, code) => return write!(f, "{doing}: {}", Os(code)),
        })
    }
}

impl core::error::Error for WatchError {}

/// Why no picture can be read.
///
/// ```
/// use storport_pool::watch::{Picture, ReadError};
/// assert!(matches!(Picture::from_bytes(b"no watch"), Err(ReadError::NoWatch)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReadError {
    /// The process with this id has no watch at its default path. It has not opted in, or there is no such process.
    NotWatched(u32),
    /// It is no regular file.
    NoFile,
    /// The file is no watch.
    NoWatch,
    /// Another version of the library wrote the file.
    Version(u32),
    /// The watch is whole, but nothing was published yet.
    NoPicture,
    /// No slot has a whole picture. The file is cut, or was changed, or the host published without pause meanwhile.
    Torn,
    /// The checksum is right, but no library writes such a picture.
    Malformed,
    /// There is no memory for the picture.
    Memory,
    /// The operating system refused: what was tried, and its error number.
    Os(&'static str, i32),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            ReadError::NotWatched(pid) => {
                return write!(
                    f,
                    "process {pid} watches no pool: it has not opted in, or there is no such process"
                );
            }
            ReadError::NoFile => "this is no regular file",
            ReadError::NoWatch => "this is no watch of a pool",
            ReadError::Version(version) => {
                return write!(
                    f,
                    "the watch has version {version} of the format; this program knows version 1"
                );
            }
            ReadError::NoPicture => "nothing was published yet",
            ReadError::Torn => "no picture in the watch is whole: the file is cut, or was changed",
            ReadError::Malformed => "the picture is whole, but none that a pool has",
            ReadError::Memory => "there is no memory for the picture",
            ReadError::Os(doing, code) => return write!(f, "{doing}: {}", Os(code)),
        })
    }
}

impl core::error::Error for ReadError {}

/// An error number, in words where they are known. It asks for no memory, as the system's own words would.
struct Os(i32);

impl fmt::Display for Os {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match Errno::from_raw_os_error(self.0) {
            Errno::NOENT | Errno::NOTDIR => "there is no such file or folder",
            Errno::ACCESS | Errno::PERM => "this is not permitted",
            Errno::NOSPC | Errno::DQUOT => "the file system has no room",
            Errno::ROFS => "the file system is read-only",
            Errno::LOOP => "this is a link",
            Errno::FBIG => "the file would be too large",
            Errno::MFILE | Errno::NFILE => "too many files are open",
            _ => return write!(f, "error {}", self.0),
        })
    }
}
