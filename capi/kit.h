
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
