//! Misuse, told to C.

use core::ffi::{CStr, c_char, c_void};

use pool::{AdapterId, Violation, ViolationKind};

use crate::kind::{sp_pool, with_pool};
use crate::registry;
use crate::types::{KIRQL, PVOID, ULONG};

/// What the caller did wrong. More may come.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum sp_violation_kind {
    /// The block was freed already.
    SP_DOUBLE_FREE = 1,
    /// The address lies in the pool, but no block is there.
    SP_WILD_FREE = 2,
    /// The address lies outside the pool.
    SP_FOREIGN_FREE = 3,
    /// The address lies inside a live block.
    SP_INTERIOR_FREE = 4,
    /// The block belongs to another adapter.
    SP_WRONG_OWNER = 5,
    /// The block has another tag than the one passed.
    SP_WRONG_TAG = 6,
    /// Blocks were left when their adapter was removed, or their pool ended.
    SP_LEAK = 7,
    /// A request for zero bytes.
    SP_ZERO_SIZE = 8,
    /// The tag is 0 (strict tags only).
    SP_ZERO_TAG = 9,
    /// The tag is "BIG" (strict tags only).
    SP_BIG_TAG = 10,
    /// The tag has no letter and no digit (strict tags only).
    SP_UNREADABLE_TAG = 11,
    /// Nobody's misuse, and told once a pool: the system refuses membarrier, as in a sandbox that was entered since the
    /// pool was made. The pool goes on, with less: docs/PROCESSES.md. `bug_check` is 0.
    SP_FENCE_REFUSED = 12,
    /// None of these.
    SP_OTHER_VIOLATION = 99,
}

/// One misuse. The pool's state is intact when the callback runs.
#[repr(C)]
pub struct sp_violation {
    /// What was done.
    pub kind: sp_violation_kind,
    /// The level at which the call was made.
    pub irql: KIRQL,
    /// The tag of the block (its last one, when it is free now), or of the refused allocation; 0: none.
    pub tag: ULONG,
    /// The tag that was passed to free, where that takes one; else 0.
    pub given_tag: ULONG,
    /// The address that was passed to free; else NULL.
    pub address: PVOID,
    /// Bytes that were requested: of the block, of the refused allocation, or of all blocks left behind.
    pub bytes: u64,
    /// How many blocks were left behind; else 0.
    pub blocks: u64,
    /// The extension of the adapter that owns the block, or owned it last; NULL where none is known, and for
    /// blocks of `ExAllocatePool2` and its kind.
    pub owner: PVOID,
    /// The extension in whose name the call was made.
    pub caller: PVOID,
    /// The Windows bug check that this stands for, and its four parameters.
    pub bug_check: ULONG,
    /// Parameters 1 to 4.
    pub parameters: [u64; 4],
    /// A few words.
    pub description: *const c_char,
}

/// Hears of violations, on the thread that made the call, at its IRQL. It may allocate and free, and it may end
/// the program, as Windows would. `violation` is gone when it returns.
pub type sp_violation_callback =
    Option<unsafe extern "C" fn(context: *mut c_void, violation: *const sp_violation)>;

const fn words(kind: sp_violation_kind) -> &'static CStr {
    use sp_violation_kind::*;
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
        SP_FENCE_REFUSED => c"the system refuses membarrier",
        SP_OTHER_VIOLATION => c"misuse",
    }
}

const fn kind(kind: ViolationKind) -> sp_violation_kind {
    use sp_violation_kind::*;
    match kind {
        ViolationKind::DoubleFree => SP_DOUBLE_FREE,
        ViolationKind::Wild => SP_WILD_FREE,
        ViolationKind::Foreign => SP_FOREIGN_FREE,
        ViolationKind::Interior => SP_INTERIOR_FREE,
        ViolationKind::WrongOwner => SP_WRONG_OWNER,
        ViolationKind::WrongTag => SP_WRONG_TAG,
        ViolationKind::Leak => SP_LEAK,
        ViolationKind::ZeroSize => SP_ZERO_SIZE,
        ViolationKind::ZeroTag => SP_ZERO_TAG,
        ViolationKind::BigTag => SP_BIG_TAG,
        ViolationKind::UnreadableTag => SP_UNREADABLE_TAG,
        ViolationKind::FenceRefused => SP_FENCE_REFUSED,
        _ => SP_OTHER_VIOLATION,
    }
}

/// The context, for a closure that any thread may call.
#[derive(Clone, Copy)]
struct Context(*mut c_void);
// SAFETY: the host promises that its callback may be called with it from any thread.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    fn get(self) -> *mut c_void {
        self.0
    }
}

/// Who hears of violations of this pool from now on; NULL: nobody. PASSIVE.
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
    let Some(handle) = (unsafe { pool.as_ref() }) else { return };
    let Some(callback) = callback else {
        return with_pool!(handle, pool => pool.set_violation_hook(None));
    };
    let (context, place) = (Context(context), handle as *const sp_pool as usize);
    let hook = move |found: &Violation| {
        let pool: *const sp_pool = core::ptr::with_exposed_provenance(place);
        let extension = |adapter: AdapterId| registry::extension_of(pool, adapter);
        let kind = kind(found.kind);
        let bug_check = found.bug_check();
        let told = sp_violation {
            kind,
            irql: found.irql.level(),
            tag: found.tag.map_or(0, pool::PoolTag::raw),
            given_tag: found.given_tag.map_or(0, pool::PoolTag::raw),
            address: core::ptr::with_exposed_provenance_mut(found.address as usize),
            bytes: found.bytes,
            blocks: found.blocks,
            owner: found.owner.map_or(core::ptr::null_mut(), extension),
            caller: extension(found.caller),
            bug_check: bug_check.code,
            parameters: bug_check.parameters,
            description: words(kind).as_ptr(),
        };
        // SAFETY: the caller's promise.
        unsafe { callback(context.get(), &told) };
    };
    with_pool!(handle, pool => pool.on_violation(hook));
}
