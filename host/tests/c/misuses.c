/* A miniport that misuses the pool once, as the variable MISUSE says: in HwStorFindAdapter of the first adapter, or in its
   HwStorInitialize, at DIRQL. It completes each request in StartIo. */
#include "storport.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAG SP_TAG('M', 'i', 'n', 'i')

static const char *misuse;
static unsigned found, initialized;
static char *kept;

static int is(const char *name)
{
    return misuse != NULL && strcmp(misuse, name) == 0;
}

static char *get(PVOID extension, ULONG bytes)
{
    PVOID block = NULL;
    StorPortAllocatePool(extension, bytes, TAG, &block);
    return block;
}

static void misuse_once(PVOID extension)
{
    static char foreign[64];
    volatile char *bytes;
    char *block;
    PVOID out = NULL;

    if (is("zero-size")) StorPortAllocatePool(extension, 0, TAG, &out);
    if (is("zero-tag")) StorPortAllocatePool(extension, 40, 0, &out);
    if (is("big-tag")) StorPortAllocatePool(extension, 40, SP_TAG('B', 'I', 'G', 0), &out);
    if (is("unreadable-tag")) StorPortAllocatePool(extension, 40, SP_TAG('.', '-', ' ', '!'), &out);
    if (is("low-resources") && StorPortAllocatePool(extension, 40, TAG, &out) != STOR_STATUS_INSUFFICIENT_RESOURCES)
        abort();
    if (out != NULL) abort();
    if (is("executive-overrun")) {
        block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 40, TAG);
        block[41] = 'X';
        ExFreePool(block);
        return;
    }
    block = get(extension, 40);
    if (block == NULL) abort();
    bytes = block;
    if (is("overwritten")) {
        out = block;
        StorPortAllocatePool(extension, 50, TAG, &out);
        StorPortFreePool(extension, out);
    }
    if (is("interior")) StorPortFreePool(extension, block + 16);
    if (is("foreign")) StorPortFreePool(extension, foreign);
    if (is("wild")) StorPortFreePool(extension, (PVOID)(((uintptr_t)block & ~(uintptr_t)0xFFFF) + (32 << 20)));
    if (is("overrun")) bytes[41] = 'X';
    if (is("underrun")) bytes[-1] = 'X';
    if (is("access-beyond")) bytes[48] = 'X';
    if (is("leak")) return;
    if (is("overrun-and-leak")) {
        bytes[40] = 'X';
        return;
    }
    if (is("wrong-owner") || is("free-at-dirql")) {
        kept = block;
        return;
    }
    StorPortFreePool(extension, block);
    if (is("double-free")) StorPortFreePool(extension, block);
    if (is("write-after-free")) bytes[20] = 'X';
    if (is("access-freed")) bytes[20] = 'X';
}

static ULONG find_adapter(PVOID DeviceExtension, PVOID HwContext, PVOID BusInformation, PCHAR ArgumentString,
                          PPORT_CONFIGURATION_INFORMATION ConfigInfo, PBOOLEAN Again)
{
    (void)HwContext, (void)BusInformation, (void)ArgumentString, (void)ConfigInfo;
    *Again = FALSE;
    if (found == 0) misuse_once(DeviceExtension);
    if (found == 1 && is("wrong-owner")) StorPortFreePool(DeviceExtension, kept);
    found++;
    return SP_RETURN_FOUND;
}

static BOOLEAN initialize(PVOID DeviceExtension)
{
    PVOID block;
    if (initialized++ > 0) return TRUE;
    if (is("free-at-dirql")) StorPortFreePool(DeviceExtension, kept);
    if (is("allocate-at-dirql")) StorPortAllocatePool(DeviceExtension, 64, TAG, &block);
    return TRUE;
}

static VOID free_resources(PVOID DeviceExtension)
{
    if (kept != NULL) StorPortFreePool(DeviceExtension, kept);
    kept = NULL;
}

static BOOLEAN start_io(PVOID DeviceExtension, PSCSI_REQUEST_BLOCK Srb)
{
    Srb->SrbStatus = SRB_STATUS_SUCCESS;
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
    (void)DeviceExtension;
    if (ControlType == ScsiQuerySupportedControlTypes)
        list->SupportedTypeList[ScsiStopAdapter] = list->SupportedTypeList[ScsiRestartAdapter] = TRUE;
    return ScsiAdapterControlSuccess;
}

ULONG DriverEntry(PVOID DriverObject, PVOID RegistryPath)
{
    HW_INITIALIZATION_DATA data;
    memset(&data, 0, sizeof(data));
    misuse = getenv("MISUSE");
    data.HwInitializationDataSize = sizeof(data);
    data.DeviceExtensionSize = 64;
    data.HwInitialize = initialize;
    data.HwStartIo = start_io;
    data.HwFindAdapter = find_adapter;
    data.HwResetBus = reset_bus;
    data.HwAdapterControl = adapter_control;
    data.HwFreeAdapterResources = free_resources;
    return StorPortInitialize(DriverObject, RegistryPath, &data, NULL);
}
