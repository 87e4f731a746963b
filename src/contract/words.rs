//! Words with numbers, as a person says them; and text that fills the width it is given.

use core::fmt::{self, Write};

/// "1 byte", "2 bytes".
pub(crate) struct Bytes(pub(crate) u64);

/// "1 block", "2 blocks".
pub(crate) struct Blocks(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} byte{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} block{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

/// Text of up to so many bytes, in the stack frame.
struct Line<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Write for Line<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// Writes a short text as `f` asks for: with its width, fill, alignment and precision. What is longer than 160 bytes is
/// written as it is.
pub(crate) fn pad(f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>) -> fmt::Result {
    if f.width().is_none() && f.precision().is_none() {
        return f.write_fmt(text);
    }
    let mut line = Line { bytes: [0; 160], len: 0 };
    match line.write_fmt(text).ok().and_then(|()| core::str::from_utf8(line.bytes.get(..line.len)?).ok()) {
        Some(line) => f.pad(line),
        None => f.write_fmt(text),
    }
}
