//! Text without memory: counted words, a text's beginning, and text that fills the width it is given.

use core::fmt::{self, Write};

/// "1 block", "2 blocks".
pub(crate) struct Count(pub(crate) u64, pub(crate) &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}

/// A text's beginning, of at most so many bytes, that ends between two characters.
pub(crate) fn beginning(text: &str, most: usize) -> &str {
    // (`str::floor_char_boundary` came with Rust 1.91.)
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Text in the stack frame. What is longer is cut, and that is an error.
pub(crate) struct Line<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Line<N> {
    pub(crate) const fn new() -> Line<N> {
        Line { bytes: [0; N], len: 0 }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl<const N: usize> Write for Line<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let text = text.as_bytes();
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        let fits = text.len().min(room.len());
        for (to, byte) in room.iter_mut().zip(text) {
            *to = *byte;
        }
        self.len += fits;
        if fits == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Writes a short text as `f` asks for: with its width, fill, alignment and precision. What is longer than 160 bytes is
/// written as it is.
pub(crate) fn pad(f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>) -> fmt::Result {
    if f.width().is_none() && f.precision().is_none() {
        return f.write_fmt(text);
    }
    pad_line(f, text)
}

/// `pad` with a width or a precision. By itself, so that text without one takes no line of stack: a hook may write it.
#[cold]
#[inline(never)]
fn pad_line(f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>) -> fmt::Result {
    let mut line = Line::<160>::new();
    match line.write_fmt(text).ok().and_then(|()| core::str::from_utf8(line.bytes()).ok()) {
        Some(line) => f.pad(line),
        None => f.write_fmt(text),
    }
}
