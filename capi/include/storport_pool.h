#ifndef STORPORT_POOL_H
#define STORPORT_POOL_H

/* Made by cbindgen from capi/src and capi/kit.h. Do not edit. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/* The driver kit's types, unless its own headers were included before, or SP_NO_KIT_TYPES is defined. */
#if !defined(SP_NO_KIT_TYPES) && !defined(_NTDEF_) && !defined(_WINNT_) && !defined(_WINDEF_)
typedef uint32_t ULONG;
typedef uint64_t POOL_FLAGS;
typedef uint32_t POOL_TYPE;
typedef size_t SIZE_T;
typedef void *PVOID;
typedef uint8_t KIRQL, *PKIRQL;
#endif
/* ULONG has 32 bits everywhere. */
typedef char sp_ulong_has_32_bits[sizeof(ULONG) == 4 ? 1 : -1];

#ifndef NT_SUCCESS
#define NT_SUCCESS(Status) (((int32_t)(Status)) >= 0)
#endif

#ifndef STOR_STATUS_SUCCESS
#define STOR_STATUS_SUCCESS ((ULONG)0x00000000)
#define STOR_STATUS_UNSUCCESSFUL ((ULONG)0xC1000001)
#define STOR_STATUS_NOT_IMPLEMENTED ((ULONG)0xC1000002)
#define STOR_STATUS_INSUFFICIENT_RESOURCES ((ULONG)0xC1000003)
#define STOR_STATUS_BUFFER_TOO_SMALL ((ULONG)0xC1000004)
#define STOR_STATUS_ACCESS_DENIED ((ULONG)0xC1000005)
#define STOR_STATUS_INVALID_PARAMETER ((ULONG)0xC1000006)
#define STOR_STATUS_INVALID_DEVICE_REQUEST ((ULONG)0xC1000007)
#define STOR_STATUS_INVALID_IRQL ((ULONG)0xC1000008)
#define STOR_STATUS_INVALID_DEVICE_STATE ((ULONG)0xC1000009)
#define STOR_STATUS_INVALID_BUFFER_SIZE ((ULONG)0xC100000A)
#define STOR_STATUS_UNSUPPORTED_VERSION ((ULONG)0xC100000B)
#define STOR_STATUS_BUSY ((ULONG)0xC100000C)
#endif

#ifndef PASSIVE_LEVEL
#define PASSIVE_LEVEL 0
#define APC_LEVEL 1
#define DISPATCH_LEVEL 2
#define CLOCK_LEVEL 13
#define IPI_LEVEL 14
#define HIGH_LEVEL 15
#endif

/* A pool tag, written forwards: SP_TAG('A', 'h', 'c', 'i') shows as "Ahci". */
#define SP_TAG(a, b, c, d) \
    ((ULONG)(a) | (ULONG)(b) << 8 | (ULONG)(c) << 16 | (ULONG)(d) << 24)

/* What sp_adapter_remove and sp_adapter_release return for what is no extension of a live adapter. */
#define SP_NO_ADAPTER ((size_t)-1)

#ifdef __cplusplus
extern "C" {
#endif

/* Storport's routines, unless its header was included before, which has them inline over
   StorPortExtendedFunction, or SP_NO_STORPORT is defined.
   Statuses, IRQL and bounds: README.md, "What it guarantees". */
#if !defined(SP_NO_STORPORT) && !defined(_NTSTORP_) && !defined(_NTSTORPORT_)
/* Function codes of StorPortExtendedFunction that are implemented; others get STOR_STATUS_NOT_IMPLEMENTED. */
enum { ExtFunctionAllocatePool = 0, ExtFunctionFreePool = 1 };

/* A block of NumberOfBytes bytes, not zeroed, aligned to 16, and to a page from a page up; blocks of up to a page
   cross no page boundary. *BufferPointer is NULL after every failure. IRQL <= DISPATCH_LEVEL. Lock-free. */
ULONG StorPortAllocatePool(PVOID HwDeviceExtension, ULONG NumberOfBytes, ULONG Tag, PVOID *BufferPointer);
/* Gives a block back. Any address may be passed; a bad one changes nothing. IRQL <= DISPATCH_LEVEL. Wait-free. */
ULONG StorPortFreePool(PVOID HwDeviceExtension, PVOID BufferPointer);
/* Either of them, by its code: (ULONG bytes, ULONG tag, PVOID *out), or (PVOID block). */
ULONG StorPortExtendedFunction(ULONG FunctionCode, PVOID HwDeviceExtension, ...);
#endif

/* The tagged pool and the IRQL under their own names, unless wdm.h or ntddk.h was included before, or
   SP_NO_EXECUTIVE is defined. Blocks belong to the system pool (sp_set_system_pool). */
#if !defined(SP_NO_EXECUTIVE) && !defined(_WDMDDK_) && !defined(_NTDDK_)
#define POOL_FLAG_USE_QUOTA 0x1ULL
#define POOL_FLAG_UNINITIALIZED 0x2ULL
#define POOL_FLAG_CACHE_ALIGNED 0x8ULL
#define POOL_FLAG_RAISE_ON_FAILURE 0x20ULL
#define POOL_FLAG_NON_PAGED 0x40ULL
#define POOL_FLAG_NON_PAGED_EXECUTE 0x80ULL
#define POOL_FLAG_PAGED 0x100ULL

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
PVOID ExAllocatePool2(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag);
/* Not zeroed, unless the type has POOL_ZERO_ALLOCATION. NULL: no memory, 0 bytes, or a bad IRQL as above. */
PVOID ExAllocatePoolWithTag(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag);
/* Zeroed. */
PVOID ExAllocatePoolZero(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag);
/* Gives a block back. What is no block of the system pool changes nothing, and is a violation (NULL is none), as is
   another tag than the block's, unless that passed is 0. IRQL <= DISPATCH_LEVEL: above, nothing happens. */
void ExFreePool(PVOID P);
void ExFreePoolWithTag(PVOID P, ULONG Tag);

/* The calling thread's IRQL, as sp_raise_irql and sp_lower_irql. */
KIRQL KeGetCurrentIrql(void);
void KeRaiseIrql(KIRQL NewIrql, PKIRQL OldIrql);
void KeLowerIrql(KIRQL NewIrql);
#endif

#ifdef __cplusplus
}
#endif


// What the caller did wrong. More may come.
typedef enum {
    // The block was freed already.
    SP_DOUBLE_FREE = 1,
    // The address lies in the pool, but no block is there.
    SP_WILD_FREE = 2,
    // The address lies outside the pool.
    SP_FOREIGN_FREE = 3,
    // The address lies inside a live block.
    SP_INTERIOR_FREE = 4,
    // The block belongs to another adapter.
    SP_WRONG_OWNER = 5,
    // The block has another tag than the one passed.
    SP_WRONG_TAG = 6,
    // Blocks were left when their adapter was removed, or their pool ended.
    SP_LEAK = 7,
    // A request for zero bytes.
    SP_ZERO_SIZE = 8,
    // The tag is 0 (strict tags only).
    SP_ZERO_TAG = 9,
    // The tag is "BIG" (strict tags only).
    SP_BIG_TAG = 10,
    // The tag has no letter and no digit (strict tags only).
    SP_UNREADABLE_TAG = 11,
    // None of these.
    SP_OTHER_VIOLATION = 99,
} sp_violation_kind;

// A pool.
typedef struct sp_pool sp_pool;

// A picture of a pool's tags and accounts.
typedef struct sp_snapshot sp_snapshot;

// Hears of the blocks of one tag that an adapter left. It must not unwind.
typedef void (*sp_leak_callback)(void *context, ULONG tag, uint64_t blocks, uint64_t bytes);

// The number of the CPU that the caller runs on. Any IRQL. Without `mask`, a wrong answer costs speed, never memory
// safety. With `mask`, it must be right between `mask` and `unmask`: two CPUs that share a number get the same blocks.
typedef uint32_t (*sp_cpu_callback)(void *context);

// The caller's IRQL.
typedef KIRQL (*sp_irql_callback)(void *context);

// Masks interrupts on the caller's CPU (or raises to DISPATCH), nesting; what it returns is handed to the
// function that restores.
typedef size_t (*sp_mask_callback)(void *context);

// Restores what the masking function found.
typedef void (*sp_unmask_callback)(void *context, size_t state);

// Returns when every masked section that began on that CPU before the call has ended, as an inter-processor
// interrupt would see to. Called by allocate's slowest path and by host functions, never by free.
typedef void (*sp_fence_callback)(void *context, uint32_t cpu);

// How to make a pool. Fill it with 0, set `size`, and then what shall differ.
typedef struct {
    // Must be `sizeof(sp_options)`: tells versions apart.
    size_t size;
    // Bytes of the range that the pool hands out.
    size_t range_bytes;
    // Where the range begins. 0: the pool gets its memory from the operating system. Else the pool never
    // touches it, so it may be a guest's; then `metadata` must be given too.
    uint64_t range;
    // Memory for the pool's own use: zeroed, aligned to 4096, `sp_metadata_bytes` long, unused by others while
    // the pool lives. NULL, with `range` 0: from the operating system.
    void *metadata;
    // Bytes of it.
    size_t metadata_bytes;
    // How many CPUs have a cache, 1 to 512. 0: all of this machine, or 1 with functions of the host.
    uint32_t cpus;
    // How many pairs of adapter and tag are told apart, a power of two from 16 to 32768. 0: one to each 256 KiB of
    // the range, but at least 64 and at most 1024.
    uint32_t accounts;
    // How many adapters may live at once, 1 to 1022; one more is the pool's own. 0: a quarter
    // of the default number of accounts, but at most 64.
    uint32_t adapters;
    // The smallest block, a power of two from 16 to 4096. 0: 16.
    uint32_t min_block;
    // Refuse tags that Windows 1903 and later refuse.
    bool strict_tags;
    // Make memory of the operating system resident at once.
    bool resident;
    // Without functions of the host: commit by two atomic operations, not by restartable sequences.
    bool portable;
    // The CPU's number. NULL, with `irql`: the operating system's threads.
    sp_cpu_callback cpu;
    // The caller's IRQL. NULL: what `sp_raise_irql` made it.
    sp_irql_callback irql;
    // Masks interrupts. NULL, with the next two: two atomic operations a call instead.
    sp_mask_callback mask;
    // Restores what `mask` found.
    sp_unmask_callback unmask;
    // Waits for a CPU's masked sections.
    sp_fence_callback fence;
    // Handed to each of these functions. They may be called from any thread, at any IRQL.
    void *context;
} sp_options;

// The sums of a tag, or of an adapter's tag.
typedef struct {
    // The tag; of an adapter's row 0 for all tags that found no account of their own.
    ULONG tag;
    // It as PoolMon shows it, and a 0.
    char text[5];
    // The adapter's extension; NULL in rows of tags, and for what no extension owns.
    PVOID extension;
    // Blocks that were allocated, ever.
    uint64_t allocs;
    // Blocks that were freed, ever.
    uint64_t frees;
    // Blocks that are allocated now.
    uint64_t live;
    // Bytes that were requested for the live blocks.
    uint64_t bytes;
    // Bytes of the range that the live blocks take.
    uint64_t bytes_occupied;
} sp_row;

// One misuse. The pool's state is intact when the callback runs.
typedef struct {
    // What was done.
    sp_violation_kind kind;
    // The level at which the call was made.
    KIRQL irql;
    // The tag of the block (its last one, when it is free now), or of the refused allocation; 0: none.
    ULONG tag;
    // The tag that was passed to free, where that takes one; else 0.
    ULONG given_tag;
    // The address that was passed to free; else NULL.
    PVOID address;
    // Bytes that were requested: of the block, of the refused allocation, or of all blocks left behind.
    uint64_t bytes;
    // How many blocks were left behind; else 0.
    uint64_t blocks;
    // The extension of the adapter that owns the block, or owned it last; NULL where none is known, and for
    // blocks of `ExAllocatePool2` and its kind.
    PVOID owner;
    // The extension in whose name the call was made.
    PVOID caller;
    // The Windows bug check that this stands for, and its four parameters.
    ULONG bug_check;
    // Parameters 1 to 4.
    uint64_t parameters[4];
    // A few words.
    const char *description;
} sp_violation;

// Hears of violations, on the thread that made the call, at its IRQL. It may allocate and free, and it may end
// the program, as Windows would. `violation` is gone when it returns.
typedef void (*sp_violation_callback)(void *context, const sp_violation *violation);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Adds an adapter and returns its HwDeviceExtension: zeroed memory of its own, which `StorPortAllocatePool`
// and `StorPortFreePool` know. No other adapter gets this address while the pool lives. NULL on failure: the
// pool has as many adapters as it was made for, the pool's handles are used up, or 65535 extensions (of
// 64 KiB each) are in use, those of removed adapters among them until their pool ends. PASSIVE.
//
// The caller promises:
// `pool` is NULL or a pool that lives; `name` is NULL or a string.
PVOID sp_adapter_create(sp_pool *pool, const char *name, size_t extension_bytes);

// Removes an adapter: returns how many blocks it had, after `leaks` (which may be NULL) heard of each tag. The
// blocks stay allocated, but no extension frees them; the extension's memory is gone. From the start of
// this call on, its calls get STOR_STATUS_INVALID_PARAMETER. SP_NO_ADAPTER: there is no such adapter. PASSIVE.
//
// The caller promises:
// `leaks` may be called with `context`; nobody uses the extension's memory any more.
size_t sp_adapter_remove(PVOID extension,
                         sp_leak_callback leaks,
                         void *context);

// As `sp_adapter_remove`, and frees the blocks.
//
// The caller promises:
// As there; and nobody uses the blocks any more, nor is a free of one under way.
size_t sp_adapter_release(PVOID extension, sp_leak_callback leaks, void *context);

// Frees `count` blocks of one adapter: what StorPortFreePool does to each, in order. docs/BENCHMARKS.md says from how
// many blocks on that is faster. Returns how many were freed. `statuses[n]` is set to the status of `blocks[n]`; `statuses` may be NULL. A refused
// block changes nothing for the others. A block that stands there twice is freed once and refused once. NULL for
// `blocks` stands for `count` NULL pointers. The two arrays may be the same memory.
//
// IRQL <= DISPATCH_LEVEL. Bounded: `count` times the bound of StorPortFreePool, and a constant each.
//
// The caller promises:
// `blocks` is NULL or has `count` pointers, `statuses` is NULL or has room for as many, both aligned as C aligns them; nobody uses the blocks any
// more.
size_t sp_free_bulk(PVOID extension,
                    const PVOID *blocks,
                    size_t count,
                    ULONG *statuses);

// Allocates `count` blocks of `bytes` bytes, all or none, and returns one status for them, as StorPortAllocatePool
// does for one. After every failure all of `blocks` is NULL. Each block is freed alone or with others. `count` 0 is
// STOR_STATUS_SUCCESS, and nothing is looked at.
//
// IRQL <= DISPATCH_LEVEL. Lock-free.
//
// The caller promises:
// `blocks` is NULL, which is STOR_STATUS_INVALID_PARAMETER, or has room for `count` pointers.
ULONG sp_allocate_bulk(PVOID extension,
                       ULONG bytes,
                       ULONG tag,
                       PVOID *blocks,
                       size_t count);

// Says that this block will be freed soon: what StorPortFreePool will look at is drawn into the cache. It can pay where
// another CPU allocated the block, some hundred cycles before the free. Any address, any IRQL, no effect on any status.
void sp_hint_free(PVOID extension,
                  PVOID block);

// Why the calling thread's last call of a function with the prefix `sp_` failed: a sentence, which the thread's
// next call of this function overwrites. Empty when none failed.
const char *sp_last_error(void);

// Chooses the pool that serves `ExAllocatePool2` and its kind; NULL: none. Without a choice it is the first
// pool over memory of the operating system. PASSIVE.
//
// The caller promises:
// `pool` is NULL or a pool that lives, whose range this process can address.
void sp_set_system_pool(sp_pool *pool);

// Makes a pool of up to so many bytes, 64 KiB to 64 GiB: reserved now, resident when touched. NULL on failure.
// PASSIVE.
sp_pool *sp_pool_create(size_t reserve_bytes);

// Makes a pool as the options say. NULL on failure. PASSIVE.
//
// The caller promises:
// `options` is NULL or points to options whose fields hold what their comments promise.
sp_pool *sp_pool_create_with(const sp_options *options);

// Bytes of metadata that a pool with these options needs, when the host supplies them; 0 on failure.
//
// The caller promises:
// `options` is NULL or points to options.
size_t sp_metadata_bytes(const sp_options *options);

// Ends a pool: tells the violation callback of the blocks left, gives the memory back, and the pool's
// extensions. NULL does nothing. PASSIVE.
//
// The caller promises:
// `pool` is NULL or a pool that is not ended yet; no call with it or its extensions is under way or follows.
void sp_pool_destroy(sp_pool *pool);

// The host's switch: while it is set, `StorPortAllocatePool` and `StorPortFreePool` answer
// STOR_STATUS_NOT_IMPLEMENTED, as on an old system or in dump mode. PASSIVE; one call at a time.
//
// The caller promises:
// `pool` is NULL or a pool that lives.
void sp_set_not_implemented(sp_pool *pool, bool set);

// Raises the calling thread's IRQL; a lower level than the present one changes nothing, and one above 15 counts
// as 15. Returns the level before.
KIRQL sp_raise_irql(KIRQL to);

// Lowers the calling thread's IRQL; a higher level than the present one changes nothing.
void sp_lower_irql(KIRQL to);

// Takes a picture: exact when nothing is in flight, safe at any time. NULL where `pool` is NULL. PASSIVE; walks
// the pool.
//
// The caller promises:
// `pool` is NULL or a pool that lives.
sp_snapshot *sp_snapshot_take(const sp_pool *pool);

// The next tag's row, in the order of the tags' characters. False: there is none.
//
// The caller promises:
// `snapshot` is NULL or a picture that is not given back; `row` may be written.
bool sp_snapshot_next_tag(sp_snapshot *snapshot, sp_row *row);

// The next row of an adapter and tag. False: there is none.
//
// The caller promises:
// As `sp_snapshot_next_tag`.
bool sp_snapshot_next_account(sp_snapshot *snapshot, sp_row *row);

// Gives a picture back. NULL does nothing.
//
// The caller promises:
// `snapshot` is NULL or a picture that is not given back yet.
void sp_snapshot_free(sp_snapshot *snapshot);

// Who hears of violations of this pool from now on; NULL: nobody. PASSIVE.
//
// The caller promises:
// `pool` is NULL or a pool that lives. `callback` may be called with `context` from any thread, at any IRQL, until
// the pool ends.
void sp_on_violation(sp_pool *pool,
                     sp_violation_callback callback,
                     void *context);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* STORPORT_POOL_H */
