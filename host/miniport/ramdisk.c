/* A RAM disk in which every I/O allocates. Compiled with BUG from 1 to 7 it has one of seven mistakes; the last one shows
   only when an allocation fails. */
#include "storport.h"

#include <string.h>

#ifndef BUG
#define BUG 0
#endif
enum { LEAK_ON_ERROR = 1, DOUBLE_FREE_IN_RESET, FREE_AT_DIRQL, ALLOCATE_AT_DIRQL, OTHER_EXTENSION, ALLOCATE_TWICE,
       LEAK_AT_START };

enum { BLOCKS = 256, BLOCK = 4096, PERIOD = 2000 };
#define TAG_DISK SP_TAG('R', 'a', 'm', 'D')
#define TAG_REQUEST SP_TAG('R', 'q', 's', 't')
#define TAG_EVENT SP_TAG('E', 'v', 'n', 't')
#define TAG_UNIT SP_TAG('U', 'n', 'i', 't')

/* What an I/O needs until it completes. */
struct context {
    unsigned block;
    BOOLEAN write;
    unsigned char scratch[64];
};

/* A request's own memory, of the port driver's. */
struct srb_extension {
    PSCSI_REQUEST_BLOCK next;
    struct context *context;
};

struct device {
    unsigned char *disk[BLOCKS];
    STOR_DPC dpc;
    PSCSI_REQUEST_BLOCK first, *last; /* under the StartIo lock */
    PVOID event;                      /* under the interrupt lock */
    BOOLEAN dump;
};

/* The first adapter: a driver that mixes adapters up takes this one. */
static struct device *first_device;

static struct srb_extension *extension_of(PSCSI_REQUEST_BLOCK srb)
{
    return srb->SrbExtension;
}

static void complete(struct device *device, PSCSI_REQUEST_BLOCK srb, UCHAR status)
{
    srb->SrbStatus = status;
    StorPortNotification(RequestComplete, device, srb);
}

static void free_context(struct device *device, struct srb_extension *extension)
{
    if (extension->context == NULL) return;
    if (BUG == OTHER_EXTENSION && device != first_device) StorPortFreePool(first_device, extension->context);
    StorPortFreePool(device, extension->context);
    extension->context = NULL;
}

static void transfer(struct device *device, PSCSI_REQUEST_BLOCK srb, const struct context *context)
{
    unsigned char *block = device->disk[context->block];
    if (context->write) {
        memcpy(block, srb->DataBuffer, BLOCK);
    } else {
        memcpy(srb->DataBuffer, block, BLOCK);
    }
}

static VOID on_dpc(PSTOR_DPC dpc, PVOID HwDeviceExtension, PVOID first, PVOID second)
{
    struct device *device = HwDeviceExtension;
    PSCSI_REQUEST_BLOCK srb, next;
    STOR_LOCK_HANDLE lock;
    (void)dpc, (void)first, (void)second;

    StorPortAcquireSpinLock(device, StartIoLock, NULL, &lock);
    srb = device->first;
    device->first = NULL;
    device->last = &device->first;
    StorPortReleaseSpinLock(device, &lock);
    for (; srb != NULL; srb = next) {
        struct srb_extension *extension = extension_of(srb);
        UCHAR status = SRB_STATUS_BUS_RESET;
        next = extension->next;
        if (extension->context != NULL && srb->SrbStatus == SRB_STATUS_PENDING) {
            transfer(device, srb, extension->context);
            status = SRB_STATUS_SUCCESS;
        }
        free_context(device, extension);
        complete(device, srb, status);
    }
}

static VOID on_timer(PVOID DeviceExtension)
{
    PVOID block;
    if (StorPortAllocatePool(DeviceExtension, 16, TAG_EVENT, &block) == STOR_STATUS_SUCCESS)
        StorPortFreePool(DeviceExtension, block);
    StorPortNotification(RequestTimerCall, DeviceExtension, on_timer, (ULONG)PERIOD);
}

static BOOLEAN build_io(PVOID DeviceExtension, PSCSI_REQUEST_BLOCK srb)
{
    struct device *device = DeviceExtension;
    struct srb_extension *extension = extension_of(srb);
    struct context *context = NULL;

    extension->next = NULL;
    extension->context = NULL;
    srb->SrbStatus = SRB_STATUS_PENDING;
    if (srb->Function == SRB_FUNCTION_FLUSH) {
        complete(device, srb, SRB_STATUS_SUCCESS);
        return FALSE;
    }
    if (!NT_SUCCESS(StorPortAllocatePool(device, sizeof(*context), TAG_REQUEST, (PVOID *)&context))) {
        complete(device, srb, SRB_STATUS_BUSY);
        return FALSE;
    }
    if (BUG == ALLOCATE_TWICE && srb->Cdb[5] == 7)
        StorPortAllocatePool(device, sizeof(*context), TAG_REQUEST, (PVOID *)&context);
    extension->context = context;
    context->block = (unsigned)srb->Cdb[4] << 8 | srb->Cdb[5];
    context->write = srb->Cdb[0] == SCSIOP_WRITE;
    if ((srb->Cdb[0] != SCSIOP_READ && srb->Cdb[0] != SCSIOP_WRITE) || context->block >= BLOCKS ||
        srb->DataTransferLength != BLOCK) {
        if (BUG != LEAK_ON_ERROR) free_context(device, extension);
        complete(device, srb, SRB_STATUS_INVALID_REQUEST);
        return FALSE;
    }
    return TRUE;
}

static BOOLEAN start_io(PVOID DeviceExtension, PSCSI_REQUEST_BLOCK srb)
{
    struct device *device = DeviceExtension;
    *device->last = srb;
    device->last = &extension_of(srb)->next;
    StorPortIssueDpc(device, &device->dpc, NULL, NULL);
    return TRUE;
}

/* The lock of StartIo is held. */
static BOOLEAN reset_bus(PVOID DeviceExtension, ULONG PathId)
{
    struct device *device = DeviceExtension;
    PSCSI_REQUEST_BLOCK srb;
    (void)PathId;
    for (srb = device->first; srb != NULL; srb = extension_of(srb)->next) {
        srb->SrbStatus = SRB_STATUS_BUS_RESET;
        if (BUG == DOUBLE_FREE_IN_RESET) {
            /* The DPC does not know. */
            StorPortFreePool(device, extension_of(srb)->context);
        } else {
            free_context(device, extension_of(srb));
        }
    }
    return TRUE;
}

static BOOLEAN on_interrupt(PVOID DeviceExtension)
{
    struct device *device = DeviceExtension;
    if (BUG == FREE_AT_DIRQL && device->event != NULL) {
        StorPortFreePool(device, device->event);
    }
    if (BUG == ALLOCATE_AT_DIRQL) {
        PVOID block = NULL;
        if (StorPortAllocatePool(device, 64, TAG_EVENT, &block) == STOR_STATUS_SUCCESS) device->event = block;
    }
    return FALSE;
}

static VOID free_resources(PVOID DeviceExtension)
{
    struct device *device = DeviceExtension;
    unsigned n;
    for (n = 0; n < BLOCKS; n++)
        if (device->disk[n] != NULL) StorPortFreePool(device, device->disk[n]);
    if (device->event != NULL) StorPortFreePool(device, device->event);
    if (first_device == device) first_device = NULL;
}

static BOOLEAN passive_initialize(PVOID DeviceExtension)
{
    struct device *device = DeviceExtension;
    if (!NT_SUCCESS(StorPortAllocatePool(device, 24, TAG_EVENT, &device->event))) return FALSE;
    StorPortNotification(RequestTimerCall, device, on_timer, (ULONG)PERIOD);
    return TRUE;
}

static BOOLEAN initialize(PVOID DeviceExtension)
{
    struct device *device = DeviceExtension;
    StorPortInitializeDpc(device, &device->dpc, on_dpc);
    if (!device->dump) StorPortEnablePassiveInitialization(device, passive_initialize);
    return TRUE;
}

static ULONG find_adapter(PVOID DeviceExtension, PVOID HwContext, PVOID BusInformation, PCHAR ArgumentString,
                          PPORT_CONFIGURATION_INFORMATION ConfigInfo, PBOOLEAN Again)
{
    struct device *device = DeviceExtension;
    unsigned n;
    (void)HwContext, (void)BusInformation, (void)ArgumentString;

    *Again = FALSE;
    ConfigInfo->SynchronizationModel = StorSynchronizeFullDuplex;
    device->last = &device->first;
    device->dump = ConfigInfo->DumpMode;
    /* Where a dump is written there is no pool, and no disk in memory that could be written to. */
    if (device->dump) return SP_RETURN_FOUND;
    for (n = 0; n < BLOCKS; n++) {
        if (!NT_SUCCESS(StorPortAllocatePool(device, BLOCK, TAG_DISK, (PVOID *)&device->disk[n]))) {
            if (BUG != LEAK_AT_START) free_resources(device);
            return SP_RETURN_ERROR;
        }
        memset(device->disk[n], 0, BLOCK);
    }
    if (first_device == NULL) first_device = device;
    return SP_RETURN_FOUND;
}

static SCSI_ADAPTER_CONTROL_STATUS adapter_control(PVOID DeviceExtension, SCSI_ADAPTER_CONTROL_TYPE ControlType,
                                                   PVOID Parameters)
{
    struct device *device = DeviceExtension;
    if (ControlType == ScsiQuerySupportedControlTypes) {
        PSCSI_SUPPORTED_CONTROL_TYPE_LIST list = Parameters;
        list->SupportedTypeList[ScsiStopAdapter] = list->SupportedTypeList[ScsiRestartAdapter] = TRUE;
    } else if (ControlType == ScsiRestartAdapter) {
        StorPortNotification(RequestTimerCall, device, on_timer, (ULONG)PERIOD);
    }
    return ScsiAdapterControlSuccess;
}

static SCSI_UNIT_CONTROL_STATUS unit_control(PVOID DeviceExtension, SCSI_UNIT_CONTROL_TYPE ControlType,
                                             PVOID Parameters)
{
    const STOR_ADDR_BTL8 *unit = Parameters;
    PVOID description;
    (void)DeviceExtension;
    if (ControlType == ScsiQuerySupportedUnitControlTypes) {
        PSCSI_SUPPORTED_CONTROL_TYPE_LIST list = Parameters;
        list->SupportedTypeList[ScsiUnitStart] = TRUE;
        return ScsiUnitControlSuccess;
    }
    if (unit->Type != STOR_ADDRESS_TYPE_BTL8) return ScsiUnitControlUnsuccessful;
    description = ExAllocatePool2(POOL_FLAG_NON_PAGED, 164, TAG_UNIT);
    if (description == NULL) return ScsiUnitControlUnsuccessful;
    ExFreePoolWithTag(description, TAG_UNIT);
    return ScsiUnitControlSuccess;
}

ULONG DriverEntry(PVOID DriverObject, PVOID RegistryPath)
{
    HW_INITIALIZATION_DATA data;
    memset(&data, 0, sizeof(data));
    data.HwInitializationDataSize = sizeof(data);
    data.HwInitialize = initialize;
    data.HwStartIo = start_io;
    data.HwInterrupt = on_interrupt;
    data.HwFindAdapter = find_adapter;
    data.HwResetBus = reset_bus;
    data.DeviceExtensionSize = sizeof(struct device);
    data.SrbExtensionSize = sizeof(struct srb_extension);
    data.HwAdapterControl = adapter_control;
    data.HwBuildIo = build_io;
    data.HwFreeAdapterResources = free_resources;
    data.HwUnitControl = unit_control;
    return StorPortInitialize(DriverObject, RegistryPath, &data, NULL);
}
