#ifndef STORPORT_POOL_H
#define STORPORT_POOL_H

/* Made by cbindgen from capi/src, capi/prelude.h and capi/kit.h. Do not edit. */

#include <stddef.h>
#include <stdint.h>
#if defined(__STDC_VERSION__) && __STDC_VERSION__ >= 199901L
#include <stdbool.h>
#endif

/* What sp_allocate and its kind answer: the numbers of STOR_STATUS_SUCCESS and its kind. */
#define SP_STATUS_SUCCESS ((uint32_t)0x00000000)
#define SP_STATUS_NOT_IMPLEMENTED ((uint32_t)0xC1000002u)
#define SP_STATUS_INSUFFICIENT_RESOURCES ((uint32_t)0xC1000003u)
#define SP_STATUS_INVALID_PARAMETER ((uint32_t)0xC1000006u)
#define SP_STATUS_INVALID_IRQL ((uint32_t)0xC1000008u)

/* A pool tag, written forwards: SP_TAG('A', 'h', 'c', 'i') shows as "Ahci". */
#define SP_TAG(a, b, c, d) \
    ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

/* What sp_adapter_remove and sp_adapter_release return for what is no extension of a live adapter. */
#define SP_NO_ADAPTER ((size_t)-1)

#ifdef __cplusplus
extern "C" {
#endif

/* StorPortExtendedFunction: sp_allocate or sp_free by its code, 0 with (uint32_t bytes, uint32_t tag, void **block), or
   1 with (void *block). Other codes get SP_STATUS_NOT_IMPLEMENTED. */
uint32_t sp_extended_function(uint32_t code, void *extension, ...);

#ifdef __cplusplus
}
#endif


/* Bytes that are kept of what was found in memory. */
#define SP_EVIDENCE 16

/* A pool's metadata, checked, as it was saved. */
typedef struct sp_image sp_image;

/* A pool. */
typedef struct sp_pool sp_pool;

/* A recording that goes on. */
typedef struct sp_recording sp_recording;

/* A picture of a pool's tags, accounts, sizes and CPUs. */
typedef struct sp_snapshot sp_snapshot;

/* A file in which another process, as `storport-pool poolmon`, sees a pool. */
typedef struct sp_watch sp_watch;

/* Hears of the blocks of one tag that an adapter left. It must not unwind. */
typedef void (*sp_leak_callback)(void *context, uint32_t tag, uint64_t blocks, uint64_t bytes);

/* 0: false; anything else: true. Functions return 0 or 1. It has one byte in every language. */
typedef uint8_t sp_bool;

/* A block, as `sp_block_at` found it. */
typedef struct {
    /* Where it begins. */
    void *address;
    /* The extension of the adapter that allocated it; NULL if that has none, as for blocks of `ExAllocatePool2` and its
       kind, and for those that a removed adapter left. */
    void *owner;
    /* Bytes that were asked for, when it was allocated or by `sp_resize`. */
    uint64_t bytes;
    /* Bytes that it has: `sp_resize` takes up to so many. */
    uint64_t capacity;
    /* Its tag; 0: not known. */
    uint32_t tag;
    /* Whether it is allocated. Else the rest tells of its last owner. */
    sp_bool live;
} sp_block;

/* How the runs are made. Fill it with 0, set `size`, and then what shall differ. */
typedef struct {
    /* `sizeof(sp_fail_options)`. */
    size_t size;
    /* Only allocations of these tags: 1 to 16 characters, `*` for any or none, `?` for one. NULL: all tags. */
    const char *tags;
    /* At most so many runs with a refusal. 0: no limit. */
    uint64_t most;
    /* The first n and then each `step`-th one. 0: each. */
    uint64_t step;
    /* In an order by chance, the same for the same seed. 0: ascending. */
    uint64_t seed;
    /* Milliseconds that a run has; then its process is killed. 0: ten seconds. */
    uint32_t limit_ms;
    /* The first run with a finding is the last one. */
    sp_bool stop_at_first;
    /* Without child processes: effects stay, a crash is a crash, and nothing ends a run that hangs. */
    sp_bool in_process;
    /* Must be 0. */
    uint16_t reserved;
} sp_fail_options;

/* The work of a run. It may start threads. It must not unwind. */
typedef void (*sp_work_callback)(void *context);

/* How a run ended: one of the numbers below. More may come. */
typedef uint32_t sp_run_end;

/* What the caller did wrong: one of the numbers below. More may come. */
typedef uint32_t sp_violation_kind;

/* What one run did. */
typedef struct {
    /* Which allocation was to be refused, counted from 1; 0: none. */
    uint64_t n;
    /* Allocations that it made, the refused one included; 0 if it came to no end. */
    uint64_t allocations;
    /* Blocks that it left allocated. */
    uint64_t leaked_blocks;
    /* Bytes that were requested for them. */
    uint64_t leaked_bytes;
    /* Violations that were told meanwhile. */
    uint64_t violations;
    /* Blocks that may be left and are not known: the verifier had no room for notes of them. */
    uint64_t unknown;
    /* How it ended. */
    sp_run_end end;
    /* The status or the signal; else 0. */
    int32_t code;
    /* What the first violation was; 0: there was none. */
    sp_violation_kind first_violation;
    /* The refused allocation's tag; 0: none was refused. */
    uint32_t refused_tag;
    /* Bytes that it asked for. */
    uint32_t refused_bytes;
    /* Whether it has no finding. */
    sp_bool clean;
    /* Whether it made fewer than n allocations, so that none was refused. */
    sp_bool missed;
} sp_fail_run;

/* Hears of the runs, when all were made: of each in their order, with `text` NULL; then once with `run` NULL, and the
   whole report as a text for a person. Both are gone when it returns. */
typedef void (*sp_fail_callback)(void *context, const sp_fail_run *run, const char *text);

/* The number of the CPU that the caller runs on. Any IRQL. Without `mask`, a wrong answer costs speed, never
   memory safety. With `mask`, it must be right between `mask` and `unmask`: two CPUs that share a number get
   the same blocks. */
typedef uint32_t (*sp_cpu_callback)(void *context);

/* The caller's IRQL. */
typedef uint8_t (*sp_irql_callback)(void *context);

/* Masks interrupts on the caller's CPU (or raises to DISPATCH), nesting; what it returns is handed to the
   function that restores. */
typedef size_t (*sp_mask_callback)(void *context);

/* Restores what the masking function found. */
typedef void (*sp_unmask_callback)(void *context, size_t state);

/* Returns when every masked section that began on that CPU before the call has ended, as an inter-processor
   interrupt would see to. Called by allocate's slowest path and by host functions, never by free. */
typedef void (*sp_fence_callback)(void *context, uint32_t cpu);

/* How to make a pool. Fill it with 0, set `size`, and then what shall differ. */
typedef struct {
    /* `sizeof(sp_options)`: tells versions apart. What an older version had not is 0. */
    size_t size;
    /* Bytes of the range that the pool hands out. */
    size_t range_bytes;
    /* Where the range begins, a multiple of 65536. 0: the pool gets its memory from the operating system. Else the pool
       never touches it, so it may be a guest's; then `metadata` must be given too. */
    uint64_t range;
    /* Memory for the pool's own use: zeroed, aligned to 4096, `sp_metadata_bytes` long, unused by others while
       the pool lives. NULL, with `range` 0: from the operating system. */
    void *metadata;
    /* Bytes of it. */
    size_t metadata_bytes;
    /* How many CPUs have a cache, 1 to 512. 0: all of this machine, or 1 with functions of the host. */
    uint32_t cpus;
    /* How many pairs of adapter and tag are told apart, a power of two from 16 to 32768. 0: one to each 256 KiB of
       the range, but at least 64 and at most 1024. */
    uint32_t accounts;
    /* How many adapters may live at once, 1 to 1022; one more is the pool's own. 0: a quarter
       of the default number of accounts, but at most 64. */
    uint32_t adapters;
    /* The smallest block, a power of two from 16 to 4096. 0: 16. */
    uint32_t min_block;
    /* Refuse tags that Windows 1903 and later refuse. */
    sp_bool strict_tags;
    /* Make memory of the operating system resident at once. */
    sp_bool resident;
    /* Without functions of the host: commit by two atomic operations, not by restartable sequences. */
    sp_bool portable;
    /* A range of the host's is memory of this process: then `ExAllocatePool2` and its kind may zero blocks of it. */
    sp_bool range_is_addressable;
    /* The CPU's number. NULL, with `irql`: the operating system's threads. */
    sp_cpu_callback cpu;
    /* The caller's IRQL. The higher of it and of what `sp_raise_irql` made the thread's counts. NULL: the latter. */
    sp_irql_callback irql;
    /* Masks interrupts. NULL, with the next two: two atomic operations a call instead. */
    sp_mask_callback mask;
    /* Restores what `mask` found. */
    sp_unmask_callback unmask;
    /* Waits for a CPU's masked sections. */
    sp_fence_callback fence;
    /* Handed to each of these functions. They may be called from any thread, at any IRQL. */
    void *context;
    /* How many magazines of free blocks (1024 bytes each) the metadata holds. 0: enough for a pool that is all free. */
    uint32_t magazines;
    /* Must be 0. */
    uint32_t reserved;
} sp_options;

/* Where a block is: one of the numbers below. More may come. */
typedef uint32_t sp_block_state;

/* A block and where it is. */
typedef struct {
    /* Where it begins. */
    void *address;
    /* The extension of the adapter that has it, or had it last; NULL if that has none, or is not known. */
    void *owner;
    /* Bytes that were asked for, by its caller or its last one; 0: it had none. */
    uint64_t bytes;
    /* Bytes that it has. */
    uint64_t capacity;
    /* Its tag, or its last one; 0: not known. */
    uint32_t tag;
    /* Where it is. */
    sp_block_state state;
    /* The CPU in whose cache it is; else 0. */
    uint32_t cpu;
    /* Must be 0. */
    uint32_t reserved;
    /* A few words for `state`. */
    const char *description;
} sp_block_detail;

/* Hears of a block. `block` is gone when it returns. It may call the pool, but not unwind. */
typedef void (*sp_block_callback)(void *context, const sp_block_detail *block);

/* One thing that is wrong with a pool's metadata. */
typedef struct {
    /* The address of the block or span; NULL for what has none. */
    void *address;
    /* The number of the block (its offset in the range, in units of 16 bytes), span, magazine, account, adapter or CPU
       that `what` names. */
    uint64_t number;
    /* The number that is wrong, if `has_found`. */
    uint64_t found;
    /* What it should be, or at most be, if `has_expected`. */
    uint64_t expected;
    /* Whether `found` is set. */
    sp_bool has_found;
    /* Whether `expected` is set. */
    sp_bool has_expected;
    /* What is wrong, where, and the numbers, in one line. As `finding` itself, it is gone when the callback returns. */
    const char *text;
} sp_finding;

/* Hears of what is wrong. `finding` is gone when it returns. It may call the pool, but not unwind. */
typedef void (*sp_finding_callback)(void *context, const sp_finding *finding);

/* Where a pool's blocks and spans are, and how much is wrong: `sp_pool_check`. */
typedef struct {
    /* How many things are wrong. The callback heard of 1000 at most. */
    uint64_t faults;
    /* Blocks of all slabs: the seven numbers that follow, unless something is wrong. */
    uint64_t blocks;
    /* Blocks that callers have. */
    uint64_t live;
    /* Free blocks in the magazines that CPUs have loaded. */
    uint64_t loaded;
    /* Free blocks in CPUs' spare magazines. */
    uint64_t spare;
    /* Free blocks in magazines that all CPUs share. */
    uint64_t depot;
    /* Free blocks in no magazine. */
    uint64_t loose;
    /* Blocks that were never handed out. */
    uint64_t never_carved;
    /* Blocks that calls have in hand. */
    uint64_t in_hand;
    /* Large blocks, of whole spans, that callers have. */
    uint64_t live_runs;
    /* Large blocks that were freed, and are not collected yet. */
    uint64_t freed_runs;
    /* Large blocks that calls have in hand. */
    uint64_t runs_in_hand;
    /* Spans of the range: the four numbers that follow, unless something is wrong. */
    uint64_t spans;
    /* Spans that are slabs. */
    uint64_t slab_spans;
    /* Spans of large blocks. */
    uint64_t run_spans;
    /* Spans that nobody uses. */
    uint64_t free_spans;
    /* Spans that calls have in hand. */
    uint64_t spans_in_hand;
    /* Whether the metadata stood still while it was looked at. Else calls were under way: then only what a single word
       proves was told, and the numbers above are a mixture of moments. */
    sp_bool settled;
    /* Whether adapters stood still too. Else adapters and accounts were not judged. */
    sp_bool owners_settled;
} sp_check;

/* What a recording has. */
typedef struct {
    /* Calls in the file. */
    uint64_t events;
    /* Calls that were dropped, since the file's writer could not keep up. The file says where. */
    uint64_t dropped;
} sp_recorded;

/* The sums of a tag, or of an adapter's tag. */
typedef struct {
    /* The tag; of an adapter's row 0 for all tags that found no account of their own. (Tag 0, which is a tag without
       `sp_options.strict_tags`, looks the same.) */
    uint32_t tag;
    /* It as PoolMon shows it, and a 0. */
    char text[5];
    /* The adapter's extension; NULL in rows of tags, and for what no extension owns. */
    void *extension;
    /* Blocks that were allocated, ever. */
    uint64_t allocs;
    /* Blocks that were freed, ever. */
    uint64_t frees;
    /* Blocks that are allocated now. */
    uint64_t live;
    /* Bytes that were requested for the live blocks. */
    uint64_t bytes;
    /* Bytes of the range that the live blocks take. */
    uint64_t bytes_occupied;
} sp_row;

/* What the pool has of one size of blocks. */
typedef struct {
    /* Bytes of a block. */
    uint32_t block_bytes;
    /* Slabs of this size. */
    uint32_t slabs;
    /* Blocks that are allocated now. */
    uint64_t live;
    /* Blocks that are free, in slabs and in caches. */
    uint64_t free;
    /* Of those, the ones in CPUs' caches. */
    uint64_t cached;
} sp_class_row;

/* What one CPU's cache holds. */
typedef struct {
    /* The CPU's number. */
    uint32_t cpu;
    /* Must be 0. */
    uint32_t reserved;
    /* Free blocks. */
    uint64_t blocks;
    /* Their bytes. */
    uint64_t bytes;
} sp_cpu_row;

/* What `sp_pool_trim` did. */
typedef struct {
    /* Empty slabs that returned to the common stock. */
    uint64_t slabs;
    /* Bytes given back to the operating system. */
    uint64_t bytes;
} sp_trimmed;

/* A pool's sums, over all tags. */
typedef struct {
    /* Blocks that were allocated, ever. */
    uint64_t allocs;
    /* Blocks that were freed, ever. */
    uint64_t frees;
    /* Blocks that are allocated now. */
    uint64_t live;
    /* Bytes that were requested for the live blocks. */
    uint64_t bytes;
    /* Bytes of the range that the live blocks take. */
    uint64_t bytes_occupied;
    /* Bytes of the spans that nobody uses: of 4 KiB each in pools below 8 MiB, of 64 KiB in larger ones. */
    uint64_t free_bytes;
    /* Where the range begins. */
    uint64_t range;
    /* Bytes of the range. */
    uint64_t range_bytes;
    /* Slabs that changed their use while they were looked at, twice; their blocks are not counted. */
    uint64_t changing;
    /* Allocations that failed because memory was in another call's hand. */
    uint64_t contended;
    /* Violations found. */
    uint64_t violations;
    /* Whether the pool commits by restartable sequences. */
    sp_bool uses_rseq;
    /* Whether the system ever refused the pool a fence: SP_FENCE_REFUSED. What removals reported since then may be
       inexact. */
    sp_bool fence_refused;
} sp_usage;

/* How much a verifier keeps. Fill it with 0, set `size`, and then what shall differ. All numbers are rounded up to a power of
   two. */
typedef struct {
    /* `sizeof(sp_verifier_options)`: tells versions apart. What an older version had not is 0. */
    size_t size;
    /* Of how many blocks, live and freed, it knows call stacks: 32 bytes each, at least 64. 0: 32,768. */
    uint32_t notes;
    /* How many distinct call stacks it keeps: 208 bytes each, at least 64. 0: 4096. */
    uint32_t stacks;
    /* How many freed blocks wait in the quarantine. 0: 256. */
    uint32_t quarantine;
    /* Of how many freed blocks, the last ones, the call stacks are kept. 0: 4096. */
    uint32_t freed;
} sp_verifier_options;

/* Where a block's guard page lies: one of the numbers below. */
typedef uint8_t sp_special;

/* What the verifier watches, and what it does there. Fill it with 0, set `size`, and then what shall differ: a rule for
   all adapters and tags, that does nothing yet. All rules that match an allocation apply together. */
typedef struct {
    /* `sizeof(sp_rule)`: tells versions apart. What an older version had not is 0. */
    size_t size;
    /* For this adapter alone, by its extension; NULL: for all. */
    void *extension;
    /* For these tags alone: 1 to 16 printable characters, `*` for any or none, `?` for one. NULL: for all. */
    const char *tags;
    /* Special pool: pages of its own and a guard page for each block. `canary`, `track` and `quarantine` come with it. */
    sp_special special;
    /* At least 16 bytes behind each block are filled, and checked when it is freed and by `sp_verifier_sweep`. */
    sp_bool canary;
    /* Call stacks of the allocation and of the free. */
    sp_bool track;
    /* Freed blocks wait before they are used again, and are checked for writes. */
    sp_bool quarantine;
    /* A call above DISPATCH_LEVEL is a violation. */
    sp_bool irql;
    /* An allocation whose out pointer holds the address of a live block of the same adapter is a violation. */
    sp_bool overwrite;
    /* Low resources: each distinct call stack is refused once at most; with no other criterion, each once. */
    sp_bool once_per_stack;
    /* Must be 0. */
    uint8_t reserved;
    /* Low resources: so many allocations in 10,000 are refused, by chance; 10,000 and more: all. */
    uint32_t probability;
    /* Low resources: each so many-th is refused; 0: none by this criterion. */
    uint32_t every;
    /* Low resources: this one alone is refused, counted from 1; 0: none by this criterion. */
    uint64_t only;
    /* Low resources: not the first so many, which do not count for the other criteria. */
    uint64_t after;
    /* Low resources: what chance depends on. The same seed refuses the same ones. */
    uint64_t seed;
} sp_rule;

/* What a rule has done. */
typedef struct {
    /* Allocations that it was for, since it was added. */
    uint64_t seen;
    /* Those of them that its low resources refused. */
    uint64_t refused;
} sp_rule_counts;

/* What a sweep found. The violation callback heard of each. */
typedef struct {
    /* Live blocks behind which bytes were overwritten. */
    uint64_t overrun;
    /* Blocks that left the quarantine. */
    uint64_t released;
    /* Those of them that were written to after they were freed. */
    uint64_t written;
} sp_swept;

/* What a verifier has done, since it was attached. */
typedef struct {
    /* Verified blocks that were allocated. */
    uint64_t verified;
    /* Those of them that have guard pages. */
    uint64_t guarded;
    /* Blocks that should have had guard pages: they could not be protected. */
    uint64_t unguarded;
    /* Allocations that were refused on purpose. */
    uint64_t refused;
    /* Allocations that were samples. */
    uint64_t sampled;
    /* Blocks of which there was no place for a note. */
    uint64_t notes_left_out;
    /* Call stacks for which there was no place. */
    uint64_t stacks_left_out;
} sp_verifier_counts;

/* Whether a call stack was taken, or why not: one of the numbers below. More may come. */
typedef uint32_t sp_stack_kind;

/* A call stack: return addresses, the innermost first. */
typedef struct {
    /* Whether it was taken, or why not. */
    sp_stack_kind kind;
    /* How many frames there are; 0 if it was not taken. */
    uint32_t count;
    /* The return addresses, as many as `count` says; gone when the callback returns. */
    const uint64_t *frames;
    /* A few words: why there are none; NULL when it was taken. */
    const char *missing;
} sp_call_stack;

/* One misuse. The pool's state is intact when the callback runs. The library makes it, so later versions add fields at
   its end, and a program sees those that its own header has. */
typedef struct {
    /* What was done. */
    sp_violation_kind kind;
    /* The level at which the call was made. */
    uint8_t irql;
    /* The tag of the block (its last one, when it is free now), or of the refused allocation; 0: none. */
    uint32_t tag;
    /* The tag that was passed to free, where that takes one; else 0. */
    uint32_t given_tag;
    /* The address that was passed to free; else NULL. */
    void *address;
    /* Bytes that were requested: of the block, of the refused allocation, or of all blocks left behind. */
    uint64_t bytes;
    /* How many blocks were left behind; else 0. */
    uint64_t blocks;
    /* The extension of the adapter that owns the block, or owned it last; NULL where none is known, and for
       blocks of `ExAllocatePool2` and its kind. */
    void *owner;
    /* The extension in whose name the call was made. */
    void *caller;
    /* The Windows bug check that this stands for, and its four parameters. */
    uint32_t bug_check;
    /* Parameters 1 to 4. */
    uint64_t parameters[4];
    /* A few words: what was done. */
    const char *description;
    /* All of it for a person, with the block's tag and bytes and the names of its adapters; at its end the bug check, if
       there is one. As `violation` itself, it is gone when the callback returns. */
    const char *text;
    /* Where the block begins; NULL: there is none, or none is known. */
    void *block;
    /* The first byte of memory that is not what it should be; NULL: memory was not looked at, or is right. */
    void *evidence;
    /* What is there, from that byte on. */
    uint8_t evidence_bytes[SP_EVIDENCE];
    /* How many of these bytes are told. */
    uint8_t evidence_count;
    /* What each should be. */
    uint8_t evidence_expected;
    /* Whether the block has guard pages. */
    sp_bool guarded;
    /* Where the block was allocated. */
    sp_call_stack allocated;
    /* Where it was freed. */
    sp_call_stack freed;
    /* Where the call was made, or the fault came, if the block is tracked. */
    sp_call_stack called;
} sp_violation;

/* Hears of violations, on the thread that made the call, at its IRQL. It may allocate and free, and it may end
   the program, as Windows would. `violation` is gone when it returns. */
typedef void (*sp_violation_callback)(void *context, const sp_violation *violation);

/* The work returned. */
#define SP_RUN_FINISHED 0

/* The child process ended itself; `code` is its status. */
#define SP_RUN_EXITED 1

/* The child process was ended by a signal; `code` is its number. */
#define SP_RUN_SIGNAL 2

/* It did not return within the limit of time, and was killed. */
#define SP_RUN_HUNG 3

/* The child process ended, and the system does not say how: SIGCHLD is ignored. */
#define SP_RUN_LOST 4

/* None of these. */
#define SP_RUN_OTHER 99

/* A caller has it. */
#define SP_BLOCK_LIVE 1

/* Free, in the magazine that a CPU has loaded. */
#define SP_BLOCK_LOADED 2

/* Free, in a CPU's spare magazine. */
#define SP_BLOCK_SPARE 3

/* Free, in a magazine that all CPUs share. */
#define SP_BLOCK_DEPOT 4

/* Free, in no magazine. */
#define SP_BLOCK_LOOSE 5

/* A large block that was freed, and whose spans nobody has collected yet. */
#define SP_BLOCK_FREED_RUN 6

/* Free, in the part of its slab that was never handed out. */
#define SP_BLOCK_NEVER_CARVED 7

/* A span that nobody uses. It has no blocks. */
#define SP_BLOCK_FREE_SPAN 8

/* A call that is under way has it in hand, or it moved while it was looked for. */
#define SP_BLOCK_IN_HAND 9

/* Freed, and kept away from use for a while by the pool's verifier. */
#define SP_BLOCK_QUARANTINED 10

/* None of these. */
#define SP_BLOCK_OTHER 99

/* No guard pages. */
#define SP_SPECIAL_NONE 0

/* Behind the block: what writes behind it faults, but for up to 15 bytes, which are checked when it is freed. */
#define SP_SPECIAL_AFTER 1

/* Before the block: what writes before it faults. */
#define SP_SPECIAL_BEFORE 2

/* The block was freed already. */
#define SP_DOUBLE_FREE 1

/* The address lies in the pool, but no block is there. */
#define SP_WILD_FREE 2

/* The address lies outside the pool. */
#define SP_FOREIGN_FREE 3

/* The address lies inside a live block. */
#define SP_INTERIOR_FREE 4

/* The block belongs to another adapter. */
#define SP_WRONG_OWNER 5

/* The block has another tag than the one passed. */
#define SP_WRONG_TAG 6

/* Blocks were left when their adapter was removed, or their pool ended. */
#define SP_LEAK 7

/* A request for zero bytes. */
#define SP_ZERO_SIZE 8

/* The tag is 0 (strict tags only). */
#define SP_ZERO_TAG 9

/* The tag is "BIG" (strict tags only). */
#define SP_BIG_TAG 10

/* The tag has no letter and no digit (strict tags only). */
#define SP_UNREADABLE_TAG 11

/* `ExFreePool` or its kind was called above DISPATCH_LEVEL; or any free, under a rule with `irql`. Nothing was freed. */
#define SP_FREE_AT_IRQL 12

/* `ExFreePool` or its kind was called while `sp_set_not_implemented` is set. Nothing was freed. */
#define SP_FREE_NOT_IMPLEMENTED 13

/* Nobody's misuse, and told once a pool: the system refuses membarrier, as in a sandbox that was entered since the
   pool was made. The pool goes on, with less: docs/PROCESSES.md. `bug_check` is 0. */
#define SP_FENCE_REFUSED 14

/* Bytes behind a verified block were overwritten. Found when it was freed, or by a sweep. */
#define SP_OVERRUN 15

/* Bytes before a guarded block were overwritten. Found when it was freed. */
#define SP_UNDERRUN 16

/* A verified block was written to after it was freed. Found when it left the quarantine. */
#define SP_WRITE_AFTER_FREE 17

/* A guard page beside a block was touched (`sp_explain_faults`). */
#define SP_ACCESS_BEYOND 18

/* A guarded block was touched after it was freed (`sp_explain_faults`). */
#define SP_ACCESS_FREED 19

/* An allocation above DISPATCH_LEVEL, under a rule with `irql`. */
#define SP_ALLOCATE_AT_IRQL 20

/* An allocation whose out pointer held the address of a live block, under a rule with `overwrite`. `bug_check` is 0. */
#define SP_OVERWRITTEN 21

/* None of these. */
#define SP_OTHER_VIOLATION 99

/* Nobody asked for one. */
#define SP_STACK_NOT_TRACKED 0

/* It is there. */
#define SP_STACK_TAKEN 1

/* The host has none to give. */
#define SP_STACK_NO_SOURCE 2

/* A handler called while the thread was taking another one. */
#define SP_STACK_LEFT_OUT 3

/* The table of call stacks is full: `sp_verifier_options.stacks`. */
#define SP_STACK_TABLE_FULL 4

/* The verifier has no note of the block any more: `sp_verifier_options.notes`. */
#define SP_STACK_FORGOTTEN 5

#ifdef __cplusplus
extern "C" {
#endif

/* Adds an adapter and returns its HwDeviceExtension: zeroed memory of its own, which `StorPortAllocatePool`
   and `StorPortFreePool` know. No other adapter gets this address while the pool lives. NULL on failure: the
   pool has as many adapters as it was made for, the pool's handles are used up, or 65535 extensions are in
   use, those of removed adapters among them until their pool ends; or there is no address space. PASSIVE.

   The caller promises:
   `pool` is NULL or a pool that lives; `name` is NULL or a string. */
void *sp_adapter_create(sp_pool *pool, const char *name, size_t extension_bytes);

/* Removes an adapter: returns how many blocks it had, after `leaks` (which may be NULL) heard of each tag. The
   blocks stay allocated, but no extension frees them; the extension's memory is gone. From the start of
   this call on, its calls get STOR_STATUS_INVALID_PARAMETER. SP_NO_ADAPTER: there is no such adapter. The
   numbers are exact if none of its allocations is under way (one may have blocks that it gives back, since it fails),
   unless `sp_usage.fence_refused` is set: docs/PROCESSES.md. PASSIVE.

   The caller promises:
   `leaks` may be called with `context`; nobody uses the extension's memory any more. */
size_t sp_adapter_remove(void *extension,
                         sp_leak_callback leaks,
                         void *context);

/* As `sp_adapter_remove`, and frees the blocks.

   The caller promises:
   As there; and nobody uses the blocks any more, nor is a free of one under way. */
size_t sp_adapter_release(void *extension, sp_leak_callback leaks, void *context);

/* The block that an address lies in, live or free; `block` may be NULL. False: there is none, and none was there since
   the memory was last given to blocks of another size; or the pool is NULL. Then `block` is left as it is. That is no
   failure: `sp_last_error` stays what it was.

   It says what was so when it looked; who has the block may rely on it. Bytes between `bytes` and `capacity` are the
   block's, but nobody asked for them. Any address, any IRQL. Loads only; it walks the extensions that the pool ever had,
   to find the owner's.

   The caller promises:
   `pool` is NULL or a pool that lives; `block` is NULL or may be written. */
sp_bool sp_block_at(const sp_pool *pool,
                    const void *address,
                    sp_block *block);

/* As `sp_allocate`, for an address that is a multiple of `alignment`: any power of two. Freed like any other block. It
   takes more of the range than its bytes: up to 32768 (4096 in pools below 8 MiB) a size that is a multiple of the
   alignment, above that whole spans. An alignment above a span, of 64 KiB (4 KiB in pools below 8 MiB), may be refused
   while as many bytes are free in a row, but not aligned.

   Statuses as there, and SP_STATUS_INVALID_PARAMETER for an alignment that is no power of two. `*block` is NULL after
   every failure. IRQL <= DISPATCH_LEVEL. Lock-free.

   The caller promises:
   `block` is NULL or may be written. */
uint32_t sp_allocate_aligned(void *extension,
                             uint32_t bytes,
                             uint32_t alignment,
                             uint32_t tag,
                             void **block);

/* Lets a block have `bytes` bytes from now on, where it is: fewer or more, as far as it has room (`sp_block.capacity`).
   What it held stays. Snapshots, violations and leaks name the new number.

   SP_STATUS_INSUFFICIENT_RESOURCES: no room for so many, or a block of whole spans (`capacity` above 32768, or 4096 in
   pools below 8 MiB) would have fewer or more of them. SP_STATUS_INVALID_PARAMETER: `bytes` is 0, or what `sp_free`
   refuses, which is a violation as there. Nothing has changed then. Other statuses as there. IRQL <= DISPATCH_LEVEL.
   Wait-free. */
uint32_t sp_resize(void *extension,
                   void *block,
                   uint32_t bytes);

/* Frees `count` blocks of one adapter: what StorPortFreePool does to each, in order. docs/BENCHMARKS.md says
   from how many blocks on that is faster. Returns how many were freed. `statuses[n]` is set to the status of
   `blocks[n]`; `statuses` may be NULL. A refused block changes nothing for the others. A block that stands
   there twice is freed once and refused once. NULL for `blocks` stands for `count` NULL pointers. The two
   arrays may be the same memory.

   IRQL <= DISPATCH_LEVEL. Bounded: `count` times the bound of StorPortFreePool, and a constant each.

   The caller promises:
   `blocks` is NULL or has `count` pointers, `statuses` is NULL or has room for as many, both aligned as C
   aligns them; nobody uses the blocks any more. */
size_t sp_free_bulk(void *extension, void *const *blocks, size_t count, uint32_t *statuses);

/* Allocates `count` blocks of `bytes` bytes, all or none, and returns one status for them, as StorPortAllocatePool
   does for one. After every failure all of `blocks` is NULL. Each block is freed alone or with others. `count` 0 is
   STOR_STATUS_SUCCESS, and nothing is looked at.

   IRQL <= DISPATCH_LEVEL. Lock-free.

   The caller promises:
   `blocks` is NULL, which is STOR_STATUS_INVALID_PARAMETER, or has room for `count` pointers. */
uint32_t sp_allocate_bulk(void *extension,
                          uint32_t bytes,
                          uint32_t tag,
                          void **blocks,
                          size_t count);

/* Says that this block will be freed soon: what StorPortFreePool will look at is drawn into the cache. It can pay where
   another CPU allocated the block, some hundred cycles before the free. Any address, any IRQL, no effect on any status. */
void sp_hint_free(void *extension,
                  void *block);

/* Why the calling thread's last call that can fail failed: a sentence, with the figures that matter. Empty when that
   call did not fail. The thread's next call of this function may overwrite it. Functions that can fail are those with
   the prefix `sp_` that return a pointer, a size, a rule's number or an sp_bool, but for those that allocate or free
   blocks, `sp_verifier_tick` and `sp_explain_fault`. The end of a snapshot's rows is no failure. */
const char *sp_last_error(void);

/* Does the work once to count its allocations, then once for each n with the n-th allocation refused
   (STOR_STATUS_INSUFFICIENT_RESOURCES, or NULL). `report` hears what each run left: blocks still allocated, a crash, a
   hang, violations. Allocations are counted in this adapter's name; NULL: in all adapters', and those of
   `ExAllocatePool2` and its kind. `options` may be NULL.

   Each run has a child process, which begins as a copy of this one with the calling thread alone, and ends by `_exit`.
   What other threads held when it began stays held there: a run that waits for that counts as hung. So call it while
   the process has no other threads, or none that hold what the work needs. What a run leaves in streams' buffers is not
   written. The callback of `sp_on_violation` hears of nothing while a run goes on. The pool gets a verifier, with call
   stacks, if it has none. Asks malloc for memory, and ends the process where there is none.

   True: all runs were made, and none has a finding. False: some have, some n were not tried, or it failed before the
   first run; `sp_last_error` says which. PASSIVE, one call at a time for a pool.

   The caller promises:
   `pool` is NULL or a pool that lives; `extension` is NULL or an address; `options` is NULL or points to options.
   `work` and `report` may be called with `context`. */
sp_bool sp_fail_each(sp_pool *pool,
                     void *extension,
                     const sp_fail_options *options,
                     sp_work_callback work,
                     void *context,
                     sp_fail_callback report);

/* Chooses the pool that serves `ExAllocatePool2` and its kind; NULL: none, until the next pool is made. Without a choice
   it is the oldest pool that lives and whose range this process can address; so it is when the one that served ends.
   A pool over a range that this process cannot address serves all but requests for zeroed memory, which get NULL.
   PASSIVE.

   The caller promises:
   `pool` is NULL or a pool that lives. */
void sp_set_system_pool(sp_pool *pool);

/* `ExAllocatePool2`: zeroed unless POOL_FLAG_UNINITIALIZED (0x2) is set. NULL: no memory, 0 bytes, tag 0, not exactly
   one kind of memory, an unknown flag of the low 32 bits, above DISPATCH_LEVEL, or paged above APC_LEVEL.
   POOL_FLAG_RAISE_ON_FAILURE is accepted, but there is no exception to raise. */
void *sp_ex_allocate_pool2(uint64_t flags,
                           size_t bytes,
                           uint32_t tag);

/* `ExAllocatePoolWithTag`: not zeroed, unless the type has POOL_ZERO_ALLOCATION (1024). NULL: no memory, 0 bytes, or a
   bad IRQL as above. */
void *sp_ex_allocate_pool_with_tag(uint32_t pool_type,
                                   size_t bytes,
                                   uint32_t tag);

/* `ExAllocatePoolZero`: zeroed. */
void *sp_ex_allocate_pool_zero(uint32_t pool_type, size_t bytes, uint32_t tag);

/* `ExFreePoolWithTag`: gives a block back; a tag of 0 is not compared. What changes nothing is a violation: what is no
   block of the system pool (NULL is none), another tag than the block's, a call above DISPATCH_LEVEL, or one while
   `sp_set_not_implemented` is set.

   The caller promises:
   Nobody uses the block any more. */
void sp_ex_free_pool_with_tag(void *block,
                              uint32_t tag);

/* `ExFreePool`: as `sp_ex_free_pool_with_tag` with tag 0.

   The caller promises:
   As there. */
void sp_ex_free_pool(void *block);

/* Makes a pool of up to so many bytes, 64 KiB to 64 GiB: reserved now, resident when touched. NULL on failure.
   PASSIVE. */
sp_pool *sp_pool_create(size_t reserve_bytes);

/* Makes a pool as the options say. NULL on failure. PASSIVE.

   The caller promises:
   `options` is NULL or points to options whose fields hold what their comments promise. */
sp_pool *sp_pool_create_with(const sp_options *options);

/* Bytes of metadata that a pool with these options needs, when the host supplies them; 0 on failure.

   The caller promises:
   `options` is NULL or points to options. */
size_t sp_metadata_bytes(const sp_options *options);

/* Ends a pool: tells the violation callback of the blocks left, gives the memory back, and the pool's
   extensions. Its faults are told no more. NULL does nothing. PASSIVE.

   The caller promises:
   `pool` is NULL or a pool that is not ended yet; no call with it or its extensions is under way or follows, and nobody
   touches its range. */
void sp_pool_destroy(sp_pool *pool);

/* The host's switch: while it is set, `StorPortAllocatePool` and `StorPortFreePool` answer
   STOR_STATUS_NOT_IMPLEMENTED, as on an old system or in dump mode. PASSIVE; one call at a time.

   The caller promises:
   `pool` is NULL or a pool that lives. */
void sp_set_not_implemented(sp_pool *pool, sp_bool set);

/* Writes the pool's metadata into a buffer of so many bytes, if it fits, and returns how many it takes: NULL and 0 just
   ask. 0: the pool is NULL. What the blocks hold is not in it; who has the range saves that. Asks for no memory. PASSIVE.

   The caller promises:
   `pool` is NULL or a pool that lives, and no other call of it is under way. `buffer` may be written, `bytes` bytes. */
size_t sp_pool_save(sp_pool *pool,
                    void *buffer,
                    size_t bytes);

/* Reads what `sp_pool_save` wrote, and checks it: whoever wrote the bytes, an image that was read leads no pool astray.
   NULL: they are no image, not whole, of another version of the library, or no pool has such metadata; or there is no
   memory. `sp_last_error` says which. PASSIVE.

   The caller promises:
   `bytes` may be read, `length` of them. */
sp_image *sp_image_read(const void *bytes,
                        size_t length);

/* Frees an image. NULL is allowed.

   The caller promises:
   `image` came from `sp_image_read`, and nobody uses it any more. */
void sp_image_free(sp_image *image);

/* Makes the pool what it was when the image was saved, or what another pool of the same geometry was; as often as one
   likes. False: NULL, or another geometry; nothing has changed then. PASSIVE.

   Where the range begins elsewhere, addresses move with it. Adapters that were made since are no more, but each has used up
   a handle of the pool's, and keeps one of the process's 65535 extensions until the pool ends. Those that were
   removed since live again, but an extension's memory stays gone. `sp_adapter_restored` gives an extension to one that has
   none. The host restores what the blocks hold. Callbacks and switches stay as they are.

   The caller promises:
   `pool` is NULL or a pool that lives, and no other call of it is under way; `image` is NULL or came from `sp_image_read`. */
sp_bool sp_pool_restore(sp_pool *pool,
                        const sp_image *image);

/* The extension of the live adapter with this name, the first one if several have it: for a pool that was restored from
   another one's image, whose adapters have none here. One that has none gets it, as by `sp_adapter_create`. NULL: there is
   no such adapter, or what that function says. PASSIVE; one call at a time.

   The caller promises:
   `pool` is NULL or a pool that lives; `name` is NULL or a string. */
void *sp_adapter_restored(sp_pool *pool,
                          const char *name,
                          size_t extension_bytes);

/* The block that an address lies in, and where it is; in a span without blocks, the large block, or the span. False: the
   address is outside of the range, or behind the last block of a slab; or the pool is NULL. Then `block`, which may be
   NULL, is left as it is. That is no failure: `sp_last_error` stays what it was.

   It says what was so when it looked, and is exact at rest. Any address, any IRQL; asks for no memory. Loads only, at most
   one for each 64 magazines of the pool, two for each CPU, and one for each entry of the magazines with blocks of this size,
   and the extensions that the pool ever had. `sp_block_at` takes fewer, and does not say where a free block is.

   The caller promises:
   `pool` is NULL or a pool that lives; `block` is NULL or may be written. */
sp_bool sp_inspect_block(const sp_pool *pool,
                         const void *address,
                         sp_block_detail *block);

/* Tells `each` of all blocks that lie in the page of 4096 bytes of an address, if only in part, in the order of their
   addresses. Returns where the page begins; NULL: outside of the range, or the pool is NULL, and `each` hears nothing. A page
   of a large block has that one; a page of a span without blocks has one, the span; one at a slab's end may have none.
   As exact as `sp_inspect_block`, at the same IRQL, and as long; takes some 4 KiB of stack. `each` may be NULL.

   The caller promises:
   `pool` is NULL or a pool that lives; `each` may be called with `context`. */
void *sp_inspect_page(const sp_pool *pool,
                      const void *address,
                      sp_block_callback each,
                      void *context);

/* Tells `each` of all live blocks whose tags match, in the order of their addresses, and returns how many there are. In
   `tags`, `?` stands for any character and `*` for any number of them; spaces at a tag's end count as nothing. `*` alone
   matches blocks whose tag is not known, too. 0: there is none; or the pool is NULL, or `tags` is NULL, empty, longer
   than 16, or not printable, which `sp_last_error` says.

   Exact at rest. Each block was live when it was looked at; one that lives all the while is told of, once, unless its
   adapter is removed meanwhile. `each` may be NULL. PASSIVE; walks all blocks; asks for no memory.

   The caller promises:
   `pool` is NULL or a pool that lives; `tags` is NULL or a string; `each` may be called with `context`. */
uint64_t sp_for_each_block_of(const sp_pool *pool,
                              const char *tags,
                              sp_block_callback each,
                              void *context);

/* Looks at all of the metadata: whether each block, magazine and span is in one place, and each word is one that a pool
   writes. Tells `each`, which may be NULL, of what is wrong, 1000 things at most, and fills `check`, which may be NULL.
   False: the pool is NULL, or malloc has no memory for a copy of the metadata; nothing was looked at then.

   It may be called at any time, stops nobody, and gives no false alarm: it copies the metadata until two copies in a row are
   the same. If calls are under way all the while, it tells less: `sp_check.settled`. What calls have in hand is no
   fault. It knows nothing of what the blocks hold. PASSIVE; O(what is in use).

   The caller promises:
   `pool` is NULL or a pool that lives; `each` may be called with `context`; `check` is NULL or may be written. */
sp_bool sp_pool_check(const sp_pool *pool,
                      sp_finding_callback each,
                      void *context,
                      sp_check *check);

/* The caller's level, as the system pool's calls see it: the thread's, or what the host's `irql` says if that is
   higher. Without a system pool: the thread's. */
uint8_t sp_current_irql(void);

/* Raises the calling thread's IRQL; a lower level than the present one changes nothing, and one above 15 counts
   as 15. Returns the level before, as `sp_current_irql` does. For a pool with a host's `irql` the higher of both
   counts. */
uint8_t sp_raise_irql(uint8_t to);

/* Lowers the calling thread's IRQL; a higher level than the present one changes nothing. What a host's `irql` says
   is the host's to lower. */
void sp_lower_irql(uint8_t to);

/* Records the pool's calls in a file, until `sp_record_finish`: the allocations of an adapter (NULL: of all) with tags that
   match (NULL: all; `*` stands for any characters, `?` for one), and the frees of what they gave. `storport-pool replay`
   runs the file. The pool has a verifier (`sp_verifier_attach`). One recording at a time. Each call that is recorded takes
   the slow way. A thread writes the file; it asks for memory, and ends the process where there is none. NULL on failure.
   PASSIVE.

   The caller promises:
   `pool` is NULL or a pool that lives until the recording is finished; `extension` is NULL or any pointer; `tags` is NULL or
   a string; `path` is a string. */
sp_recording *sp_record_start(const sp_pool *pool,
                              void *extension,
                              const char *tags,
                              const char *path);

/* Ends a recording, and says what it has; `recorded` may be NULL. False: the recording is NULL, or the file could not be
   written; it is a torn one then. Either way the recording is no more. PASSIVE.

   The caller promises:
   `recording` is NULL or one that is not finished, whose pool lives; `recorded` is NULL or may be written. */
sp_bool sp_record_finish(sp_recording *recording,
                         sp_recorded *recorded);

/* Takes a picture: exact when nothing is in flight, safe at any time. NULL where `pool` is NULL, or without
   memory. PASSIVE; walks the pool. `sp_pool_usage` gives the sums alone, and asks for no memory.

   The caller promises:
   `pool` is NULL or a pool that lives. */
sp_snapshot *sp_snapshot_take(const sp_pool *pool);

/* The next tag's row, in the order of the tags' characters. False: there is none.

   The caller promises:
   `snapshot` is NULL or a picture that is not given back; `row` may be written. */
sp_bool sp_snapshot_next_tag(sp_snapshot *snapshot, sp_row *row);

/* The next row of an adapter and tag. False: there is none.

   The caller promises:
   As `sp_snapshot_next_tag`. */
sp_bool sp_snapshot_next_account(sp_snapshot *snapshot, sp_row *row);

/* The next size of blocks, from the smallest up; those without slabs are left out. False: there is none.

   The caller promises:
   As `sp_snapshot_next_tag`. */
sp_bool sp_snapshot_next_class(sp_snapshot *snapshot, sp_class_row *row);

/* The next CPU's cache, by its number. False: there is none.

   The caller promises:
   As `sp_snapshot_next_tag`. */
sp_bool sp_snapshot_next_cpu(sp_snapshot *snapshot, sp_cpu_row *row);

/* Gives a picture back. NULL does nothing.

   The caller promises:
   `snapshot` is NULL or a picture that is not given back yet. */
void sp_snapshot_free(sp_snapshot *snapshot);

/* `StorPortAllocatePool`: a block of `bytes` bytes, not zeroed, aligned to 16, and to a page from a page up; blocks of
   up to a page cross no page boundary. `*block` is NULL after every failure. IRQL <= DISPATCH_LEVEL. Lock-free.
   Statuses: README.md, "What it guarantees".

   The caller promises:
   `block` is NULL or may be written. */
uint32_t sp_allocate(void *extension,
                     uint32_t bytes,
                     uint32_t tag,
                     void **block);

/* `StorPortFreePool`: gives a block back. Any address may be passed; a bad one changes nothing. IRQL <= DISPATCH_LEVEL.
   Wait-free.

   The caller promises:
   Nobody uses the block any more. */
uint32_t sp_free(void *extension,
                 void *block);

/* As `sp_free`, but a live block of another tag is refused with SP_STATUS_INVALID_PARAMETER, and is a violation. Not
   exact against others that free the block at the same time: the free then decides. Wait-free.

   The caller promises:
   As `sp_free`. */
uint32_t sp_free_with_tag(void *extension,
                          void *block,
                          uint32_t tag);

/* Returns empty slabs to the common stock, and the memory of free spans to the operating system; `trimmed` may be
   NULL. A resident pool, and one over a range of the host's, gives no memory back. False: the pool is NULL, or another
   trim is under way; nothing was done. PASSIVE.

   The caller promises:
   `pool` is NULL or a pool that lives; `trimmed` is NULL or may be written. */
sp_bool sp_pool_trim(sp_pool *pool,
                     sp_trimmed *trimmed);

/* A pool's sums, as a snapshot would give them. Asks for no memory. False: the pool is NULL. Exact when nothing is in
   flight, safe at any time. PASSIVE; walks the pool.

   The caller promises:
   `pool` is NULL or a pool that lives; `usage` may be written. */
sp_bool sp_pool_usage(const sp_pool *pool,
                      sp_usage *usage);

/* Copies the name of a live adapter, at most 32 bytes and a 0, cut where there is no room. False: there is no such
   adapter. Lock-free.

   The caller promises:
   `name` may be written, `bytes` bytes. */
sp_bool sp_adapter_name(void *extension,
                        char *name,
                        size_t bytes);

/* CPUs that this machine may ever have online, at most 512: what `sp_options.cpus` 0 stands for. */
uint32_t sp_possible_cpus(void);

/* Gives the pool a verifier: special pool, pool tracking and low resources simulation, as Driver Verifier has them. What no
   rule is for costs nothing. A pool has one until it ends: if it has one already, that stays, whatever the options. `options`
   may be NULL. False: the pool is NULL, a bad size, or there is no address space. PASSIVE.

   Over a range of the host's (`sp_options.range`) there are call stacks, quarantine and low resources alone: no bytes are
   checked, and no pages protected.

   The caller promises:
   `pool` is NULL or a pool that lives; `options` is NULL or points to options. */
sp_bool sp_verifier_attach(sp_pool *pool,
                           const sp_verifier_options *options);

/* Adds a rule, and returns its number. It holds for all allocations that begin afterwards. 0: the pool or the rule is NULL,
   there is no verifier, a field is bad, the rule does nothing, there are 32 rules already, or another call changes rules.
   PASSIVE.

   The caller promises:
   `pool` is NULL or a pool that lives; `rule` is NULL or a rule whose fields hold what their comments say. */
uint64_t sp_verifier_add(sp_pool *pool,
                         const sp_rule *rule);

/* Verifies as a text says: one rule or more, with `;` between, each of words with spaces or commas between. The verifier is
   attached if there is none yet, with default options. All rules are added, or none. False: `sp_last_error` names the word
   that is wrong. PASSIVE.

       tags=Vio* special=after; probability=600 after=1000

   The words: adapter=any (the default); tags=Vio*; special, special=after or special=before; all; canary; track;
   quarantine; irql; overwrite; probability=600; every=10; only=3; after=1000; once-per-stack; seed=7. `sp_rule` says what
   each means; `all` is special, irql, and what comes with special.

   The caller promises:
   `pool` is NULL or a pool that lives; `rules` is NULL or a string. */
sp_bool sp_verify(sp_pool *pool,
                  const char *rules);

/* Takes a rule away. Blocks that were allocated under it stay verified until they are freed. False: there is no such rule,
   or another call changes rules. PASSIVE.

   The caller promises:
   `pool` is NULL or a pool that lives. */
sp_bool sp_verifier_remove(sp_pool *pool,
                           uint64_t rule);

/* What a rule has done. False: there is no such rule. PASSIVE.

   The caller promises:
   `pool` is NULL or a pool that lives; `counts` is NULL or may be written. */
sp_bool sp_verifier_rule_counts(sp_pool *pool, uint64_t rule, sp_rule_counts *counts);

/* Makes one in so many allocations a guarded one, of any adapter and tag; 0: none. At most `most` samples are guarded at once;
   the others have a canary. `sp_verifier_tick` arms each. False: there is no verifier. PASSIVE.

   The caller promises:
   `pool` is NULL or a pool that lives. */
sp_bool sp_verifier_sample(sp_pool *pool,
                           uint64_t every,
                           uint32_t most);

/* Arms a sample if it is time: whether one was. Call it from a timer, some ten times a second. IRQL <= DISPATCH_LEVEL, not from
   a handler that interrupts the pool's calls. It says nothing to `sp_last_error`.

   The caller promises:
   `pool` is NULL or a pool that lives. */
sp_bool sp_verifier_tick(sp_pool *pool);

/* Looks behind all live blocks with a canary, and at all that wait in the quarantine, which leave it. `swept` may be NULL.
   False: there is no verifier. PASSIVE; walks the pool.

   The caller promises:
   `pool` is NULL or a pool that lives; `swept` is NULL or may be written. */
sp_bool sp_verifier_sweep(sp_pool *pool,
                          sp_swept *swept);

/* What the pool's verifier has done. False: there is none. PASSIVE.

   The caller promises:
   `pool` is NULL or a pool that lives; `counts` is NULL or may be written. */
sp_bool sp_verifier_stats(sp_pool *pool, sp_verifier_counts *counts);

/* What a fault (an access that the processor refused) at this address means: a guard page beside a block, or a guarded block
   that was freed. Calls `callback` with it, on this thread, and returns 1. 0: no guarded block is there, and none was. For a
   host's fault handler: any IRQL, loads only. It is not counted, and says nothing to `sp_last_error`.

   The caller promises:
   `pool` is NULL or a pool that lives. `callback` may be called with `context`. */
sp_bool sp_explain_fault(const sp_pool *pool,
                         uint64_t address,
                         sp_violation_callback callback,
                         void *context);

/* From now on, a fault at a guarded block of this pool is told to its violation callback, in the handler of SIGSEGV or SIGBUS,
   before the process does what it would have done without: as a rule, it ends. Other faults go where they went. Until the
   pool ends; for up to eight pools at once. The callback must then be fit for a signal handler: it may write and end the
   process, it must not allocate or lock. False: the system refused the handler, or there are eight pools. PASSIVE.

   The caller promises:
   `pool` is NULL or a pool that lives. Nobody touches its range while it ends. */
sp_bool sp_explain_faults(sp_pool *pool);

/* Who hears of violations of this pool from now on; NULL: nobody. PASSIVE. Nothing is kept of the callback before,
   which may still be running in another thread. At most seven threads may call this for one pool at a time.

   The caller promises:
   `pool` is NULL or a pool that lives. `callback` may be called with `context` from any thread, at any IRQL, until
   the pool ends. */
void sp_on_violation(sp_pool *pool,
                     sp_violation_callback callback,
                     void *context);

/* Makes a watch: a file of mode 0600, with room for a picture of 256 KiB, twice. What is at the path stays, unless it is
   the watch of a process that has ended; then this fails. NULL as path: where `storport-pool poolmon --pid` looks for it,
   $XDG_RUNTIME_DIR/storport-pool/PID.watch, or /tmp/storport-pool-UID/PID.watch; without memory that may end the process,
   where other paths fail. NULL on failure. Linux only. PASSIVE.

   The caller promises:
   `path` is NULL or a string. */
sp_watch *sp_watch_create(const char *path);

/* Writes a picture of the pool into the watch. It waits for no reader. Call it from time to time, from a thread that has
   it as its task: ten times a second, say. It takes as long as a snapshot and a write to a file. False: `watch` or `pool` is
   NULL, there is no memory, the file system is full, or this is a forked child of the process that made the watch; then the
   picture before stays, and the next one counts what was missed. The violations of `ExFreePool` and its kind are not in
   the picture. PASSIVE; one call for a watch at a time.

   The caller promises:
   `watch` is NULL or a watch that is not closed, `pool` is NULL or a pool that lives. */
sp_bool sp_watch_publish(sp_watch *watch,
                         const sp_pool *pool);

/* Ends a watch: its readers are told, and the file is removed. In a forked child of the process that made it, the file
   stays as it is. NULL does nothing. The pool may have ended before. PASSIVE.

   The caller promises:
   `watch` is NULL or a watch that is not closed yet. */
void sp_watch_close(sp_watch *watch);

#ifdef __cplusplus
}
#endif

#endif  /* STORPORT_POOL_H */

/* The driver kit's names, for programs that have no kit. They are left out where a kit has them: where one of its
   headers was included before, and where its header is on the include path, in whatever order it is included. Define
   SP_KIT to have them all the same. Define SP_NO_KIT to have none; SP_NO_KIT_TYPES, SP_NO_STORPORT or SP_NO_EXECUTIVE
   leaves out one part. This half of the file is read at each inclusion, so that a later one may ask for more. */
#undef SP_KIT_HAS_TYPES
#undef SP_KIT_HAS_STORPORT
#undef SP_KIT_HAS_EXECUTIVE
#if defined(__has_include) && !defined(SP_KIT)
#if __has_include(<windef.h>) || __has_include(<ntdef.h>)
#define SP_KIT_HAS_TYPES
#endif
#if __has_include(<storport.h>)
#define SP_KIT_HAS_STORPORT
#endif
#if __has_include(<wdm.h>) || __has_include(<ntddk.h>) || __has_include(<ddk/wdm.h>)
#define SP_KIT_HAS_EXECUTIVE
#endif
#endif
#if defined(_NTDEF_) || defined(_WINNT_) || defined(_WINDEF_) || defined(_MINWINDEF_) || defined(SP_NO_KIT_TYPES)
#define SP_KIT_HAS_TYPES
#endif
#if defined(_NTSTORP_) || defined(_NTSTORPORT_) || defined(SP_NO_STORPORT)
#define SP_KIT_HAS_STORPORT
#endif
#if defined(_WDMDDK_) || defined(_NTDDK_) || defined(_NTIFS_) || defined(SP_NO_EXECUTIVE)
#define SP_KIT_HAS_EXECUTIVE
#endif

#if defined(__cplusplus) || (defined(__STDC_VERSION__) && __STDC_VERSION__ >= 199901L)
#define SP_INLINE static inline
#elif defined(__GNUC__) || defined(_MSC_VER)
#define SP_INLINE static __inline
#else
#define SP_INLINE static
#endif

/* Types. ULONG has 32 bits everywhere. */
#if !defined(SP_NO_KIT) && !defined(SP_KIT_HAS_TYPES) && !defined(SP_HAS_KIT_TYPES)
#define SP_HAS_KIT_TYPES
typedef uint32_t ULONG;
typedef size_t SIZE_T;
typedef void *PVOID;
#ifndef NT_SUCCESS
#define NT_SUCCESS(Status) (((int32_t)(Status)) >= 0)
#endif
#endif
#if !defined(SP_NO_KIT) && !defined(SP_KIT_HAS_EXECUTIVE) && !defined(SP_NO_KIT_TYPES) && !defined(SP_HAS_KIRQL)
#define SP_HAS_KIRQL
typedef uint64_t POOL_FLAGS;
typedef uint32_t POOL_TYPE;
typedef uint8_t KIRQL, *PKIRQL;
#endif

/* Storport's statuses. */
#if !defined(SP_NO_KIT) && (!defined(SP_KIT_HAS_STORPORT) || defined(SP_KIT)) && !defined(STOR_STATUS_SUCCESS)
#define STOR_STATUS_SUCCESS ((uint32_t)0x00000000)
#define STOR_STATUS_UNSUCCESSFUL ((uint32_t)0xC1000001u)
#define STOR_STATUS_NOT_IMPLEMENTED ((uint32_t)0xC1000002u)
#define STOR_STATUS_INSUFFICIENT_RESOURCES ((uint32_t)0xC1000003u)
#define STOR_STATUS_BUFFER_TOO_SMALL ((uint32_t)0xC1000004u)
#define STOR_STATUS_ACCESS_DENIED ((uint32_t)0xC1000005u)
#define STOR_STATUS_INVALID_PARAMETER ((uint32_t)0xC1000006u)
#define STOR_STATUS_INVALID_DEVICE_REQUEST ((uint32_t)0xC1000007u)
#define STOR_STATUS_INVALID_IRQL ((uint32_t)0xC1000008u)
#define STOR_STATUS_INVALID_DEVICE_STATE ((uint32_t)0xC1000009u)
#define STOR_STATUS_INVALID_BUFFER_SIZE ((uint32_t)0xC100000Au)
#define STOR_STATUS_UNSUPPORTED_VERSION ((uint32_t)0xC100000Bu)
#define STOR_STATUS_BUSY ((uint32_t)0xC100000Cu)
#endif

/* Storport's routines. Statuses, IRQL and bounds: README.md, "What it guarantees". */
#if !defined(SP_NO_KIT) && !defined(SP_KIT_HAS_STORPORT) && !defined(SP_HAS_STORPORT)
#define SP_HAS_STORPORT
/* Function codes of StorPortExtendedFunction that are implemented; others get STOR_STATUS_NOT_IMPLEMENTED. */
enum { ExtFunctionAllocatePool = 0, ExtFunctionFreePool = 1 };

/* A block of NumberOfBytes bytes, not zeroed, aligned to 16, and to a page from a page up; blocks of up to a page
   cross no page boundary. *BufferPointer is NULL after every failure. IRQL <= DISPATCH_LEVEL. Lock-free. */
SP_INLINE uint32_t StorPortAllocatePool(void *HwDeviceExtension, uint32_t NumberOfBytes, uint32_t Tag,
                                        void **BufferPointer)
{
    return sp_allocate(HwDeviceExtension, NumberOfBytes, Tag, BufferPointer);
}

/* Gives a block back. Any address may be passed; a bad one changes nothing. IRQL <= DISPATCH_LEVEL. Wait-free. */
SP_INLINE uint32_t StorPortFreePool(void *HwDeviceExtension, void *BufferPointer)
{
    return sp_free(HwDeviceExtension, BufferPointer);
}

/* Either of them, by its code: (ULONG bytes, ULONG tag, PVOID *out), or (PVOID block). */
#define StorPortExtendedFunction sp_extended_function
#endif

/* The tagged pool and the IRQL. Blocks belong to the system pool (sp_set_system_pool). */
#if !defined(SP_NO_KIT) && !defined(SP_KIT_HAS_EXECUTIVE) && !defined(SP_HAS_EXECUTIVE)
#define SP_HAS_EXECUTIVE
#ifndef PASSIVE_LEVEL
#define PASSIVE_LEVEL 0
#define APC_LEVEL 1
#define DISPATCH_LEVEL 2
#define CLOCK_LEVEL 13
#define IPI_LEVEL 14
#define HIGH_LEVEL 15
#endif

#define POOL_FLAG_USE_QUOTA ((uint64_t)0x1)
#define POOL_FLAG_UNINITIALIZED ((uint64_t)0x2)
#define POOL_FLAG_CACHE_ALIGNED ((uint64_t)0x8)
#define POOL_FLAG_RAISE_ON_FAILURE ((uint64_t)0x20)
#define POOL_FLAG_NON_PAGED ((uint64_t)0x40)
#define POOL_FLAG_NON_PAGED_EXECUTE ((uint64_t)0x80)
#define POOL_FLAG_PAGED ((uint64_t)0x100)

#define NonPagedPool 0
#define PagedPool 1
#define NonPagedPoolCacheAligned 4
#define PagedPoolCacheAligned 5
#define NonPagedPoolNx 512
#define NonPagedPoolNxCacheAligned 516
#define POOL_ZERO_ALLOCATION 1024

/* Zeroed unless POOL_FLAG_UNINITIALIZED is set. NULL: no memory, 0 bytes, tag 0, not exactly one kind of memory,
   a flag of the low 32 bits that is not listed above, above DISPATCH_LEVEL, or paged above APC_LEVEL.
   POOL_FLAG_RAISE_ON_FAILURE is accepted, but there is no exception to raise. */
SP_INLINE void *ExAllocatePool2(uint64_t Flags, size_t NumberOfBytes, uint32_t Tag)
{
    return sp_ex_allocate_pool2(Flags, NumberOfBytes, Tag);
}

/* Not zeroed, unless the type has POOL_ZERO_ALLOCATION. NULL: no memory, 0 bytes, or a bad IRQL as above. */
SP_INLINE void *ExAllocatePoolWithTag(uint32_t PoolType, size_t NumberOfBytes, uint32_t Tag)
{
    return sp_ex_allocate_pool_with_tag(PoolType, NumberOfBytes, Tag);
}

/* Zeroed. */
SP_INLINE void *ExAllocatePoolZero(uint32_t PoolType, size_t NumberOfBytes, uint32_t Tag)
{
    return sp_ex_allocate_pool_zero(PoolType, NumberOfBytes, Tag);
}

/* Gives a block back. What changes nothing is a violation: what is no block of the system pool (NULL is none), another
   tag than the block's (unless that passed is 0), a call above DISPATCH_LEVEL, or one while sp_set_not_implemented is
   set. */
SP_INLINE void ExFreePool(void *P)
{
    sp_ex_free_pool(P);
}

SP_INLINE void ExFreePoolWithTag(void *P, uint32_t Tag)
{
    sp_ex_free_pool_with_tag(P, Tag);
}

/* The caller's IRQL, as sp_current_irql, sp_raise_irql and sp_lower_irql. */
SP_INLINE uint8_t KeGetCurrentIrql(void)
{
    return sp_current_irql();
}

SP_INLINE void KeRaiseIrql(uint8_t NewIrql, uint8_t *OldIrql)
{
    *OldIrql = sp_raise_irql(NewIrql);
}

SP_INLINE void KeLowerIrql(uint8_t NewIrql)
{
    sp_lower_irql(NewIrql);
}
#endif
