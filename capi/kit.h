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
