//! Text of a fixed size, for lines that must not ask for memory.

use core::ffi::c_int;
use core::fmt;

/// Up to `N` bytes; what does not fit is cut off.
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    pub(crate) const fn new() -> Text<N> {
        Text { bytes: [0; N], length: 0 }
    }

    /// One that holds these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Text<N> {
        let mut text = Text::new();
        text.push(bytes);
        text
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        let fits = bytes.len().min(room.len());
        room[..fits].copy_from_slice(&bytes[..fits]);
        self.length += fits;
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Writes all of it to a file descriptor, in one call where the system takes it so. Errors are nobody's to hear.
    pub(crate) fn write_to(&self, descriptor: c_int) {
        let mut rest = self.bytes();
        while !rest.is_empty() {
            // SAFETY: bytes of ours.
            match unsafe { libc::write(descriptor, rest.as_ptr().cast(), rest.len()) } {
                written @ 1.. => rest = rest.get(written as usize..).unwrap_or_default(),
                // SAFETY: the thread's own word.
                _ if unsafe { *libc::__errno_location() } == libc::EINTR => {}
                _ => return,
            }
        }
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}
