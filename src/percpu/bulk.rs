//! The restartable sections of the bulk calls: a claim alone, and magazines that take, or give, many ids at once.

use core::arch::asm;
use core::mem::offset_of;

use super::platform::{Claimed, PoppedMany};
use super::section::BLOCKS;
use crate::layout::block::{Account, BlockId};
use crate::layout::classes::Class;
use crate::layout::control::Control;
use crate::layout::cursor::MAX_ROOM;
use crate::layout::geometry::{Geometry, PAGE_MAP};
use crate::layout::meta::Meta;
use crate::layout::page_map::FIRST_SHIFT;
use crate::layout::state::{LIVE, State};

/// Claims a live block of a slab, as `free` does, in a section of its own: an abort handler could not know how many
/// of a loop's claims were done. The claim is the committing store.
#[inline(always)]
pub(crate) fn claim(meta: &Meta, expected: State, block: BlockId) -> Claimed {
    let class: u64;
    // SAFETY: as in `rseq::free`, up to the claim.
    unsafe {
        asm!(
            steps!(
                begin!("r10", "{i}");
                "test r10d, r10d";                              // negative: the thread's sections do not run
                "js 26f";
                "cmp dword ptr [{base} + {SWITCH}], 0";         // the host's switch is down
                "jne 26f";
                "mov rcx, qword ptr [{base} + {a} * 8 + {PAGE_MAP}]";   // rcx = page-map entry
                "mov {i:e}, {id:e}";
                "shl {i}, cl";
                "add {i}, rcx";
                "shr {i}, {FIRST_SHIFT}";                       // i = index of the state
                "cmp dword ptr [{base} + {i} * 4], {expected:e}"; // the start of a live block of this owner
                "jne 26f";
                "movzx ecx, ch";                                // rcx = class
                look_again!(cpu "r10d");
                "and dword ptr [{base} + {i} * 4], {FREED}";    // claimed: commit
            ),
            end!(),
            "mov ecx, {ABORTED}",
            "jmp 24b",
            "26: mov ecx, {MISSED}",
            "jmp 24b",
            ".popsection",
            base = in(reg) meta.base(),
            expected = in(reg) expected.0,
            id = in(reg) block.0,
            a = in(reg) block.span() as usize,
            t = out(reg) _,
            i = out(reg) _,
            out("rcx") class,
            out("r10") _,
            SWITCH = const offset_of!(Control, not_implemented),
            PAGE_MAP = const PAGE_MAP,
            FIRST_SHIFT = const FIRST_SHIFT,
            FREED = const !LIVE,
            MISSED = const CLAIM_MISSED,
            ABORTED = const CLAIM_ABORTED,
            #[cfg(storport_pool_stretch)]
            aborts = sym super::stretch::aborted::CLAIM,
            #[cfg(storport_pool_stretch)]
            out("r8") _,
            #[cfg(storport_pool_stretch)]
            out("r9") _,
            options(nostack),
        );
    }
    match class {
        CLAIM_MISSED => Claimed::Missed,
        CLAIM_ABORTED => Claimed::Aborted,
        _ => Claimed::Got(Class(class as u8)),
    }
}

/// What no class is.
const CLAIM_MISSED: u64 = 0x100;
const CLAIM_ABORTED: u64 = 0x101;

/// Pushes as many of the claimed blocks as this CPU's loaded magazine has room for, the last ones first, and commits
/// them by one store; how many. 0 after an abort too.
pub(crate) fn push_many(meta: &Meta, class: Class, blocks: &[u32]) -> usize {
    let mut count = blocks.len() as u64;
    let end = blocks.as_ptr_range().end;
    // SAFETY: as in `rseq::push`. The loop reads the last `count` of the blocks, of which there are as many, and writes
    // as many entries below the room of the magazine.
    unsafe {
        asm!(
            steps!(
                begin!("r10", "r11");
                block!("r10");
                "mov {t:e}, dword ptr [r10 + {class} * 4]";     // t = cursor
                "movzx r11d, {t:l}";                            // r11 = its room
                "cmp r11d, {MAX_ROOM}";                         // STOPPED, or NONE: no cache
                "ja 26f";
                "cmp {count}, r11";
                "cmova {count}, r11";                           // count = how many it takes
                "mov r11, {count}";
                "neg r11";                                      // r11 = minus those left
                "jz 26f";
            ),
            "2:\n",
            steps!(
                "mov ecx, dword ptr [{end} + r11 * 4]";
                "lea {t:e}, [{t} - 1]";                         // t = one entry more
                "mov dword ptr [{base} + {t} * 4], ecx";        // the entry
                "add r11, 1";
                "jnz 2b";
                look_again!(block "r10");
                "mov dword ptr [r10 + {class} * 4], {t:e}";     // commit
            ),
            end!(),
            "26: xor {count:e}, {count:e}",
            "jmp 24b",
            ".popsection",
            base = in(reg) meta.base(),
            class = in(reg) usize::from(class.0),
            end = in(reg) end,
            count = inout(reg) count,
            t = out(reg) _,
            out("rcx") _,
            out("r10") _,
            out("r11") _,
            BLOCKS = const BLOCKS,
            MAX_ROOM = const MAX_ROOM,
            #[cfg(storport_pool_stretch)]
            aborts = sym super::stretch::aborted::PUSH_MANY,
            #[cfg(storport_pool_stretch)]
            out("r8") _,
            #[cfg(storport_pool_stretch)]
            out("r9") _,
            options(nostack),
        );
    }
    count as usize
}

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
        asm!(
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
            #[cfg(storport_pool_stretch)]
            aborts = sym super::stretch::aborted::POP_MANY,
            #[cfg(storport_pool_stretch)]
            out("r8") _,
            #[cfg(storport_pool_stretch)]
            out("r9") _,
            options(nostack),
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
