/* The executive's names, by guards that nobody knows. */
#ifndef __KIT_WDM_H
#define __KIT_WDM_H
#include <windef.h>
typedef UCHAR KIRQL, *PKIRQL;
typedef enum _POOL_TYPE { NonPagedPool, PagedPool, NonPagedPoolNx = 512 } POOL_TYPE;
#define PASSIVE_LEVEL 0x0
#define NT_SUCCESS(status) ((int)(status) >= 0)
#ifdef __cplusplus
extern "C" {
#endif
PVOID ExAllocatePoolWithTag(POOL_TYPE type, SIZE_T bytes, ULONG tag);
void ExFreePool(PVOID block);
KIRQL KeGetCurrentIrql(void);
#ifdef __cplusplus
}
#endif
#endif
