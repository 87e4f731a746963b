//! Where watches lie, and how their files come and go. Nothing follows a link of somebody else's, and no file is
//! overwritten but the watch of a process that has ended, or of what this process was before it called exec.

use alloc::format;
use alloc::vec::Vec;
use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags, fallocate, flock, fstat, mkdirat,
    openat, renameat_with, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Resource, geteuid, getrlimit};

use super::error::{ReadError, WatchError};
use super::format::HEADER_AND_STATE;
use super::process::{Header, Identity, Process, own_pid};

const FOLDER: &str = "storport-pool";
const ENDING: &str = ".watch";
/// Attempts, where files come and go meanwhile.
const ATTEMPTS: u32 = 16;

fn os(doing: &'static str) -> impl Fn(Errno) -> WatchError {
    move |error| WatchError::Os(doing, error.raw_os_error())
}

/// What `XDG_RUNTIME_DIR` says, if it is an absolute path.
fn runtime_folder() -> Option<PathBuf> {
    std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The folder of a user's watches without that variable.
fn common_folder(user: u32) -> PathBuf {
    PathBuf::from(format!("/tmp/{FOLDER}-{user}"))
}

/// Where a user's watches may lie: also where systems usually set that variable to.
fn folders(user: u32) -> impl Iterator<Item = PathBuf> {
    let own = (user == geteuid().as_raw()).then(runtime_folder).flatten();
    let runtime = own.into_iter().chain([PathBuf::from(format!("/run/user/{user}"))]);
    runtime.map(|path| path.join(FOLDER)).chain([common_folder(user)])
}

/// Where this process's watch goes: the folder.
fn own_folder() -> PathBuf {
    runtime_folder().map_or_else(|| common_folder(geteuid().as_raw()), |path| path.join(FOLDER))
}

/// Where a process with this user's id has its watch by default: `$XDG_RUNTIME_DIR/storport-pool/<pid>.watch`, or
/// `/tmp/storport-pool-<uid>/<pid>.watch` where that variable is not set. It does not tell whether there is one.
///
/// ```
/// let path = storport_pool::watch::path_of_process(42);
/// assert!(path.ends_with("42.watch"));
/// ```
#[must_use]
pub fn path_of_process(pid: u32) -> PathBuf {
    own_folder().join(format!("{pid}{ENDING}"))
}

/// The places where a process's watch may lie, and who must own it: this user, and for a superuser the process's.
pub(super) fn paths_of(pid: u32) -> impl Iterator<Item = (PathBuf, u32)> {
    let user = std::fs::metadata(format!("/proc/{pid}")).ok().map(|of| of.uid());
    let own = geteuid().as_raw();
    let other = user.filter(|&user| user != own && own == 0);
    let users = [own].into_iter().chain(other);
    let paths = users.flat_map(|user| folders(user).map(move |path| (path, user)));
    paths.map(move |(path, user)| (path.join(format!("{pid}{ENDING}")), user))
}

/// The ids of this user's processes with a watch at its default path, in ascending order. Processes that ended without
/// removing theirs are among them: [`Reader::process`](super::Reader::process) tells. PASSIVE; reads the folders.
///
/// ```
/// let watch = storport_pool::watch::Watch::for_this_process()?;
/// assert!(storport_pool::watch::watched_processes().contains(&std::process::id()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn watched_processes() -> Vec<u32> {
    let entries = folders(geteuid().as_raw()).filter_map(|path| std::fs::read_dir(path).ok()).flatten();
    let number = |name: OsString| name.to_str()?.strip_suffix(ENDING)?.parse().ok();
    let mut found: Vec<u32> = entries.filter_map(|entry| number(entry.ok()?.file_name())).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Opens a file to read it, if it is a regular one: nothing waits for a pipe's other end.
///
/// # Errors
/// Why not.
pub(super) fn open(path: &Path, links: bool) -> Result<File, ReadError> {
    let mut flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    if !links {
        flags |= OFlags::NOFOLLOW;
    }
    let opened = openat(CWD, path, flags, Mode::empty());
    regular(opened.map_err(|error| ReadError::Os("opening the watch", error.raw_os_error()))?)
}

fn regular(file: OwnedFd) -> Result<File, ReadError> {
    let of = fstat(&file).map_err(|error| ReadError::Os("looking at the watch", error.raw_os_error()))?;
    if FileType::from_raw_mode(of.st_mode) != FileType::RegularFile {
        return Err(ReadError::NoFile);
    }
    Ok(File::from(file))
}

/// A file's place: an open folder and a name in it.
#[derive(Debug)]
pub(super) struct Place {
    folder: OwnedFd,
    name: CString,
    path: PathBuf,
}

fn c_string(bytes: &[u8]) -> Result<CString, WatchError> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len() + 1).map_err(|_| WatchError::Memory)?;
    copy.extend_from_slice(bytes);
    CString::new(copy).map_err(|_| WatchError::Path)
}

impl Place {
    /// # Errors
    /// There is no such folder, or no name.
    pub(super) fn new(path: &Path) -> Result<Place, WatchError> {
        let name = path.file_name().ok_or(WatchError::Path)?;
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => c_string(folder.as_os_str().as_bytes())?,
            _ => c_string(b".")?,
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder =
            openat(CWD, folder.as_c_str(), flags, Mode::empty()).map_err(os("opening the watch's folder"))?;
        let mut copy = Vec::new();
        copy.try_reserve_exact(path.as_os_str().len()).map_err(|_| WatchError::Memory)?;
        copy.extend_from_slice(path.as_os_str().as_bytes());
        Ok(Place { folder, name: c_string(name.as_bytes())?, path: OsString::from_vec(copy).into() })
    }

    /// This process's default one; its folder is made, for this user alone.
    ///
    /// # Errors
    /// The folder cannot be made, or is not this user's alone.
    pub(super) fn own() -> Result<Place, WatchError> {
        let folder = own_folder();
        match mkdirat(CWD, &folder, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(os("making the watch's folder")(error)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match openat(CWD, &folder, flags, Mode::empty()) {
            Err(Errno::LOOP | Errno::NOTDIR | Errno::ACCESS) => return Err(WatchError::Folder),
            opened => opened.map_err(os("opening the watch's folder"))?,
        };
        let of = fstat(&opened).map_err(os("looking at the watch's folder"))?;
        if of.st_uid != geteuid().as_raw() || of.st_mode & 0o077 != 0 {
            return Err(WatchError::Folder);
        }
        let path = path_of_process(own_pid());
        Ok(Place { folder: opened, name: c_string(path.file_name().unwrap_or_default().as_bytes())?, path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// Makes the file, with its header and so many bytes of room, and shows it under its name: whole, or not at all.
    ///
    /// # Errors
    /// Something is there that is to stay, or there is no room.
    pub(super) fn make(&self, header: &Header, bytes: u64) -> Result<File, WatchError> {
        if getrlimit(Resource::Fsize).current.is_some_and(|most| most < bytes) {
            return Err(WatchError::Limit(bytes));
        }
        let (name, file) = self.unnamed()?;
        // As long as a program of this process has it open, and no longer: exec closes it. Where no file is locked, what
        // exec left stays in use.
        let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        let shown = write(&file, header, bytes).and_then(|()| self.show(&name, &header.identity));
        if shown.is_err() {
            // It is nobody's by now.
            let _ = unlinkat(self.folder(), &name, AtFlags::empty());
        }
        shown.map(|()| file)
    }

    /// A new file under a name that nobody looks for.
    fn unnamed(&self) -> Result<(CString, File), WatchError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for attempt in 0..ATTEMPTS {
            let name = beside(&self.name, attempt)?;
            match openat(self.folder(), &name, flags, Mode::RUSR | Mode::WUSR) {
                // Another thread's, or left by a process that was killed.
                Err(Errno::EXIST) => {}
                made => return Ok((name, made.map_err(os("making the watch"))?.into())),
            }
        }
        Err(WatchError::Exists)
    }

    /// Gives the new file its name, and takes it from an ended process's watch, or an ended program's of this process.
    fn show(&self, new: &CStr, own: &Identity) -> Result<(), WatchError> {
        for _ in 0..ATTEMPTS {
            match renameat_with(self.folder(), new, self.folder(), &self.name, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(os("naming the watch")(error)),
            }
            self.may_be_replaced(own)?;
            match unlinkat(self.folder(), &self.name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(os("removing an ended process's watch")(error)),
            }
        }
        Err(WatchError::Exists)
    }

    /// Whether nothing is there, or an ended process's watch, or one that this process left behind by exec.
    fn may_be_replaced(&self, own: &Identity) -> Result<(), WatchError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let found = match openat(self.folder(), &self.name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            Err(_) => return Err(WatchError::Exists),
            Ok(found) => regular(found).map_err(|_| WatchError::Exists)?,
        };
        let mut bytes = [0; HEADER_AND_STATE];
        let header = found.read_exact_at(&mut bytes, 0).ok().and_then(|()| Header::from_bytes(&bytes).ok());
        let identity = header.ok_or(WatchError::Exists)?.identity;
        match identity.look() {
            Process::Ended => Ok(()),
            // It is this process. Whoever publishes there has the file locked.
            Process::Runs
                if (identity.pid, identity.began) == (own.pid, own.began)
                    && flock(&found, FlockOperation::NonBlockingLockShared).is_ok() =>
            {
                Ok(())
            }
            Process::Runs => Err(WatchError::InUse(identity.pid)),
            _ => Err(WatchError::Exists),
        }
    }

    /// Removes the file, if its name is still its own.
    pub(super) fn remove(&self, file: &File) {
        let there = rustix::fs::statat(self.folder(), &self.name, AtFlags::SYMLINK_NOFOLLOW);
        if let (Ok(there), Ok(ours)) = (there, fstat(file))
            && (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
        {
            // Whoever removed it meanwhile has done so.
            let _ = unlinkat(self.folder(), &self.name, AtFlags::empty());
        }
    }
}

/// A name beside the file's own. It is put together on the stack: what grows there asks for memory that may be none.
fn beside(name: &CStr, attempt: u32) -> Result<CString, WatchError> {
    let mut bytes = [0; 320];
    let room = bytes.len();
    let mut left = &mut bytes[..];
    let number = u64::from(own_pid()) * u64::from(ATTEMPTS) + u64::from(attempt);
    let written = left.write_all(b".").and_then(|()| left.write_all(name.to_bytes()));
    // Longer names than 255 bytes no file system has.
    written.and_then(|()| write!(left, ".new-{number}")).map_err(|_| WatchError::Path)?;
    let len = room - left.len();
    c_string(&bytes[..len])
}

/// Reserves the file's room, so that a full file system is told now, and writes its header.
fn write(file: &File, header: &Header, bytes: u64) -> Result<(), WatchError> {
    match fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Ok(()) => {}
        // Not every file system reserves; then a publish says when there is no room.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            rustix::fs::ftruncate(file, bytes).map_err(os("making room in the watch"))?;
        }
        Err(error) => return Err(os("making room in the watch")(error)),
    }
    file.write_all_at(&header.to_bytes(), 0)
        .map_err(|error| WatchError::Os("writing the watch's header", error.raw_os_error().unwrap_or(0)))
}
