//! What the program says: to a terminal as plain text, and so that what could not be written is told.

use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::OnceLock;

/// Why the standard output has not all that was printed.
static FAILED: OnceLock<String> = OnceLock::new();

/// Prints text for a person: [`plain`], but for its line ends. [`outcome`] tells whether all could be written.
pub(crate) fn print(text: &str) {
    write(&lines(text));
}

/// Prints data as it is. [`outcome`] tells whether all could be written.
pub(crate) fn write(data: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(data.as_bytes()).and_then(|()| out.flush()) {
        failed(&error);
    }
}

fn failed(error: &io::Error) {
    // That nobody reads on (`| head`) is no fault.
    if error.kind() != ErrorKind::BrokenPipe {
        let _ = FAILED.set(format!("cannot write to the standard output: {error}"));
    }
}

/// Prints a line for a person, as `println` does.
macro_rules! say {
    ($($what:tt)*) => {
        $crate::out::print(&(format!($($what)*) + "\n"))
    };
}
pub(crate) use say;

/// Whether all that was printed was written, or nobody wanted to read it.
///
/// # Errors
/// A sentence.
pub(crate) fn outcome() -> Result<(), String> {
    FAILED.get().map_or(Ok(()), |why| Err(why.clone()))
}

/// The one line of an error. What is wrong with the error output is nobody's to hear.
pub(crate) fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "error: {}", lines(message));
}

/// Text that a terminal can be given: names in files, and of files, may be anything. Control characters are replaced, and
/// characters that are not seen or turn the order of others.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if is_plain(c) { c } else { '\u{FFFD}' }).collect()
}

/// The same of each line.
fn lines(text: &str) -> String {
    text.chars().map(|c| if c == '\n' || is_plain(c) { c } else { '\u{FFFD}' }).collect()
}

fn is_plain(c: char) -> bool {
    let unseen = matches!(c,
        '\u{AD}' | '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
        | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}');
    !c.is_control() && !unseen
}

/// A file's name, [`plain`].
pub(crate) fn name(file: &Path) -> String {
    plain(&file.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_a_terminal_is_replaced() {
        for c in "\x1b\x07\x7f\n\u{9b}\u{200b}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\u{feff}".chars() {
            assert_eq!(plain(&format!("a{c}b")), "a\u{FFFD}b", "{c:?}");
        }
        assert_eq!(plain("Größe 盤 ✗"), "Größe 盤 ✗");
        assert_eq!(lines("a\r\nb\x1b"), "a\u{FFFD}\nb\u{FFFD}");
    }
}
