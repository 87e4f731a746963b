/* The port driver's routines. */
#include "port.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "findings.h"
#include "state.h"

/* A miniport that names no adapter of its has lost its way. */
static struct adapter *must_find(PVOID extension, const char *routine)
{
    struct adapter *adapter = sph_find(extension);
    if (adapter == NULL) {
        sph_say("%s: %p is no adapter's extension", routine, extension);
        abort();
    }
    return adapter;
}

/* A required routine that a miniport has not got; NULL: it has all. */
static const char *left_out(const HW_INITIALIZATION_DATA *data)
{
    if (data->HwInitialize == NULL) return "HwInitialize";
    if (data->HwStartIo == NULL) return "HwStartIo";
    if (data->HwFindAdapter == NULL) return "HwFindAdapter";
    if (data->HwResetBus == NULL) return "HwResetBus";
    if (data->HwAdapterControl == NULL) return "HwAdapterControl";
    return NULL;
}

ULONG StorPortInitialize(PVOID Argument1, PVOID Argument2, PHW_INITIALIZATION_DATA HwInitializationData,
                         PVOID HwContext)
{
    const HW_INITIALIZATION_DATA *data = HwInitializationData;
    const char *missing;
    (void)Argument1, (void)Argument2, (void)HwContext;
    if (data == NULL) {
        sph_say_why("StorPortInitialize: HwInitializationData is NULL");
        return STOR_STATUS_INVALID_PARAMETER;
    }
    if (data->HwInitializationDataSize != sizeof(*data)) {
        sph_say_why("StorPortInitialize: HwInitializationDataSize is %u, and sizeof(HW_INITIALIZATION_DATA) is %zu",
                    (unsigned)data->HwInitializationDataSize, sizeof(*data));
        return STOR_STATUS_INVALID_PARAMETER;
    }
    missing = left_out(data);
    if (missing != NULL) {
        sph_say_why("StorPortInitialize: %s is NULL", missing);
        return STOR_STATUS_INVALID_PARAMETER;
    }
    sph_port.miniport = *data;
    return STOR_STATUS_SUCCESS;
}

BOOLEAN StorPortEnablePassiveInitialization(PVOID DeviceExtension,
                                            HW_PASSIVE_INITIALIZE_ROUTINE *HwPassiveInitializeRoutine)
{
    must_find(DeviceExtension, "StorPortEnablePassiveInitialization")->passive_initialize =
        HwPassiveInitializeRoutine;
    return TRUE;
}

static void complete(struct request *request)
{
    bool outstanding;
    pthread_mutex_lock(&sph_port.lock);
    outstanding = request->submitted;
    if (outstanding) {
        request->submitted = false;
        request->adapter->outstanding--;
        sph_port.completed++;
    }
    pthread_cond_broadcast(&sph_port.changed);
    pthread_mutex_unlock(&sph_port.lock);
    if (!outstanding) sph_misuse("a request was completed that was not outstanding");
}

VOID StorPortNotification(SCSI_NOTIFICATION_TYPE NotificationType, PVOID HwDeviceExtension, ...)
{
    struct adapter *adapter = must_find(HwDeviceExtension, "StorPortNotification");
    va_list arguments;
    va_start(arguments, HwDeviceExtension);
    if (NotificationType == RequestComplete) {
        complete((struct request *)va_arg(arguments, PSCSI_REQUEST_BLOCK));
    } else if (NotificationType == RequestTimerCall) {
        HW_TIMER *timer = va_arg(arguments, HW_TIMER *);
        ULONG microseconds = va_arg(arguments, ULONG);
        pthread_mutex_lock(&sph_port.lock);
        adapter->timer = microseconds > 0 ? timer : NULL;
        adapter->timer_due = sph_now() + microseconds;
        pthread_mutex_unlock(&sph_port.lock);
    }
    va_end(arguments);
}

VOID StorPortInitializeDpc(PVOID DeviceExtension, PSTOR_DPC Dpc, HW_DPC_ROUTINE *HwDpcRoutine)
{
    memset(Dpc, 0, sizeof(*Dpc));
    Dpc->Routine = HwDpcRoutine;
    Dpc->HwDeviceExtension = DeviceExtension;
}

BOOLEAN StorPortIssueDpc(PVOID DeviceExtension, PSTOR_DPC Dpc, PVOID SystemArgument1, PVOID SystemArgument2)
{
    BOOLEAN fresh;
    must_find(DeviceExtension, "StorPortIssueDpc");
    pthread_mutex_lock(&sph_port.lock);
    fresh = !Dpc->Queued;
    if (fresh) {
        Dpc->SystemArgument1 = SystemArgument1;
        Dpc->SystemArgument2 = SystemArgument2;
        Dpc->Queued = TRUE;
        Dpc->Next = NULL;
        *sph_port.last = Dpc;
        sph_port.last = &Dpc->Next;
        pthread_cond_broadcast(&sph_port.changed);
    }
    pthread_mutex_unlock(&sph_port.lock);
    return fresh;
}

void sph_lock(struct adapter *adapter, pthread_mutex_t *lock)
{
    if (pthread_mutex_lock(lock) != EDEADLK) return;
    sph_misuse("%s: a lock is acquired that this thread holds: it would wait for ever", adapter->name);
    exit(2);
}

static pthread_mutex_t *lock_of(struct adapter *adapter, STOR_SPINLOCK lock)
{
    return lock == DpcLock ? &adapter->dpc : lock == StartIoLock ? &adapter->start_io : &adapter->interrupt;
}

VOID StorPortAcquireSpinLock(PVOID DeviceExtension, STOR_SPINLOCK SpinLock, PVOID LockContext,
                             PSTOR_LOCK_HANDLE LockHandle)
{
    struct adapter *adapter = must_find(DeviceExtension, "StorPortAcquireSpinLock");
    (void)LockContext;
    LockHandle->Lock = SpinLock;
    LockHandle->Before = sp_raise_irql(SpinLock == InterruptLock ? DIRQL : DISPATCH_LEVEL);
    sph_lock(adapter, lock_of(adapter, SpinLock));
}

VOID StorPortReleaseSpinLock(PVOID DeviceExtension, PSTOR_LOCK_HANDLE LockHandle)
{
    struct adapter *adapter = must_find(DeviceExtension, "StorPortReleaseSpinLock");
    if (pthread_mutex_unlock(lock_of(adapter, LockHandle->Lock)) != 0) {
        sph_misuse("%s: a lock is released that this thread does not hold", adapter->name);
        return;
    }
    sp_lower_irql(LockHandle->Before);
}

VOID StorPortDebugPrint(ULONG DebugPrintLevel, PCSTR DebugMessage, ...)
{
    (void)DebugPrintLevel, (void)DebugMessage;
}
