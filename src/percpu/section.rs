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
            // area.rseq_cs: armed. The section begins right behind: the kernel disarms whom it stops outside.
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
