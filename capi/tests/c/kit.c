/* What a driver kit's headers declare, before ours: no clash, and their names still mean theirs. */
#ifdef BY_GUARDS
#define _NTDEF_
#define _NTSTORP_
#define _WDMDDK_
#else
#define SP_NO_KIT_TYPES
#define SP_NO_STORPORT
#define SP_NO_EXECUTIVE
#endif
#ifdef __cplusplus
#include <cstdint>
extern "C" {
#else
#include <stdint.h>
#endif
typedef unsigned int ULONG;
typedef unsigned long long ULONG64, POOL_FLAGS;
typedef unsigned long SIZE_T;
typedef void *PVOID;
typedef unsigned char UCHAR, KIRQL, *PKIRQL;
typedef enum _POOL_TYPE { NonPagedPool, PagedPool, NonPagedPoolNx = 512 } POOL_TYPE;
typedef enum _STORPORT_FUNCTION_CODE { ExtFunctionAllocatePool, ExtFunctionFreePool } STORPORT_FUNCTION_CODE;
typedef int NTSTATUS;
#define NT_SUCCESS(Status) (((NTSTATUS)(Status)) >= 0)
#define STOR_STATUS_SUCCESS (0x00000000L)
#define PASSIVE_LEVEL 0
#define DISPATCH_LEVEL 2

ULONG StorPortExtendedFunction(STORPORT_FUNCTION_CODE FunctionCode, PVOID HwDeviceExtension, ...);

static inline ULONG StorPortAllocatePool(PVOID HwDeviceExtension, ULONG NumberOfBytes, ULONG Tag, PVOID *BufferPointer)
{
    return StorPortExtendedFunction(ExtFunctionAllocatePool, HwDeviceExtension, NumberOfBytes, Tag, BufferPointer);
}

static inline ULONG StorPortFreePool(PVOID HwDeviceExtension, PVOID BufferPointer)
{
    return StorPortExtendedFunction(ExtFunctionFreePool, HwDeviceExtension, BufferPointer);
}

PVOID ExAllocatePoolWithTag(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag);
void ExFreePool(PVOID P);
#ifdef __cplusplus
}
#endif

#include "storport_pool.h"

int main(void)
{
    sp_pool *pool = sp_pool_create(1 << 20);
    PVOID disk = sp_adapter_create(pool, "disk", 64), block;
    ULONG wrong = 0;

    if (!NT_SUCCESS(StorPortAllocatePool(disk, 100, SP_TAG('K', 'i', 't', ' '), &block))) wrong |= 1;
    if (StorPortFreePool(disk, block) != STOR_STATUS_SUCCESS) wrong |= 2;
    if (NT_SUCCESS(StorPortFreePool(disk, block))) wrong |= 4;
    block = ExAllocatePoolWithTag(NonPagedPoolNx, 100, SP_TAG('K', 'i', 't', ' '));
    if (block == 0) wrong |= 8;
    ExFreePool(block);
    sp_pool_destroy(pool);
    return (int)wrong;
}
