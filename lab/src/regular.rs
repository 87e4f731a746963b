//! Files to be read as a whole, or here and there.

use std::fs::{File, OpenOptions};
use std::path::Path;

use crate::out;

/// Opens a regular file to read it. It waits for nobody: a pipe's other end may never come.
///
/// # Errors
/// A sentence: it cannot be opened, or is something else.
pub(crate) fn open(path: &Path) -> Result<File, String> {
    let cannot = |why: &dyn std::fmt::Display| format!("cannot read '{}': {why}", out::name(path));
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(path).map_err(|error| cannot(&error))?;
    let is_file = file.metadata().map_err(|error| cannot(&error))?.is_file();
    if is_file { Ok(file) } else { Err(cannot(&"this is no regular file")) }
}
