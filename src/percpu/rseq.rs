//! Restartable sequences: the commit of `Native` on Linux, x86-64.
//!
//! Each section runs between two labels, `23` and `24`; its last instruction is the committing
//! store. The kernel aborts a section that was preempted, migrated or interrupted by a signal: it
//! continues at `25`, which the signature precedes. The thread's area is glibc's; only `rseq_cs`
//! is written, `cpu_id` is read inside the section, no other field is touched.
//!
//! Sources: Linux `Documentation` and uapi `linux/rseq.h`; glibc manual, "Restartable Sequences".

use core::arch::asm;
use core::mem::offset_of;

use super::{Found, Freed, Pop};
use crate::layout::classes::Class;
use crate::layout::control::Control;
use crate::layout::cursor::Cursor;
use crate::layout::geometry::MAX_CPUS;
use crate::layout::header::{Account, BlockId, CLAIM};
use crate::layout::meta::Meta;

/// One copy of the section of free: claims the block and pushes it.
///
/// The header is compared and changed inside the section, so nothing that interrupts this CPU
/// comes in between. The claim is stored before the commit, so an abort must tell whether it was.
///
/// Flags and registers do, since the kernel's abort keeps both. Every compare that is passed leaves
/// "not above", beginning with that of the IRQL; moves and `lea` keep flags; the claiming `xor` leaves
/// "above". A compare that fails may leave "above" too, until its jump is taken: then its operands are
/// still in registers, and the handler compares them again. (`t` may be one entry further after the
/// claim, but not above the capacity. The CPU's compare fails only for threads that are not
/// registered, and those are never aborted.)
#[inline(always)]
pub(crate) fn free(meta: &Meta, found: Found) -> Freed {
    // SAFETY: the section reads header, cursor, limit and CPU table of the metadata (I4, I11),
    // claims an allocated block (I3), writes an entry above the position of a magazine that this
    // CPU's cursor holds (I1) and commits by one store (I6). It is aborted before that store
    // whenever anything else ran on this CPU.
    unsafe {
        asm!(
            "mov {t}, qword ptr [rip + storport_pool_thread_0_1@gottpoff]",
            "cmp dword ptr fs:[{t}], 2",                    // the thread's IRQL
            "ja {missed}",                                  // flags: not above, from here on
            "lea {t}, [rip + 22f]",                         // t = this section's descriptor
            "mov qword ptr fs:[{c} + 8], {t}",              // area.rseq_cs = t: armed
            "23:",
            "mov {c:e}, dword ptr fs:[{c} + 4]",            // c = area.cpu_id
            "cmp {c:e}, {CPUS}",                            // not registered
            "jae {missed}",
            "mov {c}, qword ptr [{base} + {c} * 8 + {BLOCKS}]", // c = the CPU's block
            "mov {h}, qword ptr [{base} + {index} * 8]",    // h = header
            "cmp {h}, {header}",                            // still the one that was checked
            "jne {missed}",
            "mov {t:e}, dword ptr [{c} + {class} * 4]",     // t = cursor
            "cmp {t:l}, byte ptr [{base} + {class} + {CAPACITY}]", // full, STOPPED, or NONE: no cache
            "jae {missed}",
            "xor qword ptr [{base} + {index} * 8], {CLAIM}", // claimed; flags: above
            "mov dword ptr [{base} + {t}], {id:e}",         // the entry
            "lea {t:e}, [{t} + 4]",
            "mov dword ptr [{c} + {class} * 4], {t:e}",     // commit
            "24:",
            ".pushsection __rseq_cs, \"aw\", @progbits",
            ".balign 32",
            "22: .long 0, 0",                               // version, flags
            ".quad 23b, 24b - 23b, 25f",                    // start, length, abort
            ".popsection",
            ".pushsection .text.unlikely.storport_pool_restart, \"ax\", @progbits",
            ".byte 0x0f, 0xb9, 0x3d",                       // ud1 with the signature as operand
            ".long 0x53053053",
            "25: jbe {missed}",                             // above: claimed, or between a compare
            "cmp {h}, {header}",                            //   that failed and its jump
            "jne {missed}",                                 //   the header's
            "cmp {t:l}, byte ptr [{base} + {class} + {CAPACITY}]",
            "ja {missed}",                                  //   the cursor's
            "jmp {claimed}",
            ".popsection",
            base = in(reg) meta.base(),
            c = inout(reg) meta.control().rseq_offset => _,
            class = in(reg) found.class.index(),
            id = in(reg) found.block.0,
            index = in(reg) found.index,
            header = in(reg) found.header.0,
            t = out(reg) _,
            h = out(reg) _,
            CPUS = const MAX_CPUS,
            BLOCKS = const offset_of!(Control, cpu_blocks),
            CAPACITY = const offset_of!(Control, capacity),
            CLAIM = const CLAIM,
            missed = label { return Freed::Missed },
            claimed = label { return Freed::Claimed },
            options(nostack),
        );
    }
    Freed::Done
}

/// One copy of the section that pushes a claimed block; for the slow paths.
pub(crate) fn push(meta: &Meta, class: Class, block: BlockId) -> bool {
    // SAFETY: as in `free`; the block is claimed already.
    unsafe {
        asm!(
            "lea {t}, [rip + 22f]",                         // t = this section's descriptor
            "mov qword ptr fs:[{c} + 8], {t}",              // area.rseq_cs = t: armed
            "23:",
            "mov {c:e}, dword ptr fs:[{c} + 4]",            // c = area.cpu_id
            "cmp {c:e}, {CPUS}",                            // not registered
            "jae {missed}",
            "mov {c}, qword ptr [{base} + {c} * 8 + {BLOCKS}]", // c = the CPU's block
            "mov {t:e}, dword ptr [{c} + {class} * 4]",     // t = cursor
            "cmp {t:l}, byte ptr [{base} + {class} + {CAPACITY}]", // full, STOPPED, or NONE: no cache
            "jae {missed}",
            "mov dword ptr [{base} + {t}], {id:e}",         // the entry
            "add {t:e}, 4",
            "mov dword ptr [{c} + {class} * 4], {t:e}",     // commit
            "24:",
            ".pushsection __rseq_cs, \"aw\", @progbits",
            ".balign 32",
            "22: .long 0, 0",                               // version, flags
            ".quad 23b, 24b - 23b, 25f",                    // start, length, abort
            ".popsection",
            ".pushsection .text.unlikely.storport_pool_restart, \"ax\", @progbits",
            ".byte 0x0f, 0xb9, 0x3d",                       // ud1 with the signature as operand
            ".long 0x53053053",
            "25: jmp {missed}",
            ".popsection",
            base = in(reg) meta.base(),
            c = inout(reg) meta.control().rseq_offset => _,
            class = in(reg) class.index(),
            id = in(reg) block.0,
            t = out(reg) _,
            CPUS = const MAX_CPUS,
            BLOCKS = const offset_of!(Control, cpu_blocks),
            CAPACITY = const offset_of!(Control, capacity),
            missed = label { return false },
            options(nostack),
        );
    }
    true
}

/// One copy of the section of allocate: counts the allocation and pops a block.
///
/// The count is stored before the commit; an abort tells as in `free` whether it was.
#[inline(always)]
pub(crate) fn pop(meta: &Meta, class: Class, account: Account) -> Pop {
    const MISSED: u64 = u64::MAX;
    const COUNTED: u64 = u64::MAX - 1;
    let id: u64;
    let cursor: u64;
    // SAFETY: as in `free`; the entry lies below the position (I2), the counter cell is this CPU's.
    unsafe {
        asm!(
            "mov {t}, qword ptr [rip + storport_pool_thread_0_1@gottpoff]",
            "cmp dword ptr fs:[{t}], 2",                    // the thread's IRQL
            "ja 26f",                                       // flags: not above, from here on
            "lea {t}, [rip + 22f]",                         // t = this section's descriptor
            "mov qword ptr fs:[{c} + 8], {t}",              // area.rseq_cs = t: armed
            "23:",
            "mov {c:e}, dword ptr fs:[{c} + 4]",            // c = area.cpu_id
            "cmp {c:e}, {CPUS}",                            // not registered
            "jae 26f",
            "mov {c}, qword ptr [{base} + {c} * 8 + {BLOCKS}]", // c = the CPU's block
            "mov {t:e}, dword ptr [{c} + {class} * 4]",     // t = cursor
            "lea {t:e}, [{t} - 4]",                         // t = one entry less
            "cmp {t:l}, byte ptr [{base} + {class} + {LIMIT}]", // empty, STOPPED, or NONE: no cache
            "ja 26f",
            "add qword ptr [{c} + {id}], 1",                // counted; flags: above
            "mov {id:e}, dword ptr [{base} + {t}]",         // the entry
            "mov dword ptr [{c} + {class} * 4], {t:e}",     // commit
            "24:",
            ".pushsection __rseq_cs, \"aw\", @progbits",
            ".balign 32",
            "22: .long 0, 0",                               // version, flags
            ".quad 23b, 24b - 23b, 25f",                    // start, length, abort
            ".popsection",
            ".pushsection .text.unlikely.storport_pool_restart, \"ax\", @progbits",
            ".byte 0x0f, 0xb9, 0x3d",                       // ud1 with the signature as operand
            ".long 0x53053053",
            "25: jbe 26f",                                  // above: counted, or between the compare
            "cmp {t:l}, byte ptr [{base} + {class} + {LIMIT}]", //  that failed and its jump
            "ja 26f",
            "mov {id}, -2",                                 // COUNTED
            "jmp 24b",
            "26: mov {id}, -1",                             // MISSED
            "jmp 24b",
            ".popsection",
            base = in(reg) meta.base(),
            class = in(reg) class.index(),
            id = inout(reg) Meta::cell_offset(account, class) => id,  // at first: the counter cell
            t = out(reg) cursor,
            c = inout(reg) meta.control().rseq_offset => _,
            CPUS = const MAX_CPUS,
            BLOCKS = const offset_of!(Control, cpu_blocks),
            LIMIT = const offset_of!(Control, pop_limit),
            options(nostack),
        );
    }
    if id as i64 >= 0 {
        return Pop::Got(BlockId(id as u32), Cursor(cursor as u32));
    }
    debug_assert!(id == MISSED || id == COUNTED);
    Pop::Miss { counted: id == COUNTED }
}

/// Commits `new` to the cursor of `cpu` if we run there and it holds `expected`.
pub(crate) fn exchange(meta: &Meta, cpu: u32, class: Class, expected: Cursor, new: Cursor) -> bool {
    // SAFETY: as in `push`; the caller holds `new` and takes over `expected` (I1).
    unsafe {
        asm!(
            "lea {t}, [rip + 22f]",                         // t = this section's descriptor
            "mov qword ptr fs:[{rseq} + 8], {t}",           // area.rseq_cs = t: armed
            "23:",
            "cmp {cpu:e}, dword ptr fs:[{rseq} + 4]",       // still on this CPU
            "jne {miss}",
            "cmp {expected:e}, dword ptr [{cursor}]",
            "jne {miss}",
            "mov dword ptr [{cursor}], {new:e}",            // commit
            "24:",
            ".pushsection __rseq_cs, \"aw\", @progbits",
            ".balign 32",
            "22: .long 0, 0",                               // version, flags
            ".quad 23b, 24b - 23b, 25f",                    // start, length, abort
            ".popsection",
            ".pushsection .text.unlikely.storport_pool_restart, \"ax\", @progbits",
            ".byte 0x0f, 0xb9, 0x3d",                       // ud1 with the signature as operand
            ".long 0x53053053",
            "25: jmp {miss}",
            ".popsection",
            rseq = in(reg) meta.control().rseq_offset,
            cursor = in(reg) meta.cursor(cpu, class).as_ptr(),
            cpu = in(reg) cpu,
            expected = in(reg) expected.0,
            new = in(reg) new.0,
            t = out(reg) _,
            miss = label { return false },
            options(nostack),
        );
    }
    true
}

/// The CPU that the thread runs on, or a number no pool has when it is not registered.
pub(crate) fn cpu(meta: &Meta) -> u32 {
    let cpu: u32;
    // SAFETY: reads `cpu_id` of the thread's own area, which glibc keeps for the thread's life.
    unsafe {
        asm!(
            "mov {cpu:e}, dword ptr fs:[{rseq} + 4]",
            rseq = in(reg) meta.control().rseq_offset,
            cpu = out(reg) cpu,
            options(nostack, preserves_flags, readonly),
        );
    }
    cpu
}

/// Where the rseq area of each thread lies from its thread pointer, if this process has it.
pub(crate) fn area_offset() -> Option<isize> {
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
