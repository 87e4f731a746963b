//! A short text without memory of malloc's.

use core::ffi::c_char;
use core::fmt;

/// A violation's longest text has room: all of its parts, and a bug check's four parameters.
const LONGEST: usize = 400;

/// What was written, as far as there was room, and a 0.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Text {
    pub(crate) const fn new() -> Text {
        Text { bytes: [0; LONGEST], len: 0 }
    }

    /// It, as a C string.
    pub(crate) const fn as_ptr(&self) -> *const c_char {
        self.bytes.as_ptr().cast()
    }

    /// It, as Rust's.
    pub(crate) fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.len]).unwrap_or("")
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        // The last byte stays 0.
        let mut room = more.len().min(LONGEST - 1 - self.len);
        while !more.is_char_boundary(room) {
            room -= 1;
        }
        self.bytes[self.len..self.len + room].copy_from_slice(&more.as_bytes()[..room]);
        self.len += room;
        if room == more.len() { Ok(()) } else { Err(fmt::Error) }
    }
}
