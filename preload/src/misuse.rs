//! A bad call: what is told, as Windows would have told it, and whether the program goes on.

use core::fmt::Write as _;
use core::sync::atomic::{AtomicU8, Ordering};

use pool::{HookRecord, Violation, ViolationKind};

use crate::errno;
use crate::options::Misuse;
use crate::text::Text;

/// What is done: a [`Misuse`].
static CHOSEN: AtomicU8 = AtomicU8::new(Misuse::Report as u8);

/// What the pool calls.
// SAFETY: `hear` takes nothing from its context, and may run on any thread.
pub(crate) static HOOK: HookRecord = unsafe { HookRecord::new(hear, core::ptr::null_mut()) };

/// Says what is done from now on.
pub(crate) fn choose(misuse: Misuse) {
    // ORDERING: Relaxed - nothing else hangs on it.
    CHOSEN.store(misuse as u8, Ordering::Relaxed);
}

fn is_chosen(misuse: Misuse) -> bool {
    // ORDERING: Relaxed - as above.
    CHOSEN.load(Ordering::Relaxed) == misuse as u8
}

fn hear(violation: &Violation, _: *mut ()) {
    if violation.kind != ViolationKind::FenceRefused {
        let check = violation.bug_check();
        return tell(check.code, check.parameters, format_args!("{violation}"));
    }
    // Nobody's misuse.
    if !is_chosen(Misuse::Ignore) {
        write(format_args!("*** storport-pool: {violation}\n"));
    }
}

/// A free of an address that is nobody's, where there is no pool to refuse it.
#[cold]
pub(crate) fn tell_foreign(address: usize) {
    let text = format_args!("free of an address outside the pool at {address:#x}");
    tell(0xC2, [0x43, address as u64, 0, 0], text);
}

fn tell(code: u32, parameters: [u64; 4], text: core::fmt::Arguments<'_>) {
    if is_chosen(Misuse::Ignore) {
        return;
    }
    let [a, b, c, d] = parameters;
    write(format_args!(
        "*** STOP: 0x{code:08X} (0x{a:016X}, 0x{b:016X}, 0x{c:016X}, 0x{d:016X})\n*** storport-pool: {text}\n"
    ));
    if is_chosen(Misuse::Abort) {
        // SAFETY: ends the process.
        unsafe { libc::abort() };
    }
}

fn write(line: core::fmt::Arguments<'_>) {
    let mut text = Text::<512>::new();
    let _ = text.write_fmt(line);
    errno::kept(|| text.write_to(2));
}
