//! Misuse, told to C.

use core::ffi::{CStr, c_char, c_void};
use core::fmt::Write as _;
use core::ptr;
use std::sync::atomic::Ordering;

use pool::{AdapterId, AdapterName, BugCheck, CallStack, StackKind, Violation, ViolationKind};

use crate::kind::sp_pool;
use crate::registry;
use crate::text::Text;
use crate::types::sp_bool;

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
/// `ExFreePool` or its kind was called above DISPATCH_LEVEL; or any free, under a rule with `irql`. Nothing was freed.
pub const SP_FREE_AT_IRQL: sp_violation_kind = 12;
/// `ExFreePool` or its kind was called while `sp_set_not_implemented` is set. Nothing was freed.
pub const SP_FREE_NOT_IMPLEMENTED: sp_violation_kind = 13;
/// Nobody's misuse, and told once a pool: the system refuses membarrier, as in a sandbox that was entered since the
/// pool was made. The pool goes on, with less: docs/PROCESSES.md. `bug_check` is 0.
pub const SP_FENCE_REFUSED: sp_violation_kind = 14;
/// Bytes behind a verified block were overwritten. Found when it was freed, or by a sweep.
pub const SP_OVERRUN: sp_violation_kind = 15;
/// Bytes before a guarded block were overwritten. Found when it was freed.
pub const SP_UNDERRUN: sp_violation_kind = 16;
/// A verified block was written to after it was freed. Found when it left the quarantine.
pub const SP_WRITE_AFTER_FREE: sp_violation_kind = 17;
/// A guard page beside a block was touched (`sp_explain_faults`).
pub const SP_ACCESS_BEYOND: sp_violation_kind = 18;
/// A guarded block was touched after it was freed (`sp_explain_faults`).
pub const SP_ACCESS_FREED: sp_violation_kind = 19;
/// An allocation above DISPATCH_LEVEL, under a rule with `irql`.
pub const SP_ALLOCATE_AT_IRQL: sp_violation_kind = 20;
/// An allocation whose out pointer held the address of a live block, under a rule with `overwrite`. `bug_check` is 0.
pub const SP_OVERWRITTEN: sp_violation_kind = 21;
/// None of these.
pub const SP_OTHER_VIOLATION: sp_violation_kind = 99;

/// Whether a call stack was taken, or why not: one of the numbers below. More may come.
pub type sp_stack_kind = u32;
/// Nobody asked for one.
pub const SP_STACK_NOT_TRACKED: sp_stack_kind = 0;
/// It is there.
pub const SP_STACK_TAKEN: sp_stack_kind = 1;
/// The host has none to give.
pub const SP_STACK_NO_SOURCE: sp_stack_kind = 2;
/// A handler called while the thread was taking another one.
pub const SP_STACK_LEFT_OUT: sp_stack_kind = 3;
/// The table of call stacks is full: `sp_verifier_options.stacks`.
pub const SP_STACK_TABLE_FULL: sp_stack_kind = 4;
/// The verifier has no note of the block any more: `sp_verifier_options.notes`.
pub const SP_STACK_FORGOTTEN: sp_stack_kind = 5;

/// Bytes that are kept of what was found in memory.
pub const SP_EVIDENCE: usize = 16;

/// A call stack: return addresses, the innermost first.
#[repr(C)]
pub struct sp_call_stack {
    /// Whether it was taken, or why not.
    pub kind: sp_stack_kind,
    /// How many frames there are; 0 if it was not taken.
    pub count: u32,
    /// The return addresses, as many as `count` says; gone when the callback returns.
    pub frames: *const u64,
    /// A few words: why there are none; NULL when it was taken.
    pub missing: *const c_char,
}

/// One misuse. The pool's state is intact when the callback runs. The library makes it, so later versions add fields at
/// its end, and a program sees those that its own header has.
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
    /// All of it for a person, with the block's tag and bytes and the names of its adapters; at its end the bug check, if
    /// there is one. As `violation` itself, it is gone when the callback returns.
    pub text: *const c_char,
    /// Where the block begins; NULL: there is none, or none is known.
    pub block: *mut c_void,
    /// The first byte of memory that is not what it should be; NULL: memory was not looked at, or is right.
    pub evidence: *mut c_void,
    /// What is there, from that byte on.
    pub evidence_bytes: [u8; SP_EVIDENCE],
    /// How many of these bytes are told.
    pub evidence_count: u8,
    /// What each should be.
    pub evidence_expected: u8,
    /// Whether the block has guard pages.
    pub guarded: sp_bool,
    /// Where the block was allocated.
    pub allocated: sp_call_stack,
    /// Where it was freed.
    pub freed: sp_call_stack,
    /// Where the call was made, or the fault came, if the block is tracked.
    pub called: sp_call_stack,
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
        ViolationKind::Overrun => SP_OVERRUN,
        ViolationKind::Underrun => SP_UNDERRUN,
        ViolationKind::WriteAfterFree => SP_WRITE_AFTER_FREE,
        ViolationKind::AccessBeyond => SP_ACCESS_BEYOND,
        ViolationKind::AccessFreed => SP_ACCESS_FREED,
        ViolationKind::IrqlAllocate => SP_ALLOCATE_AT_IRQL,
        ViolationKind::IrqlFree => SP_FREE_AT_IRQL,
        ViolationKind::Overwritten => SP_OVERWRITTEN,
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
        SP_OVERRUN => c"write behind the end of a block",
        SP_UNDERRUN => c"write before the beginning of a block",
        SP_WRITE_AFTER_FREE => c"write to a block after it was freed",
        SP_ACCESS_BEYOND => c"access beside a block",
        SP_ACCESS_FREED => c"access to a block after it was freed",
        SP_ALLOCATE_AT_IRQL => c"allocation above DISPATCH_LEVEL",
        SP_OVERWRITTEN => c"allocation into a pointer that still owns a block",
        _ => c"misuse",
    }
}

/// A call stack as C has it, as long as Rust's lives.
fn stack(stack: &CallStack) -> sp_call_stack {
    let (kind, missing) = match stack.kind() {
        StackKind::Taken => (SP_STACK_TAKEN, None),
        StackKind::NotTracked => (SP_STACK_NOT_TRACKED, Some(c"not tracked")),
        StackKind::NoSource => (SP_STACK_NO_SOURCE, Some(c"the host gives no call stacks")),
        StackKind::LeftOut => {
            (SP_STACK_LEFT_OUT, Some(c"left out: a handler called while another one was being taken"))
        }
        StackKind::TableFull => (SP_STACK_TABLE_FULL, Some(c"left out: the table of call stacks is full")),
        _ => (SP_STACK_FORGOTTEN, Some(c"forgotten: the verifier has no note of the block any more")),
    };
    let missing = missing.map_or(ptr::null(), CStr::as_ptr);
    let frames = stack.frames();
    sp_call_stack { kind, count: frames.len() as u32, frames: frames.as_ptr(), missing }
}

impl sp_violation {
    /// One of which nothing is known but this.
    fn new(kind: sp_violation_kind, irql: u8) -> sp_violation {
        let untracked = || sp_call_stack {
            kind: SP_STACK_NOT_TRACKED,
            count: 0,
            frames: ptr::null(),
            missing: c"not tracked".as_ptr(),
        };
        sp_violation {
            kind,
            irql,
            tag: 0,
            given_tag: 0,
            address: ptr::null_mut(),
            bytes: 0,
            blocks: 0,
            owner: ptr::null_mut(),
            caller: ptr::null_mut(),
            bug_check: 0,
            parameters: [0; 4],
            description: words(kind).as_ptr(),
            text: ptr::null(),
            block: ptr::null_mut(),
            evidence: ptr::null_mut(),
            evidence_bytes: [0; SP_EVIDENCE],
            evidence_count: 0,
            evidence_expected: 0,
            guarded: 0,
            allocated: untracked(),
            freed: untracked(),
            called: untracked(),
        }
    }
}

/// An adapter as a text names it. A name may have control characters: each becomes a question mark.
fn name(text: &mut Text, role: &str, adapter: AdapterId, name: Option<AdapterName>) {
    // A text takes what has room.
    let _ = write!(text, ", {role} ");
    let _ = match name {
        Some(name) if !name.as_str().is_empty() => {
            let mut printable = name.as_str().chars().map(|sign| if sign.is_control() { '?' } else { sign });
            printable.try_for_each(|sign| text.write_char(sign))
        }
        _ => write!(text, "number {}", adapter.raw()),
    };
}

/// Whether no call was made in an adapter's name.
fn is_nobodys(found: &Violation) -> bool {
    matches!(
        found.kind,
        ViolationKind::Leak
            | ViolationKind::FenceRefused
            | ViolationKind::WriteAfterFree
            | ViolationKind::AccessBeyond
            | ViolationKind::AccessFreed
    ) || found.caller.raw() == 0
}

/// The end of a word that counts so many.
const fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// What is said of a violation, but for its end. It has a frame of its own, whose stack is free when the callback runs.
#[inline(never)]
fn describe(text: &mut Text, found: &Violation) {
    // A text takes what has room.
    let _ = write!(text, "{}", found.kind);
    if found.address != 0 {
        let _ = write!(text, " at {:#x}", found.address);
    }
    if found.blocks != 0 {
        let _ = write!(text, ": {} block{}", found.blocks, plural(found.blocks));
    }
    if let Some(tag) = found.tag {
        let _ = write!(text, ", tag '{tag}'");
    }
    if let Some(tag) = found.given_tag {
        let _ = write!(text, ", freed with tag '{tag}'");
    }
    if found.bytes != 0 {
        let _ = write!(text, ", {} byte{}", found.bytes, plural(found.bytes));
    }
    if let Some(evidence) = found.evidence {
        let (is, wanted) = (evidence.found[0], evidence.expected);
        let _ = write!(text, ", {is:#04x} at {:#x} in place of {wanted:#04x}", evidence.address);
    }
    if let Some(owner) = found.owner {
        name(text, "of adapter", owner, found.owner_name);
    }
    if !is_nobodys(found) {
        name(text, "called for adapter", found.caller, found.caller_name);
    }
}

/// The end of a text: what Windows would do. It has a frame of its own, since of all parts it takes the most stack.
#[inline(never)]
fn stop(text: &mut Text, bug_check: BugCheck) {
    if bug_check.code != 0 {
        // A text takes what has room.
        let _ = write!(text, "; Windows stops with {bug_check}");
    }
}

/// A callback, which is not NULL, and its context.
type Hearer = (unsafe extern "C" fn(*mut c_void, *const sp_violation), *mut c_void);

/// Who hears of the pool's violations, if anybody.
fn hearer(handle: &sp_pool) -> Option<Hearer> {
    let (callback, context) = handle.hearers.get()?;
    // SAFETY: the word of a callback that `sp_on_violation` was given, which is not NULL.
    Some((unsafe { core::mem::transmute::<*mut c_void, unsafe extern "C" fn(_, _)>(callback) }, context))
}

/// Tells a callback of a violation.
///
/// # Safety
/// The callback may be called with the context.
pub(crate) unsafe fn tell(
    handle: &sp_pool,
    found: &Violation,
    callback: unsafe extern "C" fn(*mut c_void, *const sp_violation),
    context: *mut c_void,
) {
    let mut text = Text::new();
    describe(&mut text, found);
    stop(&mut text, found.bug_check());
    // SAFETY: the caller's promise.
    unsafe { call(handle, found, &text, callback, context) };
}

/// Tells it, with its text. It has a frame of its own, in the stack that writing the text has given back.
///
/// # Safety
/// The callback may be called with the context.
#[inline(never)]
unsafe fn call(
    handle: &sp_pool,
    found: &Violation,
    text: &Text,
    callback: unsafe extern "C" fn(*mut c_void, *const sp_violation),
    context: *mut c_void,
) {
    let extension = |adapter: AdapterId| registry::extension_of(handle, adapter);
    let address = |address: u64| ptr::with_exposed_provenance_mut::<c_void>(address as usize);
    let bug_check = found.bug_check();
    let mut told = sp_violation {
        tag: found.tag.map_or(0, pool::PoolTag::raw),
        given_tag: found.given_tag.map_or(0, pool::PoolTag::raw),
        address: address(found.address),
        bytes: found.bytes,
        blocks: found.blocks,
        owner: found.owner.map_or(ptr::null_mut(), extension),
        caller: extension(found.caller),
        bug_check: bug_check.code,
        parameters: bug_check.parameters,
        text: text.as_ptr(),
        block: address(found.block.unwrap_or(0)),
        guarded: found.guarded.into(),
        allocated: stack(&found.allocated),
        freed: stack(&found.freed),
        called: stack(&found.called),
        ..sp_violation::new(kind(found.kind), found.irql.level())
    };
    if let Some(evidence) = found.evidence {
        told.evidence = address(evidence.address);
        told.evidence_bytes = evidence.found;
        told.evidence_count = evidence.len;
        told.evidence_expected = evidence.expected;
    }
    // SAFETY: the caller's promise.
    unsafe { callback(context, &told) };
}

/// What the pool calls with a violation. `handle` is its handle.
pub(crate) fn hear(found: &Violation, handle: *mut ()) {
    // SAFETY: the handle lives as long as its pool, which calls.
    let handle = unsafe { &*handle.cast::<sp_pool>() };
    // `ExFreePool` and its kind have no status, and tell of this themselves, under any rule or none.
    if found.kind == ViolationKind::IrqlFree && found.caller == handle.system {
        return;
    }
    if let Some((callback, context)) = hearer(handle) {
        // SAFETY: the promise of whoever called `sp_on_violation`.
        unsafe { tell(handle, found, callback, context) };
    }
}

/// Tells of a free by `ExFreePool` or its kind that had no status to return.
pub(crate) fn tell_unfreed(handle: &sp_pool, kind: sp_violation_kind, address: *mut c_void, given_tag: u32) {
    // ORDERING: Relaxed - a statistic.
    handle.violations.fetch_add(1, Ordering::Relaxed);
    let Some((callback, context)) = hearer(handle) else { return };
    let irql = handle.irql().level();
    let mut text = Text::new();
    // A text takes what has room.
    let _ = write!(text, "{} of {address:p}, IRQL {irql}", words(kind).to_str().unwrap_or(""));
    // Windows: "attempted to free the pool at an invalid IRQL". The switch is ours, and stands for no bug check.
    let bug_check = match kind {
        SP_FREE_AT_IRQL => BugCheck { code: 0xC2, parameters: [0x09, irql.into(), 0, address.addr() as u64] },
        _ => BugCheck { code: 0, parameters: [0; 4] },
    };
    stop(&mut text, bug_check);
    let told = sp_violation {
        given_tag,
        address,
        bug_check: bug_check.code,
        parameters: bug_check.parameters,
        text: text.as_ptr(),
        ..sp_violation::new(kind, irql)
    };
    // SAFETY: the promise of whoever called `sp_on_violation`.
    unsafe { callback(context, &told) };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_line() {
        let pool = pool::Pool::new(1 << 20).unwrap();
        let adapter = pool.add_adapter("a\nb\u{7f}\u{e9}").unwrap();
        let mut text = Text::new();
        name(&mut text, "of adapter", adapter, pool.adapter_name(adapter));
        assert_eq!(text.as_str(), ", of adapter a?b?\u{e9}");
    }
}
