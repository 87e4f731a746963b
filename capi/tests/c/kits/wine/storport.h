/* Storport's routines over StorPortExtendedFunction, as kits have them. */
#ifndef __KIT_STORPORT_H
#define __KIT_STORPORT_H
#include <wdm.h>
#define STOR_STATUS_SUCCESS (0x00000000L)
typedef enum _STORPORT_FUNCTION_CODE { ExtFunctionAllocatePool, ExtFunctionFreePool } STORPORT_FUNCTION_CODE;
#ifdef __cplusplus
extern "C" {
#endif
ULONG StorPortExtendedFunction(STORPORT_FUNCTION_CODE code, PVOID extension, ...);
#ifdef __cplusplus
}
#endif
static __inline ULONG StorPortAllocatePool(PVOID extension, ULONG bytes, ULONG tag, PVOID *block)
{
    return StorPortExtendedFunction(ExtFunctionAllocatePool, extension, bytes, tag, block);
}
static __inline ULONG StorPortFreePool(PVOID extension, PVOID block)
{
    return StorPortExtendedFunction(ExtFunctionFreePool, extension, block);
}
#endif
