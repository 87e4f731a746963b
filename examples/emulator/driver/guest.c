/* guest.sys: a small Storport miniport, and what goes wrong in miniports. Each request allocates; a request with a vendor's
   command makes one mistake. */
#include "kit.h"

#define REQUEST_TAG 0x74737152u /* Rqst */
#define SENSE_TAG 0x736E6553u   /* Sens */
enum { SENSE_BYTES = 18, REQUEST_BYTES = 112 };

typedef struct {
    ULONG Requests;
    PVOID Event;
} EXTENSION;

typedef struct {
    SCSI_REQUEST_BLOCK *Srb;
    UCHAR *Sense;
    UCHAR Cdb[REQUEST_BYTES - 2 * sizeof(PVOID)];
} REQUEST;

/* Another adapter's, for whoever mixes them up. */
static REQUEST *volatile Last;

static REQUEST *Allocate(EXTENSION *Extension, SCSI_REQUEST_BLOCK *Srb)
{
    PVOID Block;
    REQUEST *Request;
    ULONG n;
    if (StorPortAllocatePool(Extension, REQUEST_BYTES, REQUEST_TAG, &Block) != 0) return 0;
    Request = Block;
    Request->Srb = Srb;
    Request->Sense = ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_CACHE_ALIGNED, SENSE_BYTES, SENSE_TAG);
    if (Request->Sense == 0) {
        StorPortFreePool(Extension, Request);
        return 0;
    }
    for (n = 0; n < Srb->CdbLength && n < sizeof(Srb->Cdb); n++) ((volatile UCHAR *)Request->Cdb)[n] = Srb->Cdb[n];
    return Request;
}

static void Free(EXTENSION *Extension, REQUEST *Request)
{
    ExFreePoolWithTag(Request->Sense, SENSE_TAG);
    StorPortFreePool(Extension, Request);
}

NAMED UCHAR ReadWrite(EXTENSION *Extension, SCSI_REQUEST_BLOCK *Srb)
{
    REQUEST *Request = Allocate(Extension, Srb);
    ULONG n, Sum = 0;
    if (Request == 0) return SRB_STATUS_ERROR;
    /* Zeroed, and on a cache line of its own. */
    for (n = 0; n < SENSE_BYTES; n++) Sum |= ((volatile UCHAR *)Request->Sense)[n];
    Sum |= (ULONG)(ULONGLONG)Request->Sense & 63;
    for (n = 0; n < SENSE_BYTES; n++) ((volatile UCHAR *)Request->Sense)[n] = 0xFF;
    Free(Extension, Request);
    return Sum == 0 ? SRB_STATUS_SUCCESS : SRB_STATUS_ERROR;
}

NAMED UCHAR FreesTwice(EXTENSION *Extension, SCSI_REQUEST_BLOCK *Srb)
{
    REQUEST *Request = Allocate(Extension, Srb);
    Free(Extension, Request);
    StorPortFreePool(Extension, Request);
    return SRB_STATUS_SUCCESS;
}

NAMED UCHAR WritesPastTheEnd(EXTENSION *Extension, SCSI_REQUEST_BLOCK *Srb)
{
    REQUEST *Request = Allocate(Extension, Srb);
    ULONG n;
    /* One too many. */
    for (n = 0; n <= sizeof(Request->Cdb); n++) ((volatile UCHAR *)Request->Cdb)[n] = (UCHAR)n;
    Free(Extension, Request);
    return SRB_STATUS_SUCCESS;
}

NAMED UCHAR ReadsWhatIsFree(EXTENSION *Extension, SCSI_REQUEST_BLOCK *Srb)
{
    REQUEST *Request = Allocate(Extension, Srb);
    Free(Extension, Request);
    return ((volatile REQUEST *)Request)->Cdb[0] == Srb->Cdb[0] ? SRB_STATUS_SUCCESS : SRB_STATUS_ERROR;
}

NAMED UCHAR FreesAnothers(EXTENSION *Extension, SCSI_REQUEST_BLOCK *Srb)
{
    REQUEST *Mine = Allocate(Extension, Srb);
    if (Last != 0) StorPortFreePool(Extension, Last);
    Last = Mine;
    return SRB_STATUS_SUCCESS;
}

NAMED UCHAR FreesTheMiddle(EXTENSION *Extension, SCSI_REQUEST_BLOCK *Srb)
{
    REQUEST *Request = Allocate(Extension, Srb);
    StorPortFreePool(Extension, Request->Cdb);
    Free(Extension, Request);
    return SRB_STATUS_SUCCESS;
}

NAMED UCHAR Leaves(EXTENSION *Extension, SCSI_REQUEST_BLOCK *Srb)
{
    return Allocate(Extension, Srb) != 0 ? SRB_STATUS_SUCCESS : SRB_STATUS_ERROR;
}

/* The interrupt frees it. */
NAMED UCHAR LeavesToTheInterrupt(EXTENSION *Extension, SCSI_REQUEST_BLOCK *Srb)
{
    (void)Srb;
    Extension->Event = ExAllocatePool2(POOL_FLAG_NON_PAGED, 24, SENSE_TAG);
    return SRB_STATUS_SUCCESS;
}

/* Its addresses are what the loader relocates. */
static const struct {
    ULONG Command;
    UCHAR (*Execute)(EXTENSION *, SCSI_REQUEST_BLOCK *);
} Commands[] = {
    {0x28, ReadWrite},      {0x2A, ReadWrite},      {0xC0, FreesTwice},     {0xC1, WritesPastTheEnd},
    {0xC2, ReadsWhatIsFree}, {0xC3, FreesAnothers}, {0xC4, FreesTheMiddle}, {0xC5, Leaves},
    {0xC6, LeavesToTheInterrupt},
};

NAMED BOOLEAN HwStartIo(PVOID DeviceExtension, PVOID Given)
{
    EXTENSION *Extension = DeviceExtension;
    SCSI_REQUEST_BLOCK *Srb = Given;
    ULONG n;
    Extension->Requests++;
    Srb->SrbStatus = SRB_STATUS_INVALID_REQUEST;
    for (n = 0; n < sizeof(Commands) / sizeof(Commands[0]); n++)
        if (Commands[n].Command == Srb->Cdb[0]) Srb->SrbStatus = Commands[n].Execute(Extension, Srb);
    StorPortNotification(RequestComplete, Extension, Srb);
    return TRUE;
}

NAMED BOOLEAN HwInterrupt(PVOID DeviceExtension)
{
    EXTENSION *Extension = DeviceExtension;
    if (Extension->Event == 0) return FALSE;
    ExFreePoolWithTag(Extension->Event, SENSE_TAG);
    Extension->Event = 0;
    return TRUE;
}

NAMED BOOLEAN HwInitialize(PVOID DeviceExtension)
{
    ((EXTENSION *)DeviceExtension)->Requests = 0;
    return TRUE;
}

NAMED BOOLEAN HwResetBus(PVOID DeviceExtension, ULONG Path)
{
    (void)DeviceExtension, (void)Path;
    return TRUE;
}

NAMED ULONG HwFindAdapter(PVOID DeviceExtension, PVOID Context, PVOID Bus, char *Argument, PVOID Config, BOOLEAN *Again)
{
    (void)DeviceExtension, (void)Context, (void)Bus, (void)Argument, (void)Config;
    *Again = FALSE;
    return SP_RETURN_FOUND;
}

/* In memory of its own, since a driver has no memset but what it brings. */
static HW_INITIALIZATION_DATA Data = {
    .HwInitializationDataSize = sizeof(HW_INITIALIZATION_DATA),
    .HwInitialize = HwInitialize,
    .HwStartIo = HwStartIo,
    .HwInterrupt = HwInterrupt,
    .HwFindAdapter = HwFindAdapter,
    .HwResetBus = HwResetBus,
    .DeviceExtensionSize = sizeof(EXTENSION),
};

ULONG DriverEntry(PVOID Driver, PVOID RegistryPath)
{
    return StorPortInitialize(Driver, RegistryPath, &Data, 0);
}
