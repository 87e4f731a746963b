//! Misuse, told to C.

use core::ffi::{CStr, c_char, c_void};
use core::fmt::Write as _;
use core::ptr;
use std::sync::atomic::Ordering;

use pool::{AdapterId, AdapterName, BugCheck, Violation, ViolationKind};

use crate::kind::{sp_pool, with_pool};
use crate::registry;
use crate::text::Text;

/// What the caller did wrong: one of the numbers below. More may come.
pub type sp_violation_kind = u32;
/// The block was freed already.
pub const SP_DOUBLE_FREE: sp_violation_kind = 1;
/// The address lies in the pool, but no block is there.
pub const SP_WILD_FREE: sp_violation_kind = 2;
/// The address lies outside the pool.
pub const SP_FOREIGN_FREE: sp_violation_kind = 3;
/// The address lies inside a live block.
pub const SP_INTERIOR_FREE: sp_violation_kind = 4;
/// The block belongs to another adapter.
pub const SP_WRONG_OWNER: sp_violation_kind = 5;
/// The block has another tag than the one passed.
pub const SP_WRONG_TAG: sp_violation_kind = 6;
/// Blocks were left when their adapter was removed, or their pool ended.
pub const SP_LEAK: sp_violation_kind = 7;
/// A request for zero bytes.
pub const SP_ZERO_SIZE: sp_violation_kind = 8;
/// The tag is 0 (strict tags only).
pub const SP_ZERO_TAG: sp_violation_kind = 9;
/// The tag is "BIG" (strict tags only).
pub const SP_BIG_TAG: sp_violation_kind = 10;
/// The tag has no letter and no digit (strict tags only).
pub const SP_UNREADABLE_TAG: sp_violation_kind = 11;
/// `ExFreePool` or its kind was called above DISPATCH_LEVEL. Nothing was freed.
pub const SP_FREE_AT_IRQL: sp_violation_kind = 12;
/// `ExFreePool` or its kind was called while `sp_set_not_implemented` is set. Nothing was freed.
pub const SP_FREE_NOT_IMPLEMENTED: sp_violation_kind = 13;
/// Nobody's misuse, and told once a pool: the system refuses membarrier, as in a sandbox that was entered since the
/// pool was made. The pool goes on, with less: docs/PROCESSES.md. `bug_check` is 0.
pub const SP_FENCE_REFUSED: sp_violation_kind = 14;
/// None of these.
pub const SP_OTHER_VIOLATION: sp_violation_kind = 99;

/// One misuse. The pool's state is intact when the callback runs.
#[repr(C)]
pub struct sp_violation {
    /// What was done.
    pub kind: sp_violation_kind,
    /// The level at which the call was made.
    pub irql: u8,
    /// The tag of the block (its last one, when it is free now), or of the refused allocation; 0: none.
    pub tag: u32,
    /// The tag that was passed to free, where that takes one; else 0.
    pub given_tag: u32,
    /// The address that was passed to free; else NULL.
    pub address: *mut c_void,
    /// Bytes that were requested: of the block, of the refused allocation, or of all blocks left behind.
    pub bytes: u64,
    /// How many blocks were left behind; else 0.
    pub blocks: u64,
    /// The extension of the adapter that owns the block, or owned it last; NULL where none is known, and for
    /// blocks of `ExAllocatePool2` and its kind.
    pub owner: *mut c_void,
    /// The extension in whose name the call was made.
    pub caller: *mut c_void,
    /// The Windows bug check that this stands for, and its four parameters.
    pub bug_check: u32,
    /// Parameters 1 to 4.
    pub parameters: [u64; 4],
    /// A few words: what was done.
    pub description: *const c_char,
    /// All of it for a person, with the block's tag and bytes and the names of its adapters. As `violation` itself,
    /// it is gone when the callback returns.
    pub text: *const c_char,
}

/// Hears of violations, on the thread that made the call, at its IRQL. It may allocate and free, and it may end
/// the program, as Windows would. `violation` is gone when it returns.
pub type sp_violation_callback =
    Option<unsafe extern "C" fn(context: *mut c_void, violation: *const sp_violation)>;

pub(crate) const fn kind(kind: ViolationKind) -> sp_violation_kind {
    match kind {
        ViolationKind::DoubleFree => SP_DOUBLE_FREE,
        ViolationKind::Wild => SP_WILD_FREE,
        ViolationKind::Foreign => SP_FOREIGN_FREE,
        ViolationKind::Interior => SP_INTERIOR_FREE,
        ViolationKind::WrongOwner => SP_WRONG_OWNER,
        ViolationKind::WrongTag => SP_WRONG_TAG,
        ViolationKind::FenceRefused => SP_FENCE_REFUSED,
        ViolationKind::Leak => SP_LEAK,
        ViolationKind::ZeroSize => SP_ZERO_SIZE,
        ViolationKind::ZeroTag => SP_ZERO_TAG,
        ViolationKind::BigTag => SP_BIG_TAG,
        ViolationKind::UnreadableTag => SP_UNREADABLE_TAG,
        _ => SP_OTHER_VIOLATION,
    }
}

const fn words(kind: sp_violation_kind) -> &'static CStr {
    match kind {
        SP_DOUBLE_FREE => c"double free",
        SP_WILD_FREE => c"free of an address where no block is",
        SP_FOREIGN_FREE => c"free of an address outside the pool",
        SP_INTERIOR_FREE => c"free of an address inside a block",
        SP_WRONG_OWNER => c"free of another adapter's block",
        SP_WRONG_TAG => c"free with another tag than the block's",
        SP_LEAK => c"blocks left behind",
        SP_ZERO_SIZE => c"allocation of zero bytes",
        SP_ZERO_TAG => c"allocation with tag 0",
        SP_BIG_TAG => c"allocation with tag \"BIG\"",
        SP_UNREADABLE_TAG => c"allocation with a tag without letter or digit",
        SP_FREE_AT_IRQL => c"free above DISPATCH_LEVEL",
        SP_FREE_NOT_IMPLEMENTED => c"free while not implemented",
        SP_FENCE_REFUSED => c"the system refuses membarrier",
        _ => c"misuse",
    }
}

/// An adapter as a text names it.
fn name(text: &mut Text, handle: &sp_pool, role: &str, adapter: AdapterId) {
    let name: Option<AdapterName> = with_pool!(handle, pool => pool.adapter_name(adapter));
    // A text takes what has room.
    let _ = match name {
        Some(name) if !name.as_str().is_empty() => write!(text, ", {role} {name}"),
        _ => write!(text, ", {role} number {}", adapter.raw()),
    };
}

/// What is said of a violation.
fn describe(handle: &sp_pool, found: &Violation) -> Text {
    let mut text = Text::new();
    // A text takes what has room.
    let _ = write!(text, "{}", found.kind);
    if found.address != 0 {
        let _ = write!(text, " at {:#x}", found.address);
    }
    if found.blocks != 0 {
        let _ = write!(text, ": {} blocks", found.blocks);
    }
    if let Some(tag) = found.tag {
        let _ = write!(text, ", tag '{tag}'");
    }
    if let Some(tag) = found.given_tag {
        let _ = write!(text, ", freed with tag '{tag}'");
    }
    if found.bytes != 0 {
        let _ = write!(text, ", {} bytes", found.bytes);
    }
    if let Some(owner) = found.owner {
        name(&mut text, handle, "of adapter", owner);
    }
    if !matches!(found.kind, ViolationKind::Leak | ViolationKind::FenceRefused) {
        name(&mut text, handle, "called for adapter", found.caller);
    }
    text
}

/// Calls the pool's callback, if it has one.
fn tell(handle: &sp_pool, make: impl FnOnce() -> (sp_violation, Text)) {
    let Some((callback, context)) = handle.hearers.get() else { return };
    // SAFETY: the word of a callback that `sp_on_violation` was given, which is not NULL.
    let callback: unsafe extern "C" fn(*mut c_void, *const sp_violation) =
        unsafe { core::mem::transmute(callback) };
    let (mut told, text) = make();
    told.text = text.as_ptr();
    // SAFETY: the promise of whoever called `sp_on_violation`.
    unsafe { callback(context, &told) };
}

/// What the pool calls with a violation. `handle` is its handle.
pub(crate) fn hear(found: &Violation, handle: *mut ()) {
    // SAFETY: the handle lives as long as its pool, which calls.
    let handle = unsafe { &*handle.cast::<sp_pool>() };
    tell(handle, || {
        let extension = |adapter: AdapterId| registry::extension_of(handle, adapter);
        let bug_check = found.bug_check();
        let told = sp_violation {
            kind: kind(found.kind),
            irql: found.irql.level(),
            tag: found.tag.map_or(0, pool::PoolTag::raw),
            given_tag: found.given_tag.map_or(0, pool::PoolTag::raw),
            address: ptr::with_exposed_provenance_mut(found.address as usize),
            bytes: found.bytes,
            blocks: found.blocks,
            owner: found.owner.map_or(ptr::null_mut(), extension),
            caller: extension(found.caller),
            bug_check: bug_check.code,
            parameters: bug_check.parameters,
            description: words(kind(found.kind)).as_ptr(),
            text: ptr::null(),
        };
        (told, describe(handle, found))
    });
}

/// Tells of a free by `ExFreePool` or its kind that had no status to return.
pub(crate) fn tell_unfreed(handle: &sp_pool, kind: sp_violation_kind, address: *mut c_void, given_tag: u32) {
    // ORDERING: Relaxed - a statistic.
    handle.violations.fetch_add(1, Ordering::Relaxed);
    tell(handle, || {
        let irql = handle.irql().level();
        // Windows: "attempted to free the pool at an invalid IRQL". The switch is ours, and stands for no bug check.
        let bug_check = match kind {
            SP_FREE_AT_IRQL => {
                let parameters = [0x09, irql.into(), 0, address.addr() as u64];
                BugCheck { code: 0xC2, parameters }
            }
            _ => BugCheck { code: 0, parameters: [0; 4] },
        };
        let mut text = Text::new();
        // A text takes what has room.
        let _ = write!(text, "{} of {address:p}, IRQL {irql}", words(kind).to_str().unwrap_or(""));
        let told = sp_violation {
            kind,
            irql,
            tag: 0,
            given_tag,
            address,
            bytes: 0,
            blocks: 0,
            owner: ptr::null_mut(),
            caller: ptr::null_mut(),
            bug_check: bug_check.code,
            parameters: bug_check.parameters,
            description: words(kind).as_ptr(),
            text: ptr::null(),
        };
        (told, text)
    });
}

/// Who hears of violations of this pool from now on; NULL: nobody. PASSIVE. Nothing is kept of the callback before,
/// which may still be running in another thread. At most seven threads may call this for one pool at a time.
///
/// # Safety
/// `pool` is NULL or a pool that lives. `callback` may be called with `context` from any thread, at any IRQL, until
/// the pool ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_on_violation(
    pool: *mut sp_pool,
    callback: sp_violation_callback,
    context: *mut c_void,
) {
    // SAFETY: the caller's promise.
    if let Some(handle) = unsafe { pool.as_ref() } {
        let callback = callback.map_or(ptr::null_mut(), |callback| callback as *mut c_void);
        handle.hearers.change(callback, context);
    }
}
