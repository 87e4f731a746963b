//! The serial line: text out, byte by byte.
//!
//! For another kernel: replace `write_byte`. The pool needs no output; the hook for violations may want one, at any
//! IRQL, so nothing here takes a lock. Lines of two CPUs may mix.

use core::arch::asm;
use core::fmt;

const COM1: u16 = 0x3F8;
/// Bit 5 of the line status: the device takes a byte.
const READY: u8 = 1 << 5;

pub struct Serial;

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(write_byte);
        Ok(())
    }
}

fn write_byte(byte: u8) {
    // SAFETY: the ports of the serial device, which touches no memory.
    unsafe {
        while in_byte(COM1 + 5) & READY == 0 {}
        out_byte(COM1, byte);
    }
}

/// # Safety
/// The port's device harms no memory.
pub unsafe fn out_byte(port: u16, value: u8) {
    // SAFETY: the caller's promise.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags)) };
}

/// # Safety
/// As [`out_byte`].
unsafe fn in_byte(port: u16) -> u8 {
    let value;
    // SAFETY: the caller's promise.
    unsafe { asm!("in al, dx", out("al") value, in("dx") port, options(nomem, nostack, preserves_flags)) };
    value
}

/// Prints a line.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => {{
        use core::fmt::Write;
        let _ = writeln!($crate::serial::Serial, $($argument)*);
    }};
}
