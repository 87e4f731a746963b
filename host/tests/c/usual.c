/* The lines that every miniport has, as far as the host has their names. */
#include <ntddk.h>
#include <storport.h>

#define TAG SP_TAG('U', 's', 'u', 'l')

typedef struct _DEVICE_EXTENSION {
    PVOID Ring;
} DEVICE_EXTENSION, *PDEVICE_EXTENSION;

static BOOLEAN HwInitialize(PVOID DeviceExtension)
{
    UNREFERENCED_PARAMETER(DeviceExtension);
    return TRUE;
}

static BOOLEAN HwStartIo(PVOID DeviceExtension, PSCSI_REQUEST_BLOCK Srb)
{
    if (Srb->DataBuffer != NULL) RtlZeroMemory(Srb->DataBuffer, Srb->DataTransferLength);
    Srb->SrbStatus = SRB_STATUS_SUCCESS;
    StorPortNotification(RequestComplete, DeviceExtension, Srb);
    return TRUE;
}

static BOOLEAN HwResetBus(PVOID DeviceExtension, ULONG PathId)
{
    StorPortDebugPrint(1, "reset of %p, path %u\n", DeviceExtension, (unsigned)PathId);
    return TRUE;
}

static ULONG HwFindAdapter(PVOID DeviceExtension, PVOID HwContext, PVOID BusInformation, PCHAR ArgumentString,
                           PPORT_CONFIGURATION_INFORMATION ConfigInfo, PBOOLEAN Again)
{
    static const UCHAR head[4] = {1, 2, 3, 4};
    PDEVICE_EXTENSION extension = DeviceExtension;
    UNREFERENCED_PARAMETER(HwContext);
    UNREFERENCED_PARAMETER(BusInformation);
    UNREFERENCED_PARAMETER(ArgumentString);
    if (ConfigInfo->AdapterInterfaceType != PCIBus) return SP_RETURN_BAD_CONFIG;
    ConfigInfo->NumberOfPhysicalBreaks = 16;
    ConfigInfo->AlignmentMask = FILE_LONG_ALIGNMENT;
    ConfigInfo->CachesData = FALSE;
    *Again = FALSE;
    if (ConfigInfo->DumpMode) return SP_RETURN_FOUND;
    if (StorPortAllocatePool(extension, 64, TAG, &extension->Ring) != STOR_STATUS_SUCCESS) return SP_RETURN_ERROR;
    RtlCopyMemory(extension->Ring, head, sizeof(head));
    RtlMoveMemory((PUCHAR)extension->Ring + 1, extension->Ring, sizeof(head));
    return SP_RETURN_FOUND;
}

static VOID HwFreeAdapterResources(PVOID DeviceExtension)
{
    PDEVICE_EXTENSION extension = DeviceExtension;
    if (extension->Ring != NULL) StorPortFreePool(extension, extension->Ring);
}

static SCSI_ADAPTER_CONTROL_STATUS HwAdapterControl(PVOID DeviceExtension, SCSI_ADAPTER_CONTROL_TYPE ControlType,
                                                    PVOID Parameters)
{
    PSCSI_SUPPORTED_CONTROL_TYPE_LIST list = Parameters;
    UNREFERENCED_PARAMETER(DeviceExtension);
    if (ControlType == ScsiQuerySupportedControlTypes)
        list->SupportedTypeList[ScsiStopAdapter] = list->SupportedTypeList[ScsiRestartAdapter] = TRUE;
    return ScsiAdapterControlSuccess;
}

ULONG DriverEntry(PVOID DriverObject, PVOID RegistryPath)
{
    HW_INITIALIZATION_DATA data;
    RtlZeroMemory(&data, sizeof(data));
    data.HwInitializationDataSize = sizeof(data);
    data.AdapterInterfaceType = PCIBus;
    data.HwInitialize = HwInitialize;
    data.HwStartIo = HwStartIo;
    data.HwFindAdapter = HwFindAdapter;
    data.HwResetBus = HwResetBus;
    data.HwAdapterControl = HwAdapterControl;
    data.HwFreeAdapterResources = HwFreeAdapterResources;
    data.DeviceExtensionSize = sizeof(DEVICE_EXTENSION);
    data.NumberOfAccessRanges = 2;
    data.MapBuffers = STOR_MAP_NON_READ_WRITE_BUFFERS;
    data.NeedPhysicalAddresses = TRUE;
    data.TaggedQueuing = TRUE;
    data.AutoRequestSense = TRUE;
    data.MultipleRequestPerLu = TRUE;
    data.FeatureSupport = 0;
    return StorPortInitialize(DriverObject, RegistryPath, &data, NULL);
}
