//! What a debugger asks of a pool: where a block is, what lies in a page, who has a tag's blocks, and whether all is well.

use core::ffi::{CStr, c_char, c_void};
use core::fmt::Write as _;
use core::ptr;

use pool::{AdapterId, BlockDetail, BlockInfo, BlockState, CheckReport, Finding, PoolTag, TagPattern};

use crate::adapter::text;
use crate::error::Why;
use crate::kind::{sp_pool, with_pool};
use crate::text::Text;
use crate::types::sp_bool;
use crate::{error, registry};

/// Where a block is: one of the numbers below. More may come.
pub type sp_block_state = u32;
/// A caller has it.
pub const SP_BLOCK_LIVE: sp_block_state = 1;
/// Free, in the magazine that a CPU has loaded.
pub const SP_BLOCK_LOADED: sp_block_state = 2;
/// Free, in a CPU's spare magazine.
pub const SP_BLOCK_SPARE: sp_block_state = 3;
/// Free, in a magazine that all CPUs share.
pub const SP_BLOCK_DEPOT: sp_block_state = 4;
/// Free, in no magazine.
pub const SP_BLOCK_LOOSE: sp_block_state = 5;
/// A large block that was freed, and whose spans nobody has collected yet.
pub const SP_BLOCK_FREED_RUN: sp_block_state = 6;
/// Free, in the part of its slab that was never handed out.
pub const SP_BLOCK_NEVER_CARVED: sp_block_state = 7;
/// A span that nobody uses. It has no blocks.
pub const SP_BLOCK_FREE_SPAN: sp_block_state = 8;
/// A call that is under way has it in hand, or it moved while it was looked for.
pub const SP_BLOCK_IN_HAND: sp_block_state = 9;
/// Freed, and kept away from use for a while by the pool's verifier.
pub const SP_BLOCK_QUARANTINED: sp_block_state = 10;
/// None of these.
pub const SP_BLOCK_OTHER: sp_block_state = 99;

/// A block and where it is.
#[repr(C)]
pub struct sp_block_detail {
    /// Where it begins.
    pub address: *mut c_void,
    /// The extension of the adapter that has it, or had it last; NULL if that has none, or is not known.
    pub owner: *mut c_void,
    /// Bytes that were asked for, by its caller or its last one; 0: it had none.
    pub bytes: u64,
    /// Bytes that it has.
    pub capacity: u64,
    /// Its tag, or its last one; 0: not known.
    pub tag: u32,
    /// Where it is.
    pub state: sp_block_state,
    /// The CPU in whose cache it is; else 0.
    pub cpu: u32,
    /// Must be 0.
    pub reserved: u32,
    /// A few words for `state`.
    pub description: *const c_char,
}

/// Hears of a block. `block` is gone when it returns. It may call the pool, but not unwind.
pub type sp_block_callback =
    Option<unsafe extern "C" fn(context: *mut c_void, block: *const sp_block_detail)>;

/// One thing that is wrong with a pool's metadata.
#[repr(C)]
pub struct sp_finding {
    /// The address of the block or span; NULL for what has none.
    pub address: *mut c_void,
    /// The number of the block (its offset in the range, in units of 16 bytes), span, magazine, account, adapter or CPU
    /// that `what` names.
    pub number: u64,
    /// The number that is wrong, if `has_found`.
    pub found: u64,
    /// What it should be, or at most be, if `has_expected`.
    pub expected: u64,
    /// Whether `found` is set.
    pub has_found: sp_bool,
    /// Whether `expected` is set.
    pub has_expected: sp_bool,
    /// What is wrong, where, and the numbers, in one line. As `finding` itself, it is gone when the callback returns.
    pub text: *const c_char,
}

/// Hears of what is wrong. `finding` is gone when it returns. It may call the pool, but not unwind.
pub type sp_finding_callback = Option<unsafe extern "C" fn(context: *mut c_void, finding: *const sp_finding)>;

/// Where a pool's blocks and spans are, and how much is wrong: `sp_pool_check`.
#[repr(C)]
pub struct sp_check {
    /// How many things are wrong. The callback heard of 1000 at most.
    pub faults: u64,
    /// Blocks of all slabs: the seven numbers that follow, unless something is wrong.
    pub blocks: u64,
    /// Blocks that callers have.
    pub live: u64,
    /// Free blocks in the magazines that CPUs have loaded.
    pub loaded: u64,
    /// Free blocks in CPUs' spare magazines.
    pub spare: u64,
    /// Free blocks in magazines that all CPUs share.
    pub depot: u64,
    /// Free blocks in no magazine.
    pub loose: u64,
    /// Blocks that were never handed out.
    pub never_carved: u64,
    /// Blocks that calls have in hand.
    pub in_hand: u64,
    /// Large blocks, of whole spans, that callers have.
    pub live_runs: u64,
    /// Large blocks that were freed, and are not collected yet.
    pub freed_runs: u64,
    /// Large blocks that calls have in hand.
    pub runs_in_hand: u64,
    /// Spans of the range: the four numbers that follow, unless something is wrong.
    pub spans: u64,
    /// Spans that are slabs.
    pub slab_spans: u64,
    /// Spans of large blocks.
    pub run_spans: u64,
    /// Spans that nobody uses.
    pub free_spans: u64,
    /// Spans that calls have in hand.
    pub spans_in_hand: u64,
    /// Whether the metadata stood still while it was looked at. Else calls were under way: then only what a single word
    /// proves was told, and the numbers above are a mixture of moments.
    pub settled: sp_bool,
    /// Whether adapters stood still too. Else adapters and accounts were not judged.
    pub owners_settled: sp_bool,
}

const fn state(state: BlockState) -> (sp_block_state, u32, &'static CStr) {
    match state {
        BlockState::Live => (SP_BLOCK_LIVE, 0, c"live"),
        BlockState::Loaded { cpu } => (SP_BLOCK_LOADED, cpu, c"cached: loaded by a CPU"),
        BlockState::Spare { cpu } => (SP_BLOCK_SPARE, cpu, c"cached: spare of a CPU"),
        BlockState::Depot => (SP_BLOCK_DEPOT, 0, c"stock: depot"),
        BlockState::Loose => (SP_BLOCK_LOOSE, 0, c"stock: loose"),
        BlockState::FreedRun => (SP_BLOCK_FREED_RUN, 0, c"stock: freed run"),
        BlockState::NeverCarved => (SP_BLOCK_NEVER_CARVED, 0, c"never carved"),
        BlockState::FreeSpan => (SP_BLOCK_FREE_SPAN, 0, c"free span"),
        BlockState::Quarantined => (SP_BLOCK_QUARANTINED, 0, c"in quarantine"),
        BlockState::InHand => (SP_BLOCK_IN_HAND, 0, c"in hand"),
        _ => (SP_BLOCK_OTHER, 0, c"other"),
    }
}

fn pointer(address: u64) -> *mut c_void {
    ptr::with_exposed_provenance_mut(address as usize)
}

/// What is known of a block, whichever call found it.
macro_rules! told {
    ($handle:expr, $block:expr, $state:expr, $owner:expr) => {{
        let (block, (state, cpu, description)) = ($block, state($state));
        let owner: Option<AdapterId> = $owner;
        sp_block_detail {
            address: pointer(block.address),
            owner: owner.map_or(ptr::null_mut(), |id| registry::extension_of($handle, id)),
            bytes: block.bytes.into(),
            capacity: block.capacity,
            tag: block.tag.map_or(0, PoolTag::raw),
            state,
            cpu,
            reserved: 0,
            description: description.as_ptr(),
        }
    }};
}

fn told(handle: &sp_pool, block: BlockDetail) -> sp_block_detail {
    told!(handle, block, block.state, block.owner)
}

fn live(handle: &sp_pool, block: BlockInfo) -> sp_block_detail {
    told!(handle, block, BlockState::Live, Some(block.owner))
}

/// The block that an address lies in, and where it is; in a span without blocks, the large block, or the span. False: the
/// address is outside of the range, or behind the last block of a slab; or the pool is NULL. Then `block`, which may be
/// NULL, is left as it is. That is no failure: `sp_last_error` stays what it was.
///
/// It says what was so when it looked, and is exact at rest. Any address, any IRQL; asks for no memory. Loads only, at most
/// one for each 64 magazines of the pool, two for each CPU, and one for each entry of the magazines with blocks of this size,
/// and the extensions that the pool ever had. `sp_block_at` takes fewer, and does not say where a free block is.
///
/// # Safety
/// `pool` is NULL or a pool that lives; `block` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_inspect_block(
    pool: *const sp_pool,
    address: *const c_void,
    block: *mut sp_block_detail,
) -> sp_bool {
    // SAFETY: the caller's promise.
    let Some(handle) = (unsafe { pool.as_ref() }) else { return 0 };
    let found = with_pool!(handle, pool => pool.inspect_block(address.addr() as u64));
    let Some(found) = found else { return 0 };
    if !block.is_null() {
        // SAFETY: the caller's promise.
        unsafe { block.write(told(handle, found)) };
    }
    1
}

/// Tells `each` of all blocks that lie in the page of 4096 bytes of an address, if only in part, in the order of their
/// addresses. Returns where the page begins; NULL: outside of the range, or the pool is NULL, and `each` hears nothing. A page
/// of a large block has that one; a page of a span without blocks has one, the span; one at a slab's end may have none.
/// As exact as `sp_inspect_block`, at the same IRQL, and as long; takes some 4 KiB of stack. `each` may be NULL.
///
/// # Safety
/// `pool` is NULL or a pool that lives; `each` may be called with `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_inspect_page(
    pool: *const sp_pool,
    address: *const c_void,
    each: sp_block_callback,
    context: *mut c_void,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    let Some(handle) = (unsafe { pool.as_ref() }) else { return ptr::null_mut() };
    let tell = |block| {
        if let Some(each) = each {
            // SAFETY: the caller's promise.
            unsafe { each(context, &told(handle, block)) };
        }
    };
    let page = with_pool!(handle, pool => pool.inspect_page(address.addr() as u64, tell));
    page.map_or(ptr::null_mut(), pointer)
}

/// Tells `each` of all live blocks whose tags match, in the order of their addresses, and returns how many there are. In
/// `tags`, `?` stands for any character and `*` for any number of them; spaces at a tag's end count as nothing. `*` alone
/// matches blocks whose tag is not known, too. 0: there is none; or the pool is NULL, or `tags` is NULL, empty, longer
/// than 16, or not printable, which `sp_last_error` says.
///
/// Exact at rest. Each block was live when it was looked at; one that lives all the while is told of, once, unless its
/// adapter is removed meanwhile. `each` may be NULL. PASSIVE; walks all blocks; asks for no memory.
///
/// # Safety
/// `pool` is NULL or a pool that lives; `tags` is NULL or a string; `each` may be called with `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_for_each_block_of(
    pool: *const sp_pool,
    tags: *const c_char,
    each: sp_block_callback,
    context: *mut c_void,
) -> u64 {
    // SAFETY: the caller's promise.
    let (handle, tags) = unsafe { (pool.as_ref(), text(tags)) };
    let count = handle.ok_or(Why::NullPool).and_then(|handle| {
        let tags = TagPattern::new(tags.as_str()).map_err(|_| Why::Pattern)?;
        let tell = |block: BlockInfo| {
            if let Some(each) = each {
                // SAFETY: the caller's promise.
                unsafe { each(context, &live(handle, block)) };
            }
        };
        Ok(with_pool!(handle, pool => pool.for_each_block_of(tags, tell)))
    });
    error::told(count, 0)
}

/// Looks at all of the metadata: whether each block, magazine and span is in one place, and each word is one that a pool
/// writes. Tells `each`, which may be NULL, of what is wrong, 1000 things at most, and fills `check`, which may be NULL.
/// False: the pool is NULL, or malloc has no memory for a copy of the metadata; nothing was looked at then.
///
/// It may be called at any time, stops nobody, and gives no false alarm: it copies the metadata until two copies in a row are
/// the same. If calls are under way all the while, it tells less: `sp_check.settled`. What calls have in hand is no
/// fault. It knows nothing of what the blocks hold. PASSIVE; O(what is in use).
///
/// # Safety
/// `pool` is NULL or a pool that lives; `each` may be called with `context`; `check` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sp_pool_check(
    pool: *const sp_pool,
    each: sp_finding_callback,
    context: *mut c_void,
    check: *mut sp_check,
) -> sp_bool {
    // SAFETY: the caller's promise.
    let handle = unsafe { pool.as_ref() };
    let report = handle.ok_or(Why::NullPool).and_then(|handle| {
        let report: Result<CheckReport, _> = with_pool!(handle, pool => pool.check());
        report.map_err(|_| Why::Memory)
    });
    let report = report.inspect(|report| {
        if let Some(each) = each {
            for finding in &report.findings {
                let mut line = Text::new();
                // What does not fit is cut.
                let _ = write!(line, "{finding}");
                // SAFETY: the caller's promise.
                unsafe { each(context, &wrong(finding, &line)) };
            }
        }
        if !check.is_null() {
            // SAFETY: the caller's promise.
            unsafe { check.write(summed(report)) };
        }
    });
    error::told(report.map(|_| 1), 0)
}

fn wrong(finding: &Finding, line: &Text) -> sp_finding {
    sp_finding {
        address: finding.address.map_or(ptr::null_mut(), pointer),
        number: finding.number,
        found: finding.found.unwrap_or(0),
        expected: finding.expected.unwrap_or(0),
        has_found: finding.found.is_some().into(),
        has_expected: finding.expected.is_some().into(),
        text: line.as_ptr(),
    }
}

fn summed(report: &CheckReport) -> sp_check {
    let places = &report.places;
    sp_check {
        faults: report.faults,
        blocks: places.blocks,
        live: places.live,
        loaded: places.loaded,
        spare: places.spare,
        depot: places.depot,
        loose: places.loose,
        never_carved: places.never_carved,
        in_hand: places.in_hand,
        live_runs: places.live_runs,
        freed_runs: places.freed_runs,
        runs_in_hand: places.runs_in_hand,
        spans: places.spans,
        slab_spans: places.slab_spans,
        run_spans: places.run_spans,
        free_spans: places.free_spans,
        spans_in_hand: places.spans_in_hand,
        settled: report.settled.into(),
        owners_settled: report.owners_settled.into(),
    }
}
