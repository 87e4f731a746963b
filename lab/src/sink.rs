//! Where a user's output goes, tried before the long work; and where input comes from.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::out;

/// What stands for the standard output, or the standard input.
const DASH: &str = "-";

/// A file to be written, or the standard output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sink {
    Stdout,
    File(PathBuf),
}

impl From<OsString> for Sink {
    fn from(argument: OsString) -> Sink {
        if argument == DASH { Sink::Stdout } else { Sink::File(argument.into()) }
    }
}

impl Sink {
    /// As messages name it.
    pub(crate) fn name(&self) -> String {
        match self {
            Sink::Stdout => DASH.to_owned(),
            Sink::File(file) => out::name(file),
        }
    }

    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Sink::Stdout => None,
            Sink::File(file) => Some(file),
        }
    }

    /// Tries it, and changes no file that exists. Text for a person keeps out of the way from now on, if need be.
    ///
    /// # Errors
    /// A sentence, when it cannot be written.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Sink::File(file) = self else {
            out::step_aside();
            return Ok(());
        };
        match file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            Some(folder) if !folder.exists() => {
                return Err(self.refused(&format!("there is no folder '{}'", out::name(folder))));
            }
            Some(folder) if !folder.is_dir() => {
                return Err(self.refused(&format!("'{}' is no folder", out::name(folder))));
            }
            _ => {}
        }
        let known = fs::metadata(file).ok();
        // A pipe's reader would take this for the end, and a device need not be asked.
        if known.as_ref().is_some_and(|known| !known.is_file() && !known.is_dir()) {
            return Ok(());
        }
        OpenOptions::new().append(true).create(true).open(file).map_err(|error| self.refused(&error))?;
        if known.is_none() {
            // A run that fails leaves no empty file.
            let _ = fs::remove_file(file);
        }
        Ok(())
    }

    /// Writes all of it. What the standard output does not take is told by [`out::outcome`].
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn put(&self, data: &str) -> Result<(), String> {
        match self {
            Sink::Stdout => {
                out::write(data.as_bytes());
                Ok(())
            }
            Sink::File(file) => fs::write(file, data).map_err(|error| self.refused(&error)),
        }
    }

    /// To be written bit by bit.
    ///
    /// # Errors
    /// A sentence, when it cannot be made.
    pub(crate) fn open(&self) -> Result<Box<dyn Write + Send>, String> {
        match self {
            Sink::Stdout => Ok(Box::new(WhileRead(io::stdout()))),
            Sink::File(file) => {
                let made = File::create(file).map_err(|error| self.refused(&error))?;
                Ok(Box::new(made))
            }
        }
    }

    /// Why it cannot be written.
    pub(crate) fn refused(&self, why: &dyn std::fmt::Display) -> String {
        format!("cannot write '{}': {why}", self.name())
    }
}

/// The standard output. That nobody reads on is no fault.
struct WhileRead(io::Stdout);

impl Write for WhileRead {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self.0.write(data) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(data.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0
            .flush()
            .or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
    }
}

/// Tries several outputs, each with the option that asks for it.
///
/// # Errors
/// A sentence, when two of them are the same, or one cannot be written.
pub(crate) fn check<'a>(all: impl IntoIterator<Item = (&'a str, Option<&'a Sink>)>) -> Result<(), String> {
    let mut wanted: Vec<(&str, &Sink)> = Vec::new();
    for (option, sink) in all {
        let Some(sink) = sink else { continue };
        if let Some((other, _)) = wanted.iter().find(|(_, other)| *other == sink) {
            return Err(format!("{other} and {option} are both '{}'", sink.name()));
        }
        wanted.push((option, sink));
    }
    wanted.iter().try_for_each(|(_, sink)| sink.check())
}

/// A whole text, of a file or, by `-`, of the standard input.
///
/// # Errors
/// A sentence, when it cannot be read.
pub(crate) fn read(file: &Path) -> Result<String, String> {
    let text = if is_stdin(file) {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(file)
    };
    text.map_err(|error| format!("cannot read '{}': {error}", out::name(file)))
}

/// Whether this input is the standard one.
pub(crate) fn is_stdin(file: &Path) -> bool {
    file == Path::new(DASH)
}
