//! What the program says: to a terminal as plain text, and so that what could not be written is told.

use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use terminal_size::{Width, terminal_size_of};

/// Why not all that was printed could be written.
static FAILED: OnceLock<String> = OnceLock::new();

/// Whether the standard output is for data alone.
static ASIDE: AtomicBool = AtomicBool::new(false);

/// From now on text for a person goes to the error output: the standard output is for data.
pub(crate) fn step_aside() {
    // ORDERING: Relaxed - a flag that says nothing of other memory.
    ASIDE.store(true, Ordering::Relaxed);
}

fn is_aside() -> bool {
    // ORDERING: Relaxed - as above.
    ASIDE.load(Ordering::Relaxed)
}

/// Columns of text whose reader has no terminal and says nothing.
const WIDTH: usize = 100;
/// Less is no use to a table.
const LEAST: usize = 40;

/// How many columns text for a person may take: the terminal's, else what the variable `COLUMNS` says, else 100.
pub(crate) fn width() -> usize {
    let terminal = if is_aside() { terminal_size_of(io::stderr()) } else { terminal_size_of(io::stdout()) };
    let terminal = terminal.map(|(Width(columns), _)| usize::from(columns)).filter(|&columns| columns > 0);
    let said = || std::env::var("COLUMNS").ok()?.parse().ok().filter(|&columns| columns > 0);
    terminal.or_else(said).unwrap_or(WIDTH).clamp(LEAST, usize::from(u16::MAX))
}

/// Prints text for a person: [`plain`], but for its line ends. [`outcome`] tells whether all could be written.
pub(crate) fn print(text: &str) {
    let text = lines(text);
    if is_aside() { put(&mut io::stderr().lock(), text.as_bytes(), "error") } else { write(text.as_bytes()) }
}

/// Prints data as it is. [`outcome`] tells whether all could be written.
pub(crate) fn write(data: &[u8]) {
    put(&mut io::stdout().lock(), data, "standard");
}

fn put(out: &mut dyn Write, data: &[u8], which: &str) {
    // That nobody reads on (`| head`) is no fault.
    if let Err(error) = out.write_all(data).and_then(|()| out.flush())
        && error.kind() != ErrorKind::BrokenPipe
    {
        let _ = FAILED.set(format!("cannot write to the {which} output: {error}"));
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

/// The one line of an error.
pub(crate) fn complain(message: &str) {
    remark(&format!("error: {message}"));
}

/// A line beside the results, while they come. What is wrong with the error output is nobody's to hear.
pub(crate) fn remark(message: &str) {
    let _ = writeln!(io::stderr(), "{}", lines(message));
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
