/* What guest.c needs of storport.h and wdm.h, as their public pages have it: storport/ns-storport-*.md,
   srb/ns-srb-_scsi_request_block.md, storport/nf-storport-*.md, wdm/nf-wdm-*.md. Layouts are those of 64-bit Windows. */
#ifndef KIT_H
#define KIT_H

typedef unsigned char UCHAR, BOOLEAN;
typedef unsigned short USHORT;
/* A long has 32 bits on Windows. */
typedef unsigned int ULONG;
typedef unsigned long long ULONGLONG, SIZE_T;
typedef void *PVOID;
#define TRUE 1
#define FALSE 0
#define IMPORTED __declspec(dllimport)
/* Exported, so that an address in the driver has a name. */
#define NAMED __declspec(dllexport)

typedef struct {
    ULONG HwInitializationDataSize;
    ULONG AdapterInterfaceType;
    BOOLEAN (*HwInitialize)(PVOID);
    BOOLEAN (*HwStartIo)(PVOID, PVOID);
    BOOLEAN (*HwInterrupt)(PVOID);
    ULONG (*HwFindAdapter)(PVOID, PVOID, PVOID, char *, PVOID, BOOLEAN *);
    BOOLEAN (*HwResetBus)(PVOID, ULONG);
    PVOID HwDmaStarted, HwAdapterState;
    ULONG DeviceExtensionSize, SpecificLuExtensionSize, SrbExtensionSize, NumberOfAccessRanges;
    PVOID Reserved;
    UCHAR MapBuffers, NeedPhysicalAddresses, TaggedQueuing, AutoRequestSense, MultipleRequestPerLu, ReceiveEvent;
    USHORT VendorIdLength;
    PVOID VendorId;
    PVOID More[16];
} HW_INITIALIZATION_DATA;

typedef struct {
    USHORT Length;
    UCHAR Function, SrbStatus, ScsiStatus, PathId, TargetId, Lun, QueueTag, QueueAction, CdbLength, SenseInfoBufferLength;
    ULONG SrbFlags, DataTransferLength, TimeOutValue;
    PVOID DataBuffer, SenseInfoBuffer, NextSrb, OriginalRequest, SrbExtension;
    ULONG InternalStatus, Reserved;
    UCHAR Cdb[16];
} SCSI_REQUEST_BLOCK;

enum { SRB_STATUS_SUCCESS = 1, SRB_STATUS_ERROR = 4, SRB_STATUS_INVALID_REQUEST = 6 };
enum { SP_RETURN_FOUND = 1, RequestComplete = 0 };
enum { ExtFunctionAllocatePool = 0, ExtFunctionFreePool = 1 };

IMPORTED ULONG StorPortInitialize(PVOID, PVOID, HW_INITIALIZATION_DATA *, PVOID);
IMPORTED void StorPortNotification(ULONG, PVOID, ...);
IMPORTED ULONG StorPortExtendedFunction(ULONG, PVOID, ...);
IMPORTED PVOID ExAllocatePool2(ULONGLONG, SIZE_T, ULONG);
IMPORTED void ExFreePoolWithTag(PVOID, ULONG);
#define POOL_FLAG_NON_PAGED 0x40ULL
#define POOL_FLAG_CACHE_ALIGNED 0x8ULL

/* Inline in Windows' header too. */
static inline ULONG StorPortAllocatePool(PVOID Extension, ULONG Bytes, ULONG Tag, PVOID *Block)
{
    return StorPortExtendedFunction(ExtFunctionAllocatePool, Extension, Bytes, Tag, Block);
}

static inline ULONG StorPortFreePool(PVOID Extension, PVOID Block)
{
    return StorPortExtendedFunction(ExtFunctionFreePool, Extension, Block);
}

#endif
