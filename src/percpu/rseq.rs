//! Restartable sequences: the commit of `Native` on Linux, x86-64. How a section is made: `section`.

use core::arch::asm;
use core::mem::offset_of;

use super::platform::{Ask, Freed, Pop, Taken};
use super::section::BLOCKS;
use crate::layout::block::{Account, BlockId};
use crate::layout::classes::{Class, GRAIN_SHIFT, MOST_SPAN_GRAINS};
use crate::layout::config::MAX_CPUS;
use crate::layout::control::Control;
use crate::layout::cursor::{Cursor, MAX_ROOM};
use crate::layout::geometry::{Geometry, PAGE_MAP, RECORDS};
use crate::layout::meta::{AHEAD, Meta};
use crate::layout::page_map::{CLASS_SHIFT, FIRST_SHIFT};
use crate::layout::range::Range;
use crate::layout::state::{ACCOUNT_SHIFT, LIVE, State};
use crate::sync::{AtomicU64, Ordering};

const _: () = {
    assert!(CLASS_SHIFT == 8, "`free` finds the class in the entry's second byte");
    assert!(LIVE == !(i32::MAX as u32), "`free` clears the highest bit");
};

/// Counts an allocation, pops a block of the CPU's block in `rcx` and commits. `id`: at first the offset
/// of the counter cell, then the block's. Misses at `26`; what follows in the abort handler is reached
/// when the allocation was counted.
///
/// The count is stored before the commit; an abort tells as in `free` whether it was: `t` is negative
/// until the cursor is loaded, from then on the flags are "not above", as the account's compare left them
/// when it was passed; the `add` leaves "above". (`t` may be one entry further then, but not above the
/// capacity.)
#[rustfmt::skip]
macro_rules! count_and_pop {
    () => {
        concat!(
            steps!(
                "mov {t:e}, dword ptr [rcx + {class} * 4]";                 // t = cursor; not negative, from here on
                "cmp {t:l}, byte ptr [{base} + {class} + {CAPACITY}]";      // empty, STOPPED, or NONE: no cache
                "jae 26f";
                look_again!(block "rcx");
                "add qword ptr [rcx + {id}], 1";                            // counted; flags: above
                "mov {id:e}, dword ptr [{base} + {t} * 4]";                 // id = the entry
                "lea {t:e}, [{t} + 1]";                                     // t = one entry less
                "mov dword ptr [rcx + {class} * 4], {t:e}";                 // commit
            ),
            end!(),
            "jbe 26f\n",
            "test {t}, {t}\n",
            "js 26f\n",
            "cmp {t:l}, byte ptr [{base} + {class} + {CAPACITY}]\n",
            "ja 26f",
        )
    };
}

/// One copy of the section of free: finds the block, claims it and pushes it.
///
/// Page map, state and claim lie in one section, so nothing that interrupts this CPU comes in
/// between, and no slab is retired in between either: whoever retires one fences all sections before
/// its span is used again (I5).
///
/// The claim is stored before the commit, so an abort must tell whether it was. Flags and registers
/// do, since the kernel's abort keeps both. Until the cursor is loaded, `t` is negative. Then the
/// flags are "not above", as the state's compare left them when it was passed; moves and `lea` keep
/// flags; the claiming `and` leaves "above", since a handle is never 0. The cursor's compare may leave "above" too
/// when it fails, until its jump is taken: its operands are still there, and the handler compares them again.
///
/// `and`, since two CPUs may free one block in the same instant: a second `xor` would make it live again.
#[inline(always)]
pub(crate) fn free(meta: &Meta, expected: State, block: BlockId, span: u32) -> Freed {
    // SAFETY: the id is below the limit, so the section reads page map, state, CPU table and cursor of the
    // metadata (I4, I11), claims a live block (I3), writes an entry below the room of a magazine that this
    // CPU's cursor holds (I1) and commits by one store (I6).
    // It is aborted before that store whenever anything else ran on this CPU.
    unsafe {
        section!(
            FREE,
            steps!(
                begin!("r10", "{i}");
                "mov rcx, qword ptr [{base} + {a} * 8 + {PAGE_MAP}]";   // rcx = page-map entry
                free_block!("{missed}");
            ),
            end!(),
            unless_claimed!("{missed}"),
            "jmp {claimed}",
            ".popsection",
            base = in(reg) meta.base(),
            expected = in(reg) expected.0,
            id = in(reg) block.0,
            a = in(reg) span as usize,
            t = out(reg) _,
            i = out(reg) _,
            out("rcx") _,
            out("r10") _,
            BLOCKS = const BLOCKS,
            MAX_ROOM = const MAX_ROOM,
            PAGE_MAP = const PAGE_MAP,
            FIRST_SHIFT = const FIRST_SHIFT,
            FREED = const !LIVE,
            missed = label { return Freed::Missed },
            claimed = label { return Freed::Claimed },
        );
    }
    Freed::Done
}

/// One copy of the section that pushes a claimed block; for the slow paths.
pub(crate) fn push(meta: &Meta, class: Class, block: BlockId) -> bool {
    // SAFETY: as in `free`; the block is claimed already.
    unsafe {
        section!(
            PUSH,
            steps!(
                begin!("r10", "r11");
                block!("r10");
                "mov {t:e}, dword ptr [r10 + {class} * 4]";     // t = cursor
                "lea {t:e}, [{t} - 1]";                         // t = one entry more
                "cmp {t:l}, {MAX_ROOM} - 1";                    // was full, STOPPED, or NONE: no cache
                "ja {missed}";
                look_again!(block "r10");
                "mov dword ptr [{base} + {t} * 4], {id:e}";     // the entry
                "mov dword ptr [r10 + {class} * 4], {t:e}";     // commit
            ),
            end!(),
            "jmp {missed}",
            ".popsection",
            base = in(reg) meta.base(),
            class = in(reg) usize::from(class.0),
            id = in(reg) block.0,
            t = out(reg) _,
            out("r10") _,
            out("r11") _,
            BLOCKS = const BLOCKS,
            MAX_ROOM = const MAX_ROOM,
            missed = label { return false },
        );
    }
    true
}

/// The fast path of allocate, from the section on: compares the account's word, counts the allocation, pops
/// a block, writes its record and state, and compares the word again.
#[inline(always)]
pub(crate) fn allocate<const SPAN_SHIFT: u32>(meta: &Meta, ask: Ask) -> Taken {
    let answer: u64;
    // SAFETY: as in `free`; the entry lies in the magazine (I2), the counter cell is this CPU's.
    // After the commit the block is ours, and so are its words (I3); it pins its slab's entry (I5).
    unsafe {
        section!(
            ALLOCATE,
            steps!(
                begin!("rcx", "{id}");
                block!("rcx");
                "lea {id}, [{account} + {account} * 4]";        // id, at first: offset of the counter cell
                "shl {id}, {CELL_SHIFT}";
                "lea {id}, [{id} + {class} * 8]";
                "cmp qword ptr [{base} + {account} * 8], {key}"; // open
                "jne 26f";                                      // flags: not above, from here on
            ),
            count_and_pop!(),
            "mov {id}, {COUNTED}",
            "jmp 28f",
            "26: mov {id}, {MISSED}",
            "jmp 28f",
            "27: or {id}, {OVERTAKEN}",
            "jmp 28f",
            ".popsection",
            steps!(
                "mov {class:e}, {account:e}";
                "shl {class:e}, {ACCOUNT_SHIFT}";
                "or {class:e}, {less:e}";                       // class = account, bytes less one
                "mov {less}, qword ptr [{base} + {RANGE}]";     // less = where the range begins
                // The block that this magazine hands out `AHEAD` calls from now: the caller will touch it
                // first, and by then it is in the cache.
                "mov {t:e}, dword ptr [{base} + {t} * 4 + {AHEAD} * 4]";
                "shl {t}, {GRAIN_SHIFT}";
                "prefetchw byte ptr [{less} + {t}]";
                "mov {t:e}, {id:e}";
                "shr {t:e}, {SPAN_SHIFT}";
                "mov rcx, qword ptr [{base} + {t} * 8 + {PAGE_MAP}]"; // rcx = page-map entry
                "mov {t:e}, {id:e}";
                "shl {t}, cl";
                "add {t}, rcx";
                "shr {t}, {FIRST_SHIFT}";                       // t = index of the state
                "mov dword ptr [{base} + {t} * 4 + {RECORDS}], {class:e}"; // the record, before the state (I8)
                "mov {class:e}, {id:e}";
                "and {class:e}, {OFFSET}";
                "or {class:e}, {key:e}";                        // live, owner, offset
                "mov dword ptr [{base} + {t} * 4], {class:e}";
                "shl {id}, {GRAIN_SHIFT}";
                "add {id}, {less}";                             // id = address
                "cmp qword ptr [{base} + {account} * 8], {key}"; // closed meanwhile: pairs with `fence_all`
                "jne 27b";
            ),
            "28:",
            base = in(reg) meta.base(),
            account = in(reg) ask.account.0,
            class = inout(reg) usize::from(ask.class.0) => _,
            less = inout(reg) u64::from(ask.bytes.wrapping_sub(1)) => _,
            key = in(reg) ask.key,
            t = out(reg) _,
            id = out(reg) answer,
            out("rcx") _,
            BLOCKS = const BLOCKS,
            CAPACITY = const offset_of!(Control, capacity),
            RECORDS = const RECORDS,
            PAGE_MAP = const PAGE_MAP,
            SPAN_SHIFT = const SPAN_SHIFT,
            OFFSET = const MOST_SPAN_GRAINS - 1,
            RANGE = const offset_of!(Control, range) + offset_of!(Range, base),
            FIRST_SHIFT = const FIRST_SHIFT,
            ACCOUNT_SHIFT = const ACCOUNT_SHIFT,
            GRAIN_SHIFT = const GRAIN_SHIFT,
            CELL_SHIFT = const CELL_SHIFT,
            AHEAD = const AHEAD,
            MISSED = const Taken::MISSED,
            COUNTED = const Taken::COUNTED,
            OVERTAKEN = const Taken::OVERTAKEN,
        );
    }
    Taken(answer)
}

/// log2 of a fifth of the bytes of an account's counter cells.
const CELL_SHIFT: u32 = {
    assert!(
        crate::layout::geometry::CELL_ROW == 5 << 6,
        "CELL_ROW must be five times a power of two, as the section's lea and shl compute it"
    );
    6
};

/// One copy of the section that counts an allocation and pops a block; for the slow paths.
pub(crate) fn pop(meta: &Meta, class: Class, account: Account, key: u64) -> Pop {
    let id: u64;
    let cursor: u64;
    // SAFETY: as in `allocate`.
    unsafe {
        section!(
            POP,
            steps!(
                begin!("rcx", "r11");
                block!("rcx");
                "cmp qword ptr [{word}], {key}";                // the account is open
                "jne 26f";                                      // flags: not above, from here on
            ),
            count_and_pop!(),
            "mov {t}, -{COUNTED}",
            "jmp 24b",
            "26: mov {t}, -{MISSED}",
            "jmp 24b",
            ".popsection",
            base = in(reg) meta.base(),
            class = in(reg) usize::from(class.0),
            word = in(reg) meta.account_word(account).as_ptr(),
            key = in(reg) key,
            id = inout(reg) Geometry::cell_offset(account, class) => id,  // at first: the counter cell
            t = out(reg) cursor,
            out("rcx") _,
            out("r11") _,
            BLOCKS = const BLOCKS,
            CAPACITY = const offset_of!(Control, capacity),
            MISSED = const Taken::MISSED,
            COUNTED = const Taken::COUNTED,
        );
    }
    if cursor as i64 >= 0 {
        return Pop::Got(BlockId(id as u32), Cursor(cursor as u32));
    }
    Pop::Miss { counted: cursor == Taken::COUNTED.wrapping_neg() }
}

/// Commits `new` to the cursor of `cpu` if we run there and it holds `expected`.
pub(crate) fn exchange(meta: &Meta, cpu: u32, class: Class, expected: Cursor, new: Cursor) -> bool {
    // SAFETY: as in `push`; the caller holds `new` and takes over `expected` (I1).
    unsafe {
        section!(
            EXCHANGE,
            steps!(
                begin!("r10", "r11");
                "cmp {cpu:e}, r10d";                            // still on this CPU
                "jne {missed}";
                "cmp {expected:e}, dword ptr [{cursor}]";
                "jne {missed}";
                look_again!(cpu "r10d");
                "mov dword ptr [{cursor}], {new:e}";            // commit
            ),
            end!(),
            "jmp {missed}",
            ".popsection",
            cursor = in(reg) meta.cursor(cpu, class).as_ptr(),
            cpu = in(reg) cpu,
            expected = in(reg) expected.0,
            new = in(reg) new.0,
            t = out(reg) _,
            out("r10") _,
            out("r11") _,
            missed = label { return false },
        );
    }
    true
}

/// The CPU that the thread runs on, or a number no pool has when its sections do not run.
pub(crate) fn cpu() -> u32 {
    let cpu: u64;
    // SAFETY: reads `cpu_id` of the thread's own area, which glibc keeps for the thread's life, or
    // of its stand-in.
    unsafe {
        asm!(
            "mov {t}, qword ptr [rip + storport_pool_thread_0_1@gottpoff]",
            "movsxd {cpu:r}, dword ptr fs:[{t}]",
            "mov {cpu:e}, dword ptr fs:[{cpu:r} + {t} + 4]",
            t = out(reg) _,
            cpu = out(reg) cpu,
            options(nostack, preserves_flags, readonly),
        );
    }
    cpu as u32
}

/// Where the rseq area of each thread lies from its thread pointer, if this process has it. Asked once, as a rule before
/// `main`: the loader's lock is not for handlers, and a pool may be made in one.
pub(crate) fn area_offset() -> Option<isize> {
    /// 0: not asked yet; `NONE`: there is none.
    static KNOWN: AtomicU64 = AtomicU64::new(0);
    const NONE: u64 = 1;
    /// Runs when the program, or the library that the pool is in, is loaded.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static ASK: extern "C" fn() = {
        extern "C" fn ask() {
            area_offset();
        }
        ask
    };
    // Keeps it in whatever is linked with this function.
    core::hint::black_box(&raw const ASK);
    // ORDERING: Relaxed, all - a constant of the process; who asks twice gets the same.
    let known = match KNOWN.load(Ordering::Relaxed) {
        0 => {
            let asked = ask_for_area().map_or(NONE, |offset| offset as u64);
            KNOWN.store(asked, Ordering::Relaxed);
            asked
        }
        known => known,
    };
    (known != NONE).then_some(known as isize)
}

/// What the C library says.
fn ask_for_area() -> Option<isize> {
    use core::ffi::{c_char, c_void};
    unsafe extern "C" {
        fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
    }
    // SAFETY: RTLD_DEFAULT and a terminated name; a C library without the symbols gives null.
    let (offset, size) = unsafe {
        (
            dlsym(core::ptr::null_mut(), c"__rseq_offset".as_ptr()),
            dlsym(core::ptr::null_mut(), c"__rseq_size".as_ptr()),
        )
    };
    if offset.is_null() || size.is_null() {
        return None;
    }
    // SAFETY: glibc's manual gives their types, `ptrdiff_t` and `unsigned int`, both constant.
    let (offset, size) = unsafe { (*offset.cast::<isize>(), *size.cast::<u32>()) };
    (size != 0).then_some(offset)
}

/// Whether every CPU number that this kernel may ever give has a place in the control block's table, since
/// the sections do not compare. The number is fixed when the kernel starts.
pub(crate) fn cpus_fit() -> bool {
    unsafe extern "C" {
        fn sched_getaffinity(thread: i32, bytes: usize, mask: *mut u64) -> i32;
    }
    let mut mask = [0; MAX_CPUS / 64];
    // SAFETY: the mask has these bytes. The kernel refuses one in which not all of its numbers fit
    // (sched_setaffinity(2), EINVAL).
    unsafe { sched_getaffinity(0, size_of_val(&mask), mask.as_mut_ptr()) == 0 }
}
