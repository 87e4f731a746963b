//! Why the last host call of this thread failed.

use core::cell::Cell;
use core::ffi::c_char;
use core::fmt;
use std::io::Write;

const LONGEST: usize = 200;

thread_local! {
    // Constant and without destructor.
    static TEXT: Cell<[u8; LONGEST]> = const { Cell::new([0; LONGEST]) };
    static SHOWN: Cell<[u8; LONGEST]> = const { Cell::new([0; LONGEST]) };
}

/// Keeps what is said next to the caller; cut where it is too long.
pub(crate) fn set(why: impl fmt::Display) {
    let mut text = [0; LONGEST];
    // Too long an error is cut; the last byte stays 0.
    let _ = write!(&mut text[..LONGEST - 1], "{why}");
    TEXT.set(text);
}

/// Why the calling thread's last call of a function with the prefix `sp_` failed: a sentence, which the thread's
/// next call of this function overwrites. Empty when none failed.
#[unsafe(no_mangle)]
pub extern "C" fn sp_last_error() -> *const c_char {
    SHOWN.set(TEXT.get());
    SHOWN.with(|shown| shown.as_ptr().cast())
}
