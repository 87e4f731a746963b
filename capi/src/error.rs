//! Why the last host call of this thread failed.
//!
//! The text lies in memory of malloc's, one piece a thread, so that the library takes little thread-local memory. A
//! thread that gets none is told so by a text of the library's.

use core::cell::Cell;
use core::ffi::{c_char, c_int, c_void};
use core::fmt::{self, Write as _};
use core::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

#[cfg(target_os = "linux")]
use pool::watch::WatchError;
use pool::{AdapterError, CreateError, ImageError, OtherGeometry, TrimError, VerifierError};

use crate::text::Text;

/// Why a call failed. It displays as a sentence, with its figures.
#[derive(Clone, Copy)]
pub(crate) enum Why {
    Memory,
    NullPool,
    NullOptions,
    Create(CreateError),
    /// The value of `sp_options.size`.
    Size(usize),
    /// The value of `sp_options.reserved`.
    Reserved(u32),
    CpuAndIrql,
    MaskUnmaskFence,
    MaskNeedsCpu,
    MetadataNeedsRange,
    RangeNeedsMetadata,
    RangeAlignment(u64),
    Adapters(u32),
    MetadataAlignment(usize),
    MetadataBytes {
        given: usize,
        needed: usize,
    },
    Adapter(AdapterError),
    /// Bytes of an extension.
    ExtensionBytes(usize),
    /// No place is left for an extension.
    Places,
    /// The operating system's error number.
    Extension(i32),
    NoExtension,
    Irql,
    Removed,
    Trim(TrimError),
    Unpinned,
    NullImage,
    Image(ImageError),
    OtherGeometry(OtherGeometry),
    NoSuchName,
    Verifier(VerifierError),
    NoVerifier,
    /// The extension of a rule is another pool's adapter.
    OtherPool,
    /// The value of `sp_rule.special`.
    Special(u8),
    /// The text of `sp_verify`.
    RulesText,
    Pattern,
    NullCallback,
    /// Runs with findings, and all runs.
    Findings(u64, u64),
    /// Values of n that were not tried.
    LeftOut(u64),
    NullRecording,
    /// The system's error number; 0: none.
    Output(i32),
    NullWatch,
    #[cfg(target_os = "linux")]
    Watch(WatchError),
    #[cfg(not(target_os = "linux"))]
    NoWatches,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Why::Memory => "malloc has no memory",
            Why::NullPool => "the pool is NULL",
            Why::NullOptions => "the options are NULL",
            Why::Create(error) => return write!(f, "{error}"),
            Why::Size(given) => {
                return write!(f, "the options' size is {given}, which no version of the library has");
            }
            Why::Reserved(value) => return write!(f, "the options' reserved field is {value}, not 0"),
            Why::CpuAndIrql => "cpu and irql go together: one of them is NULL",
            Why::MaskUnmaskFence => "mask, unmask and fence go together: one of them is NULL",
            Why::MaskNeedsCpu => "mask, unmask and fence need cpu and irql",
            Why::MetadataNeedsRange => "metadata of the host's needs a range of the host's too",
            Why::RangeNeedsMetadata => "a range of the host's needs metadata of the host's too",
            Why::Adapters(given) => {
                return write!(f, "the number of adapters is {given}; it must be 1 to 1022");
            }
            Why::RangeAlignment(address) => {
                return write!(f, "the range begins at {address:#x}, which is no multiple of 65536");
            }
            Why::MetadataAlignment(address) => {
                return write!(f, "the metadata begins at {address:#x}, which is no multiple of 4096");
            }
            Why::MetadataBytes { given, needed } => {
                return write!(f, "the metadata has {given} bytes, and this pool needs {needed}");
            }
            Why::Adapter(error) => return write!(f, "{error}"),
            Why::ExtensionBytes(bytes) => {
                return write!(f, "no address space for an extension of {bytes} bytes: the most is 4 GiB less 64 KiB");
            }
            Why::Places => {
                "no address space is left for extensions: a process has 65535 of them, and those of removed adapters \
                 come back when their pool ends"
            }
            Why::Extension(code) => {
                return write!(f, "the operating system refused memory for the extension (error {code})");
            }
            Why::NoExtension => "this is no extension of a live adapter",
            Why::Irql => "an adapter is removed at DISPATCH_LEVEL or below",
            Why::Removed => "the adapter has been removed",
            Why::Trim(error) => return write!(f, "{error}"),
            Why::NullImage => "the image is NULL",
            Why::Image(error) => return write!(f, "{error}"),
            Why::OtherGeometry(error) => return write!(f, "{error}"),
            Why::NullCallback => "the callback is NULL",
            Why::Verifier(error) => return write!(f, "{error}"),
            Why::Findings(found, runs) => {
                return write!(f, "{found} of {runs} runs have findings");
            }
            Why::LeftOut(n) => return write!(f, "{n} values of n were not tried"),
            Why::NullRecording => "the recording is NULL",
            Why::Output(0) => "the recording: another one is under way, or its file or rule is refused",
            Why::Output(code) => return write!(f, "the recording's file: the system's error {code}"),
            Why::NullWatch => "the watch is NULL",
            #[cfg(target_os = "linux")]
            Why::Watch(error) => return write!(f, "{error}"),
            #[cfg(not(target_os = "linux"))]
            Why::NoWatches => "there are watches on Linux only",
            Why::NoVerifier => "the pool has no verifier: sp_verifier_attach gives it one",
            Why::OtherPool => "the rule's extension is an adapter of another pool",
            Why::Special(given) => {
                return write!(f, "the rule's special is {given}; it must be 0, 1 (after) or 2 (before)");
            }
            Why::RulesText => "the rules are no UTF-8 text",
            Why::NoSuchName => "no live adapter has this name",
            Why::Pattern => "1 to 16 printable characters are wanted for tags, such as Ahci or Ah*",
            Why::Unpinned => "the library that contains the pool could not be kept from being unloaded",
        })
    }
}

impl From<CreateError> for Why {
    fn from(error: CreateError) -> Why {
        Why::Create(error)
    }
}

impl From<AdapterError> for Why {
    fn from(error: AdapterError) -> Why {
        Why::Adapter(error)
    }
}

/// A thread's texts: of its last failure, and what `sp_last_error` gave it.
struct Texts {
    said: Text,
    shown: Text,
}

thread_local! {
    // Constant and without destructor: no memory is asked for. NULL: nothing failed.
    static LAST: Cell<*const c_char> = const { Cell::new(ptr::null()) };
}

unsafe extern "C" {
    fn malloc(bytes: usize) -> *mut c_void;
    fn free(memory: *mut c_void);
    fn pthread_key_create(key: *mut u32, end: Option<unsafe extern "C" fn(*mut c_void)>) -> c_int;
    fn pthread_key_delete(key: u32) -> c_int;
    fn pthread_getspecific(key: u32) -> *mut c_void;
    fn pthread_setspecific(key: u32, value: *const c_void) -> c_int;
}

/// The key of the threads' texts, and 1; 0: there is none yet.
static KEY: AtomicU32 = AtomicU32::new(0);

fn key() -> Option<u32> {
    // ORDERING: Acquire - the key's making; pairs with the Release below.
    let seen = KEY.load(Ordering::Acquire);
    if seen != 0 {
        return Some(seen - 1);
    }
    let mut made = 0;
    // SAFETY: `free` ends what a thread has from malloc.
    if unsafe { pthread_key_create(&mut made, Some(free)) } != 0 {
        return None;
    }
    // ORDERING: Release - the key; Acquire - another thread's.
    match KEY.compare_exchange(0, made + 1, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Some(made),
        Err(others) => {
            // SAFETY: nobody has seen this one.
            unsafe { pthread_key_delete(made) };
            Some(others - 1)
        }
    }
}

/// The calling thread's texts; `None`: there is no memory for them.
fn texts() -> Option<&'static mut Texts> {
    let key = key()?;
    // SAFETY: the key lives. The value is NULL or this thread's texts, which nobody else has, and which live until
    // the thread ends.
    unsafe {
        let mut texts = pthread_getspecific(key).cast::<Texts>();
        if texts.is_null() {
            texts = malloc(size_of::<Texts>()).cast();
            if texts.is_null() {
                return None;
            }
            texts.write(Texts { said: Text::new(), shown: Text::new() });
            if pthread_setspecific(key, texts.cast()) != 0 {
                free(texts.cast());
                return None;
            }
        }
        Some(&mut *texts)
    }
}

/// Keeps what is said next to the caller; cut where it is too long.
#[cold]
pub(crate) fn set(why: Why) {
    let Some(texts) = texts() else {
        return LAST.set(c"malloc has no memory, not even to say why this failed".as_ptr());
    };
    texts.said = Text::new();
    // Too long a one is cut.
    let _ = write!(texts.said, "{why}");
    LAST.set(texts.said.as_ptr());
}

/// The caller's call did not fail.
pub(crate) fn clear() {
    LAST.set(ptr::null());
}

/// What a call gave; or `none`, and the error kept.
pub(crate) fn told<T>(made: Result<T, Why>, none: T) -> T {
    match made {
        Ok(made) => {
            clear();
            made
        }
        Err(why) => {
            set(why);
            none
        }
    }
}

/// Why the calling thread's last call that can fail failed: a sentence, with the figures that matter. Empty when that
/// call did not fail. The thread's next call of this function may overwrite it. Functions that can fail are those with
/// the prefix `sp_` that return a pointer, a size, a rule's number or an sp_bool, but for those that allocate or free
/// blocks, `sp_verifier_tick` and `sp_explain_fault`. The end of a snapshot's rows is no failure.
#[unsafe(no_mangle)]
pub extern "C" fn sp_last_error() -> *const c_char {
    let last = LAST.get();
    if last.is_null() {
        return c"".as_ptr();
    }
    match texts() {
        Some(texts) if ptr::eq(last, texts.said.as_ptr()) => {
            texts.shown = texts.said;
            texts.shown.as_ptr()
        }
        // A text of the library's.
        _ => last,
    }
}
