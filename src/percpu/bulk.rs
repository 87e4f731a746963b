//! The restartable sections of the bulk calls: frees in a row, and a magazine that gives many ids at once.

use core::mem::offset_of;

use super::platform::{Freed, PoppedMany};
use super::section::BLOCKS;
use crate::contract::adapter::AdapterId;
use crate::layout::block::Account;
use crate::layout::classes::{Class, GRAIN_SHIFT, MOST_SPAN_GRAINS, SpanSize};
use crate::layout::control::Control;
use crate::layout::cursor::MAX_ROOM;
use crate::layout::geometry::{Geometry, PAGE_MAP};
use crate::layout::meta::Meta;
use crate::layout::page_map::FIRST_SHIFT;
use crate::layout::range::Range;
use crate::layout::state::LIVE;

/// Frees the leading ones of these addresses, each as `rseq::free` does, in a section of its own: an abort handler
/// could not know how many of a longer one's claims were done. How many, and how the next one ended; `Done` if there is
/// none. Where the thread's area is, and what free expects, are found on the way, without calls.
pub(crate) fn free_run(meta: &Meta, owner: AdapterId, addresses: &[u64]) -> (usize, Freed) {
    let start = addresses.as_ptr_range();
    if addresses.is_empty() {
        return (0, Freed::Done);
    }
    let (next, ended): (*const u64, u64);
    // SAFETY: as in `rseq::free`; the loop reads each address once.
    unsafe {
        section!(
            FREE_RUN,
            "mov {t}, qword ptr [rip + storport_pool_thread_0_1@gottpoff]",
            "movsxd {area}, dword ptr fs:[{t}]",
            "add {area}, {t}",                              // area = where it lies from the thread pointer
            "30:",
            "mov {id}, qword ptr [{next}]",
            "sub {id}, qword ptr [{base} + {RANGE}]",
            "ror {id}, {GRAIN_SHIFT}",                      // id = place
            "cmp {id}, qword ptr [{base} + {LIMIT}]",
            "jae 26f",
            "mov {expected:e}, {id:e}",
            "and {expected:e}, {OFFSET}",
            "or {expected:e}, {owner:e}",                   // live, owner, offset
            "mov ecx, {id:e}",
            "shr ecx, {SPAN_SHIFT}",                        // rcx = span
            "or {t}, -1",                                   // negative, until the cursor is loaded
            "lea {i}, [rip + 22f]",
            steps!(
                "mov qword ptr fs:[{area} + 8], {i}\n23:";      // area.rseq_cs: armed
                "movsxd r10, dword ptr fs:[{area} + 4]";        // area.cpu_id
                "mov rcx, qword ptr [{base} + rcx * 8 + {PAGE_MAP}]"; // rcx = page-map entry
                free_block!("26f");
            ),
            end!(),
            unless_claimed!("26f"),
            "mov {expected:e}, {CLAIMED}",
            "jmp 31f",
            "26: mov {expected:e}, {MISSED}",
            "jmp 31f",
            ".popsection",
            "add {next}, 8",
            "cmp {next}, {end}",
            "jne 30b",
            "xor {expected:e}, {expected:e}",
            "31:",
            base = in(reg) meta.base(),
            owner = in(reg) owner.0,
            end = in(reg) start.end,
            next = inout(reg) start.start => next,
            area = out(reg) _,
            id = out(reg) _,
            expected = out(reg) ended,
            i = out(reg) _,
            t = out(reg) _,
            out("rcx") _,
            out("r10") _,
            BLOCKS = const BLOCKS,
            RANGE = const offset_of!(Control, range) + offset_of!(Range, base),
            LIMIT = const offset_of!(Control, range) + offset_of!(Range, limit),
            GRAIN_SHIFT = const GRAIN_SHIFT,
            SPAN_SHIFT = const SpanSize::MOST.shift(),
            OFFSET = const MOST_SPAN_GRAINS - 1,
            PAGE_MAP = const PAGE_MAP,
            FIRST_SHIFT = const FIRST_SHIFT,
            MAX_ROOM = const MAX_ROOM,
            FREED = const !LIVE,
            MISSED = const MISSED,
            CLAIMED = const CLAIMED,
        );
    }
    let freed = match ended {
        0 => Freed::Done,
        CLAIMED => Freed::Claimed,
        _ => Freed::Missed,
    };
    ((next.addr() - start.start.addr()) / size_of::<u64>(), freed)
}

const CLAIMED: u64 = 4;

/// What `pop_many` looks up, in memory, since it needs more words than there are registers.
#[repr(C)]
struct Lookup {
    word: *mut u64,
    key: u64,
    cell: isize,
}

/// Pops as many blocks of this CPU's loaded magazine as are wanted and there, counts them, and commits by one store.
///
/// The ids are copied out first. The count is stored before the commit, so an abort must tell whether it was: `left` is
/// not 0 until the copy ends, and then the flags are "not above" until the `add` leaves "above".
pub(crate) fn pop_many(
    meta: &Meta,
    class: Class,
    account: Account,
    key: u64,
    blocks: &mut [u32],
) -> PoppedMany {
    let mut count = blocks.len() as u64;
    if count == 0 {
        return PoppedMany { got: 0, counted: 0 };
    }
    let lookup = Lookup {
        word: meta.account_word(account).as_ptr(),
        key,
        cell: Geometry::cell_offset(account, class),
    };
    let status: u64;
    // SAFETY: as in `rseq::allocate`. The loop writes at most as many ids as there is room for.
    unsafe {
        section!(
            POP_MANY,
            steps!(
                begin!("r10", "r11");
                block!("r10");
                "mov r11, qword ptr [{lookup} + {WORD}]";
                "mov rcx, qword ptr [{lookup} + {KEY}]";
                "cmp qword ptr [r11], rcx";                     // the account is open
                "jne 26f";
                "mov {t:e}, dword ptr [r10 + {class} * 4]";     // t = cursor
                "movzx ecx, {t:l}";                             // rcx = its room
                "movzx r11d, byte ptr [{base} + {class} + {CAPACITY}]";
                "sub r11d, ecx";                                // r11 = its entries
                "jbe 26f";                                      // empty, STOPPED, or NONE: no cache
                "cmp {count}, r11";
                "cmova {count}, r11";                           // count = how many we take
                "mov {left}, {count}";
            ),
            "2:\n",
            steps!(
                "mov ecx, dword ptr [{base} + {t} * 4]";        // the entry
                "lea {t:e}, [{t} + 1]";                         // t = one entry less
                "mov dword ptr [{blocks} + {left} * 4 - 4], ecx";
                "sub {left}, 1";
                "jnz 2b";                                       // flags: not above, from here on
                look_again!(block "r10");
                "mov rcx, qword ptr [{lookup} + {CELL}]";
                "add qword ptr [r10 + rcx], {count}";           // counted; flags: above
                "mov dword ptr [r10 + {class} * 4], {t:e}";     // commit
            ),
            end!(),
            "jbe 26f",
            "test {left}, {left}",
            "jnz 26f",
            "mov {left}, {COUNTED}",
            "jmp 24b",
            "26: mov {left}, {MISSED}",
            "jmp 24b",
            ".popsection",
            base = in(reg) meta.base(),
            class = in(reg) usize::from(class.0),
            lookup = in(reg) &raw const lookup,
            blocks = in(reg) blocks.as_mut_ptr(),
            count = inout(reg) count,
            // Before the section begins: an abort looks at it.
            left = inout(reg) u64::MAX => status,
            t = out(reg) _,
            out("rcx") _,
            out("r10") _,
            out("r11") _,
            BLOCKS = const BLOCKS,
            CAPACITY = const offset_of!(Control, capacity),
            WORD = const offset_of!(Lookup, word),
            KEY = const offset_of!(Lookup, key),
            CELL = const offset_of!(Lookup, cell),
            MISSED = const MISSED,
            COUNTED = const COUNTED,
        );
    }
    match status {
        0 => PoppedMany { got: count as usize, counted: count },
        COUNTED => PoppedMany { got: 0, counted: count },
        _ => PoppedMany { got: 0, counted: 0 },
    }
}

const MISSED: u64 = 1;
const COUNTED: u64 = 2;
