/* For a miniport's source: the port driver as the host plays it. Pool calls are attributed to the callback that
   makes them. */
#ifndef SPH_STORPORT_H
#define SPH_STORPORT_H

#define SP_NO_STORPORT
#include "sph_types.h"

#ifdef __cplusplus
extern "C" {
#endif

ULONG sph_allocate_pool(PVOID HwDeviceExtension, ULONG NumberOfBytes, ULONG Tag, PVOID *BufferPointer);
ULONG sph_free_pool(PVOID HwDeviceExtension, PVOID BufferPointer);

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
