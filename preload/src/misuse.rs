//! A bad call: what is told, as Windows would have told it, and whether the program goes on.

use core::ffi::CStr;
use core::fmt::{self, Display, Write as _};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU8, Ordering};

use pool::{CallStack, HookRecord, StackKind, VerifierError, Violation, ViolationKind};

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
        return tell(check.code, check.parameters, format_args!("{violation}{}", Stacks(violation)));
    }
    // Nobody's misuse.
    if !is_chosen(Misuse::Ignore) {
        write(format_args!("*** storport-pool: {violation}\n"));
    }
}

/// Lines for the call stacks that a violation has.
struct Stacks<'a>(&'a Violation);

impl Display for Stacks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, stack) in [("allocated", &self.0.allocated), ("freed", &self.0.freed)] {
            match stack.kind() {
                StackKind::NotTracked => {}
                StackKind::Taken => {
                    write!(f, "\n***   {what}:")?;
                    write_places(f, stack)?;
                }
                missing => write!(f, "\n***   {what}: {}", missing.describe())?,
            }
        }
        Ok(())
    }
}

/// "ls+0x12f3 libc.so.6+0x2211": the innermost first, as addr2line takes them.
fn write_places(f: &mut fmt::Formatter<'_>, stack: &CallStack) -> fmt::Result {
    for &frame in stack.frames() {
        let place = core::ptr::without_provenance(frame as usize);
        let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
        // SAFETY: it writes what it knows of an address. All zero, the structure has no name.
        let info = unsafe {
            libc::dladdr(place, info.as_mut_ptr());
            info.assume_init()
        };
        if info.dli_fname.is_null() {
            write!(f, " {frame:#x}")?;
            continue;
        }
        // SAFETY: a name of the loader's, which is not NULL and stays as long as its file is loaded.
        let path = unsafe { CStr::from_ptr(info.dli_fname) }.to_bytes();
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        let name = core::str::from_utf8(name).unwrap_or("?");
        write!(f, " {name}+{:#x}", frame.wrapping_sub(info.dli_fbase.addr() as u64))?;
    }
    Ok(())
}

/// The pool is not verified.
pub(crate) fn tell_unverified(why: Option<VerifierError>) {
    let why = why.as_ref().map_or(&"no UTF-8 text" as &dyn Display, |why| why);
    write(format_args!("*** storport-pool: STORPORT_POOL_VERIFY: {why}; nothing is verified\n"));
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
    let mut text = Text::<2048>::new();
    // A text takes what fits.
    let _ = text.write_fmt(line);
    errno::kept(|| text.write_to(2));
}
