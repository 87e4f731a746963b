//! What all restartable sections share: how they begin, how they end, and where their abort handlers lie.
//!
//! Each section runs between two labels, `23` and `24`; its last instruction is the committing
//! store. The kernel aborts a section that was preempted, migrated or interrupted by a signal: it
//! continues at `25`, which the signature precedes. The thread's area is glibc's; only `rseq_cs`
//! is written, `cpu_id` is read inside the section, no other field is touched.
//!
//! Sources: Linux `Documentation` and uapi `linux/rseq.h`; glibc manual, "Restartable Sequences".

use core::mem::offset_of;

use crate::layout::control::{Control, NO_CPU};

/// Where CPU 0's block stands in the control block.
pub(super) const BLOCKS: usize = offset_of!(Control, cpu_blocks) + NO_CPU * size_of::<usize>();

/// Arms the section whose descriptor is `22` and begins it. `t`: the offset of the thread's words from the
/// thread pointer, which is negative; `c`: the CPU's number.
#[rustfmt::skip]
macro_rules! begin {
    ($c:literal, $descriptor:literal) => {
        steps!(
            "mov {t}, qword ptr [rip + storport_pool_thread_0_1@gottpoff]";
            "movsxd ", $c, ", dword ptr fs:[{t}]";                          // where the area lies from there
            "lea ", $descriptor, ", [rip + 22f]";
            // area.rseq_cs: armed. The section begins right behind: the kernel disarms a thread that it stops outside.
            "mov qword ptr fs:[", $c, " + {t} + 8], ", $descriptor, "\n23:";
            "movsxd ", $c, ", dword ptr fs:[", $c, " + {t} + 4]";           // area.cpu_id
        )
    };
}

/// Turns the CPU's number into its block. Where the thread's sections do not run, the number is negative
/// (uapi `linux/rseq.h`: -1 or -2) and leads to the shared row's, whose cursors make the section miss.
#[rustfmt::skip]
macro_rules! block {
    ($c:literal) => {
        steps!("mov ", $c, ", qword ptr [{base} + ", $c, " * 8 + {BLOCKS}]")
    };
}

/// From the page-map entry (`rcx`) and the CPU's number (`r10`) to a block freed: finds its state, compares, claims,
/// and pushes it. `rseq::free` says why each step stands where it does.
#[rustfmt::skip]
macro_rules! free_block {
    ($missed:literal) => {
        steps!(
            block!("r10");
            "mov {i:e}, {id:e}";
            "shl {i}, cl";
            "add {i}, rcx";
            "shr {i}, {FIRST_SHIFT}";                           // i = index of the state
            "cmp dword ptr [{base} + {i} * 4], {expected:e}";   // the start of a live block of this owner
            "jne ", $missed;                                    // flags: not above, from here on
            "movzx ecx, ch";                                    // rcx = class
            "mov {t:e}, dword ptr [r10 + rcx * 4]";             // t = cursor; not negative, from here on
            "lea {t:e}, [{t} - 1]";                             // t = one entry more
            "cmp {t:l}, {MAX_ROOM} - 1";                        // was full, STOPPED, or NONE: no cache
            "ja ", $missed;
            look_again!(block "r10");
            "and dword ptr [{base} + {i} * 4], {FREED}";        // claimed; flags: above
            "mov dword ptr [{base} + {t} * 4], {id:e}";         // the entry
            "mov dword ptr [r10 + rcx * 4], {t:e}";             // commit
        )
    };
}

/// What the abort handler of a section with `free_block` goes through: jumps unless the block was claimed.
#[rustfmt::skip]
macro_rules! unless_claimed {
    ($missed:literal) => {
        concat!(
            "jbe ", $missed, "\ntest {t}, {t}\njs ", $missed,
            "\ncmp {t:l}, {MAX_ROOM} - 1\nja ", $missed
        )
    };
}

/// Ends the section, and begins its abort handler.
#[rustfmt::skip]
macro_rules! end {
    () => {
        concat!(
            "24:\n",
            ".pushsection __rseq_cs, \"aw\", @progbits\n",
            ".balign 32\n",
            "22: .long 0, 0\n",                     // version, flags
            ".quad 23b, 24b - 23b, 25f\n",          // start, length, abort
            ".popsection\n",
            ".pushsection .text.unlikely.storport_pool_restart, \"ax\", @progbits\n",
            ".byte 0x0f, 0xb9, 0x3d\n",             // ud1 with the signature as operand
            ".long 0x53053053\n",
            "25:\n",
            count_abort!(),
        )
    };
}
