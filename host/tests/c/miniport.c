/* A miniport that does what its MODE says, to see how the host takes it. It completes each request in StartIo. */
#include "storport.h"

#include <string.h>

enum {
    NO_CONTROLS = 1, /* has no restart, so it is initialized anew; leaves blocks of the executive's */
    HALF_DUPLEX,     /* allocates in StartIo at DIRQL */
    NOT_FOUND,       /* no such device; leaves a block */
    NOT_INITIALIZED,
    COMPLETES_TWICE,
    COMPLETES_NEVER,
    LOCKS_TWICE,
    EXECUTIVE,       /* frees by another tag, twice, and through the adapter */
    NO_ENTRY,        /* DriverEntry leaves out what it must have */
    RELEASES_TWICE,
    LEAVES_A_DPC,    /* queued when it is stopped */
    BAD_SIZE,        /* of HW_INITIALIZATION_DATA */
    FORGETS,         /* StorPortInitialize */
    NO_DATA,
    NO_DUMP          /* FindAdapter fails in dump mode */
};
#define TAG SP_TAG('M', 'i', 'n', 'i')

static ULONG find_adapter(PVOID DeviceExtension, PVOID HwContext, PVOID BusInformation, PCHAR ArgumentString,
                          PPORT_CONFIGURATION_INFORMATION ConfigInfo, PBOOLEAN Again)
{
    PVOID left;
    (void)HwContext, (void)BusInformation, (void)ArgumentString;
    *Again = FALSE;
    if (MODE == NO_CONTROLS) (void)ExAllocatePoolZero(NonPagedPoolNx, 100, TAG);
    if (MODE == HALF_DUPLEX) ConfigInfo->SynchronizationModel = StorSynchronizeHalfDuplex;
    if (MODE == NOT_FOUND) {
        StorPortAllocatePool(DeviceExtension, 50, TAG, &left);
        return SP_RETURN_NOT_FOUND;
    }
    return MODE == NO_DUMP && ConfigInfo->DumpMode ? SP_RETURN_ERROR : SP_RETURN_FOUND;
}

struct device {
    STOR_DPC dpc;
};

static VOID on_dpc(PSTOR_DPC Dpc, PVOID HwDeviceExtension, PVOID First, PVOID Second)
{
    (void)Dpc, (void)HwDeviceExtension, (void)First, (void)Second;
}

static BOOLEAN initialize(PVOID DeviceExtension)
{
    struct device *device = DeviceExtension;
    StorPortInitializeDpc(device, &device->dpc, on_dpc);
    if (MODE == LEAVES_A_DPC) StorPortIssueDpc(device, &device->dpc, NULL, NULL);
    return MODE != NOT_INITIALIZED;
}

static void mix_up(PVOID extension)
{
    PVOID block = ExAllocatePoolWithTag(NonPagedPoolNx, 200, TAG);
    ExFreePoolWithTag(block, SP_TAG('O', 't', 'h', 'r'));
    StorPortFreePool(extension, block);
    ExFreePoolWithTag(block, TAG);
    ExFreePool(block);
}

static BOOLEAN start_io(PVOID DeviceExtension, PSCSI_REQUEST_BLOCK Srb)
{
    STOR_LOCK_HANDLE first, second;
    PVOID block;
    if (MODE == HALF_DUPLEX && NT_SUCCESS(StorPortAllocatePool(DeviceExtension, 40, TAG, &block))) return FALSE;
    if (MODE == LOCKS_TWICE) {
        StorPortAcquireSpinLock(DeviceExtension, InterruptLock, NULL, &first);
        StorPortAcquireSpinLock(DeviceExtension, InterruptLock, NULL, &second);
    }
    if (MODE == RELEASES_TWICE && Srb->Function == SRB_FUNCTION_FLUSH) {
        StorPortAcquireSpinLock(DeviceExtension, InterruptLock, NULL, &first);
        StorPortReleaseSpinLock(DeviceExtension, &first);
        StorPortReleaseSpinLock(DeviceExtension, &first);
    }
    if (MODE == EXECUTIVE && Srb->Function == SRB_FUNCTION_FLUSH) mix_up(DeviceExtension);
    if (MODE == COMPLETES_NEVER) return TRUE;
    Srb->SrbStatus = SRB_STATUS_SUCCESS;
    StorPortNotification(RequestComplete, DeviceExtension, Srb);
    if (MODE == COMPLETES_TWICE && Srb->Function == SRB_FUNCTION_FLUSH)
        StorPortNotification(RequestComplete, DeviceExtension, Srb);
    return TRUE;
}

static BOOLEAN reset_bus(PVOID DeviceExtension, ULONG PathId)
{
    (void)DeviceExtension, (void)PathId;
    return TRUE;
}

static SCSI_ADAPTER_CONTROL_STATUS adapter_control(PVOID DeviceExtension, SCSI_ADAPTER_CONTROL_TYPE ControlType,
                                                   PVOID Parameters)
{
    PSCSI_SUPPORTED_CONTROL_TYPE_LIST list = Parameters;
    struct device *device = DeviceExtension;
    if (MODE == LEAVES_A_DPC && ControlType == ScsiStopAdapter)
        StorPortIssueDpc(device, &device->dpc, NULL, NULL);
    if (ControlType == ScsiQuerySupportedControlTypes && MODE != NO_CONTROLS)
        list->SupportedTypeList[ScsiStopAdapter] = list->SupportedTypeList[ScsiRestartAdapter] = TRUE;
    /* What it has not got it must not be asked for. */
    if (ControlType != ScsiQuerySupportedControlTypes && MODE == NO_CONTROLS)
        (void)ExAllocatePoolZero(NonPagedPoolNx, 999, TAG);
    return ScsiAdapterControlSuccess;
}

ULONG DriverEntry(PVOID DriverObject, PVOID RegistryPath)
{
    HW_INITIALIZATION_DATA data;
    memset(&data, 0, sizeof(data));
    data.HwInitializationDataSize = MODE == BAD_SIZE ? 8 : sizeof(data);
    data.DeviceExtensionSize = sizeof(struct device);
    data.HwInitialize = initialize;
    data.HwStartIo = MODE == NO_ENTRY ? NULL : start_io;
    data.HwFindAdapter = find_adapter;
    data.HwResetBus = reset_bus;
    data.HwAdapterControl = adapter_control;
    if (MODE == FORGETS) return STOR_STATUS_SUCCESS;
    return StorPortInitialize(DriverObject, RegistryPath, MODE == NO_DATA ? NULL : &data, NULL);
}
