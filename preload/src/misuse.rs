//! A bad call: what is told, as Windows would have told it, and whether the program goes on.

use core::fmt::Write as _;

use pool::{HookRecord, Violation, ViolationKind};

use crate::options::Misuse;
use crate::text::Text;
use crate::{errno, range};

/// What the pool calls.
// SAFETY: `hear` takes nothing from its context, and may run on any thread.
pub(crate) static HOOK: HookRecord = unsafe { HookRecord::new(hear, core::ptr::null_mut()) };

fn hear(violation: &Violation, _: *mut ()) {
    let misuse = range::get().map_or(Misuse::Report, |range| range.options.misuse);
    if violation.kind == ViolationKind::FenceRefused {
        // Nobody's misuse.
        return if misuse != Misuse::Ignore {
            write(format_args!("*** storport-pool: {violation}\n"))
        };
    }
    let check = violation.bug_check();
    tell(misuse, check.code, check.parameters, format_args!("{violation}"));
}

/// A free of an address that is nobody's, where there is no pool to refuse it.
#[cold]
pub(crate) fn tell_foreign(address: usize) {
    let misuse = range::get().map_or(Misuse::Report, |range| range.options.misuse);
    let text = format_args!("free of an address outside the pool at {address:#x}");
    tell(misuse, 0xC2, [0x43, address as u64, 0, 0], text);
}

fn tell(misuse: Misuse, code: u32, parameters: [u64; 4], text: core::fmt::Arguments<'_>) {
    if misuse == Misuse::Ignore {
        return;
    }
    let [a, b, c, d] = parameters;
    write(format_args!(
        "*** STOP: 0x{code:08X} (0x{a:016X}, 0x{b:016X}, 0x{c:016X}, 0x{d:016X})\n*** storport-pool: {text}\n"
    ));
    if misuse == Misuse::Abort {
        // SAFETY: ends the process.
        unsafe { libc::abort() };
    }
}

fn write(line: core::fmt::Arguments<'_>) {
    let mut text = Text::<512>::new();
    let _ = text.write_fmt(line);
    errno::kept(|| text.write_to(2));
}
