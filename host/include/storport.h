/* For a miniport's source: the port driver as the host plays it. Pool calls are attributed to the callback that
   makes them. */
#ifndef SPH_STORPORT_H
#define SPH_STORPORT_H

#define SP_NO_STORPORT
#include "sph_types.h"

/* The tagged pool's routines, attributed as well. */
#define ExAllocatePool2 sph_ex_allocate_pool2
#define ExAllocatePoolWithTag sph_ex_allocate_pool_with_tag
#define ExAllocatePoolZero sph_ex_allocate_pool_zero
#define ExFreePool sph_ex_free_pool
#define ExFreePoolWithTag sph_ex_free_pool_with_tag

#ifdef __cplusplus
extern "C" {
#endif

ULONG sph_allocate_pool(PVOID HwDeviceExtension, ULONG NumberOfBytes, ULONG Tag, PVOID *BufferPointer);
ULONG sph_free_pool(PVOID HwDeviceExtension, PVOID BufferPointer);
PVOID sph_ex_allocate_pool2(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag);
PVOID sph_ex_allocate_pool_with_tag(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag);
PVOID sph_ex_allocate_pool_zero(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag);
void sph_ex_free_pool(PVOID P);
void sph_ex_free_pool_with_tag(PVOID P, ULONG Tag);

static inline ULONG StorPortAllocatePool(PVOID HwDeviceExtension, ULONG NumberOfBytes, ULONG Tag, PVOID *BufferPointer)
{
    return sph_allocate_pool(HwDeviceExtension, NumberOfBytes, Tag, BufferPointer);
}

static inline ULONG StorPortFreePool(PVOID HwDeviceExtension, PVOID BufferPointer)
{
    return sph_free_pool(HwDeviceExtension, BufferPointer);
}

#ifdef __cplusplus
}
#endif

#endif
