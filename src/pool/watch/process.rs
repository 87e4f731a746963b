//! Which process it is, and whether it is still there.

use std::fs::File;
use std::io::Read;

use super::error::ReadError;
use super::format::{HEADER, HEADER_AND_STATE, IN_USE, MAGIC, VERSION, header_sum, u32_at, u64_at};

/// What became of the process that publishes. [`Reader::process`](super::Reader::process) tells it, and
/// [`Reader`](super::Reader) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Process {
    /// It runs.
    Runs,
    /// It has ended the watch: no picture follows. It may still run.
    Closed,
    /// It has ended. A later process with its id is another one.
    Ended,
    /// It cannot be seen from here. It lives in another pid namespace, or there is no `/proc`.
    Unknown,
}

/// A process, so that no other one passes for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) pid: u32,
    /// Clock ticks since the boot; 0: not known.
    pub(super) began: u64,
    pub(super) boot: [u8; 16],
    pub(super) namespace: u64,
    pub(super) name: [u8; 16],
}

/// What a file's header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) identity: Identity,
    pub(super) first: u64,
    pub(super) slot_bytes: u64,
    pub(super) made: u64,
}

impl Header {
    pub(super) fn to_bytes(self) -> [u8; HEADER_AND_STATE] {
        let mut bytes = [0; HEADER_AND_STATE];
        let mut put = |at: usize, some: &[u8]| {
            if let Some(to) = bytes.get_mut(at..at + some.len()) {
                to.copy_from_slice(some);
            }
        };
        let Identity { pid, began, boot, namespace, name } = self.identity;
        put(0, &MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(12, &(HEADER as u32).to_le_bytes());
        put(16, &pid.to_le_bytes());
        put(24, &began.to_le_bytes());
        put(32, &boot);
        put(48, &namespace.to_le_bytes());
        put(56, &self.first.to_le_bytes());
        put(64, &self.slot_bytes.to_le_bytes());
        put(72, &self.made.to_le_bytes());
        put(80, &name);
        put(HEADER, &IN_USE);
        let sum = header_sum(&bytes);
        bytes[HEADER - 8..HEADER].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// # Errors
    /// The bytes are no header of this version.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Header, ReadError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(ReadError::NoWatch);
        }
        let version = u32_at(bytes, 8).ok_or(ReadError::Torn)?;
        if version != VERSION {
            return Err(ReadError::Version(version));
        }
        let read = || {
            let array = |at: usize| bytes.get(at..)?.first_chunk::<16>().copied();
            let whole =
                u64_at(bytes, HEADER - 8)? == header_sum(bytes) && u32_at(bytes, 12)? == HEADER as u32;
            let identity = Identity {
                pid: u32_at(bytes, 16)?,
                began: u64_at(bytes, 24)?,
                boot: array(32)?,
                namespace: u64_at(bytes, 48)?,
                name: array(80)?,
            };
            let (first, slot_bytes) = (u64_at(bytes, 56)?, u64_at(bytes, 64)?);
            whole.then_some(Header { identity, first, slot_bytes, made: u64_at(bytes, 72)? })
        };
        read().ok_or(ReadError::Torn)
    }
}

/// The beginning of a small file, without memory of the allocator's.
fn beginning<'a>(path: &str, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut file = File::open(path).ok()?;
    let mut len = 0;
    while let Ok(read @ 1..) = file.read(buffer.get_mut(len..)?) {
        len += read;
    }
    buffer.get(..len)
}

/// State and beginning of a process, as its `stat` file has them.
fn stat(path: &str) -> Option<(u8, u64)> {
    let mut buffer = [0; 1024];
    let text = beginning(path, &mut buffer)?;
    // The name stands in parentheses, and may have some of its own.
    let end = text.iter().rposition(|&byte| byte == b')')?;
    let mut fields = text.get(end + 2..)?.split(|&byte| byte == b' ');
    let state = *fields.next()?.first()?;
    // The 22nd field; the state is the third.
    let began = core::str::from_utf8(fields.nth(18)?).ok()?.parse().ok()?;
    Some((state, began))
}

/// The boot's id: 32 hexadecimal digits, and dashes.
fn boot() -> Option<[u8; 16]> {
    let mut buffer = [0; 64];
    let text = beginning("/proc/sys/kernel/random/boot_id", &mut buffer)?;
    let mut digits = text.iter().filter_map(|&byte| char::from(byte).to_digit(16));
    let mut id = [0; 16];
    for byte in &mut id {
        *byte = (digits.next()? << 4 | digits.next()?) as u8;
    }
    Some(id)
}

fn namespace() -> Option<u64> {
    rustix::fs::stat(c"/proc/self/ns/pid").ok().map(|stat| stat.st_ino)
}

impl Identity {
    /// This process's; what `/proc` does not tell is 0.
    pub(super) fn own() -> Identity {
        let mut buffer = [0; 32];
        let mut name = [0; 16];
        if let Some(text) = beginning("/proc/self/comm", &mut buffer) {
            let text = text.strip_suffix(b"\n").unwrap_or(text);
            name.iter_mut().zip(text).for_each(|(to, byte)| *to = *byte);
        }
        Identity {
            pid: own_pid(),
            began: stat("/proc/self/stat").map_or(0, |(_, began)| began),
            boot: boot().unwrap_or_default(),
            namespace: namespace().unwrap_or(0),
            name,
        }
    }

    /// Whether that process is there, as far as this one sees.
    pub(super) fn look(&self) -> Process {
        if self.began == 0 {
            return Process::Unknown;
        }
        match (boot(), namespace()) {
            (Some(boot), _) if boot != self.boot => return Process::Ended,
            (Some(_), Some(namespace)) if namespace == self.namespace => {}
            _ => return Process::Unknown,
        }
        let mut path = [0; 32];
        match stat(stat_path(self.pid, &mut path)) {
            // A zombie publishes nothing.
            Some((state, began)) if began == self.began && !b"ZXx".contains(&state) => Process::Runs,
            _ => Process::Ended,
        }
    }
}

/// `/proc/N/stat`, in the caller's bytes.
fn stat_path(pid: u32, bytes: &mut [u8; 32]) -> &str {
    use std::io::Write;

    let room = bytes.len();
    let mut left = &mut bytes[..];
    // It has 21 bytes at most.
    let _ = write!(left, "/proc/{pid}/stat");
    let len = room - left.len();
    core::str::from_utf8(&bytes[..len]).unwrap_or("")
}

/// This process's id, asked anew: a forked child has another one.
pub(super) fn own_pid() -> u32 {
    rustix::process::getpid().as_raw_nonzero().get().unsigned_abs()
}
