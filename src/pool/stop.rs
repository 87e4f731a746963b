//! What is said on standard error without memory; and the violation hook that stops the program, as Windows stops the
//! machine.

use core::fmt::{self, Write};
use core::ptr;

use crate::contract::hook::HookRecord;
use crate::contract::violation::{BugCheck, Violation};
use crate::contract::words::Line;

/// Says what was wrong, in two lines, and aborts.
// SAFETY: `stop` looks at no context, and may be called anywhere: it writes to a file and aborts.
pub(crate) static STOP: HookRecord = unsafe { HookRecord::new(stop, ptr::null_mut()) };

fn stop(violation: &Violation, _: *mut ()) {
    let BugCheck { code, parameters: [a, b, c, d] } = violation.bug_check();
    if code == 0 {
        // Nobody's misuse.
        return;
    }
    say(format_args!(
        "\n*** STOP: {code:#010X} ({a:#018X}, {b:#018X}, {c:#018X}, {d:#018X})\n*** storport-pool: {violation}\n"
    ));
    std::process::abort();
}

/// Writes to standard error without memory or a lock; what is longer than 512 bytes is cut.
pub(crate) fn say(what: fmt::Arguments<'_>) {
    let mut text = Line::<512>::new();
    let _ = text.write_fmt(what);
    write_to_stderr(text.bytes());
}

/// Past std's lock, which the code below a handler may hold.
#[cfg(target_os = "linux")]
fn write_to_stderr(mut text: &[u8]) {
    use rustix::fd::BorrowedFd;

    // SAFETY: a number that nothing here closes, used for these writes alone; if nothing is open there, they fail.
    let stderr = unsafe { BorrowedFd::borrow_raw(2) };
    while let Ok(written @ 1..) = rustix::io::write(stderr, text) {
        text = text.get(written..).unwrap_or_default();
        if text.is_empty() {
            return;
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn write_to_stderr(text: &[u8]) {
    use std::io::Write;

    let _ = std::io::stderr().write_all(text);
}
