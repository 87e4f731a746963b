//! What the environment says.
//!
//! | variable | what it says | else |
//! |---|---|---|
//! | `STORPORT_PRELOAD_BYTES` | the pool's range: a number, with K, M or G behind it | 8G |
//! | `STORPORT_PRELOAD_LARGEST` | the largest request that is a block of the pool | 1M |
//! | `STORPORT_PRELOAD_MISUSE` | `ignore`, `report` or `abort` | `report` |
//! | `STORPORT_PRELOAD_REPORT` | where the report goes at exit: a path, a file descriptor's number, or `stderr` | nowhere |
//! | `STORPORT_POOL_VERIFY` | what the pool's verifier watches: rules as `Pool::verify` takes them. A bad text is told in one line on standard error | nothing |
//!
//! They are read when the pool is made, before the program can change them.

use core::ffi::{CStr, c_char, c_int};

use crate::text::Text;

/// What is done when a program frees what it must not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misuse {
    /// The call has no effect.
    Ignore,
    /// And a line is written to standard error.
    Report,
    /// And the process is aborted.
    Abort,
}

/// Where the report goes at exit.
#[allow(clippy::large_enum_variant, reason = "a box would ask for memory")]
pub(crate) enum Destination {
    Nowhere,
    Descriptor(c_int),
    /// With the zero byte at its end.
    Path(Text<4096>),
}

pub(crate) struct Options {
    /// Of the pool's range.
    pub(crate) bytes: u64,
    /// The largest request that is a block of the pool.
    pub(crate) largest: usize,
    pub(crate) misuse: Misuse,
    pub(crate) report: Destination,
    /// Rules; empty: none.
    pub(crate) verify: &'static [u8],
}

/// The largest block that may be asked of a pool: requests have 32 bits there.
const MOST: u64 = 2 << 30;

impl Options {
    pub(crate) fn read() -> Options {
        let number = |name| variable(name).and_then(number);
        Options {
            bytes: number(c"STORPORT_PRELOAD_BYTES").unwrap_or(8 << 30).clamp(64 << 10, 64 << 30),
            largest: number(c"STORPORT_PRELOAD_LARGEST").unwrap_or(1 << 20).min(MOST) as usize,
            misuse: match variable(c"STORPORT_PRELOAD_MISUSE") {
                Some(b"ignore") => Misuse::Ignore,
                Some(b"abort") => Misuse::Abort,
                _ => Misuse::Report,
            },
            verify: variable(c"STORPORT_POOL_VERIFY").unwrap_or_default(),
            report: match variable(c"STORPORT_PRELOAD_REPORT") {
                None | Some(b"") => Destination::Nowhere,
                Some(b"stderr") => Destination::Descriptor(kept_stderr()),
                Some(name) => match number_of_descriptor(name) {
                    Some(descriptor) => Destination::Descriptor(descriptor),
                    None => Destination::Path(with_end(name)),
                },
            },
        }
    }
}

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// Whether the C library has the environment already. Before, it is at its own start.
pub(crate) fn is_there() -> bool {
    // SAFETY: the C library's own word; reading it is what it is for.
    !unsafe { environ }.is_null()
}

fn variable(name: &CStr) -> Option<&'static [u8]> {
    // SAFETY: a terminated name. It asks for no memory. Whoever changes the environment meanwhile has promised that
    // nobody reads it.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    // SAFETY: not NULL, it is a terminated string.
    (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) }.to_bytes())
}

/// A number of bytes: "4096", "64K", "8G".
fn number(text: &[u8]) -> Option<u64> {
    let (digits, shift) = match text.split_last()? {
        (b'K' | b'k', digits) => (digits, 10),
        (b'M' | b'm', digits) => (digits, 20),
        (b'G' | b'g', digits) => (digits, 30),
        _ => (text, 0),
    };
    decimal(digits)?.checked_mul(1 << shift)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let mut sum = (!digits.is_empty()).then_some(0u64)?;
    for digit in digits {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum = sum.checked_mul(10)?.checked_add(digit)?;
    }
    Some(sum)
}

/// A descriptor of the library's own for standard error, since many programs close theirs before they end. Far above
/// those that programs count on; where there is no room, theirs.
fn kept_stderr() -> c_int {
    const FROM: c_int = 500;
    // SAFETY: makes a descriptor, or fails.
    match unsafe { libc::fcntl(2, libc::F_DUPFD_CLOEXEC, FROM) } {
        kept @ 0.. => kept,
        _ => 2,
    }
}

fn number_of_descriptor(text: &[u8]) -> Option<c_int> {
    c_int::try_from(decimal(text)?).ok()
}

fn with_end(path: &[u8]) -> Text<4096> {
    let mut text = Text::of(path.get(..4095).unwrap_or(path));
    text.push(&[0]);
    text
}
