/* The port driver's routines, and the thread that plays the device: interrupts, DPCs and timers. */
#include "internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct port sph_port = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

struct scope sph_enter(const char *callback, KIRQL level)
{
    struct scope scope = {sph_callback, sp_raise_irql(level)};
    sph_callback = callback;
    return scope;
}

void sph_leave(struct scope scope)
{
    sph_callback = scope.outer;
    sp_lower_irql(scope.before);
}

void sph_port_reset(void)
{
    memset(&sph_port.miniport, 0, sizeof(sph_port.miniport));
    sph_port.count = 0;
    sph_port.first = NULL;
    sph_port.last = &sph_port.first;
    sph_port.held = sph_port.stopping = false;
    sph_port.completed = 0;
}

struct adapter *sph_find(PVOID extension)
{
    unsigned n;
    for (n = 0; n < sph_port.count; n++)
        if (sph_port.adapters[n].extension == extension) return &sph_port.adapters[n];
    return NULL;
}

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

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

ULONG StorPortInitialize(PVOID Argument1, PVOID Argument2, PHW_INITIALIZATION_DATA HwInitializationData,
                         PVOID HwContext)
{
    const HW_INITIALIZATION_DATA *data = HwInitializationData;
    (void)Argument1, (void)Argument2, (void)HwContext;
    if (data->HwInitializationDataSize != sizeof(*data) || data->HwFindAdapter == NULL ||
        data->HwInitialize == NULL || data->HwStartIo == NULL || data->HwResetBus == NULL ||
        data->HwAdapterControl == NULL)
        return STOR_STATUS_INVALID_PARAMETER;
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
        adapter->timer_due = now() + microseconds;
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

static void interrupt(struct adapter *adapter)
{
    struct scope scope = sph_enter("HwStorInterrupt", DIRQL);
    sph_lock(adapter, &adapter->interrupt);
    sph_port.miniport.HwInterrupt(adapter->extension);
    pthread_mutex_unlock(&adapter->interrupt);
    sph_leave(scope);
}

static void run_dpc(STOR_DPC *dpc, PVOID first, PVOID second)
{
    struct scope scope = sph_enter("HwStorDpcRoutine", DISPATCH_LEVEL);
    dpc->Routine(dpc, dpc->HwDeviceExtension, first, second);
    sph_leave(scope);
}

static void run_timer(struct adapter *adapter, HW_TIMER *timer)
{
    struct scope scope = sph_enter("HwStorTimer", DISPATCH_LEVEL);
    sph_lock(adapter, &adapter->start_io);
    timer(adapter->extension);
    pthread_mutex_unlock(&adapter->start_io);
    sph_leave(scope);
}

/* Holding the lock: runs what is due, and says whether anything was. */
static bool serve(void)
{
    unsigned n;
    if (!sph_port.held && sph_port.first != NULL) {
        STOR_DPC *dpc = sph_port.first;
        PVOID first = dpc->SystemArgument1, second = dpc->SystemArgument2;
        sph_port.first = dpc->Next;
        if (sph_port.first == NULL) sph_port.last = &sph_port.first;
        dpc->Queued = FALSE; /* it may be issued again while it runs */
        pthread_mutex_unlock(&sph_port.lock);
        run_dpc(dpc, first, second);
        pthread_mutex_lock(&sph_port.lock);
        return true;
    }
    for (n = 0; n < sph_port.count; n++) {
        struct adapter *adapter = &sph_port.adapters[n];
        HW_TIMER *timer = adapter->timer;
        if (timer != NULL && adapter->timer_due <= now()) {
            adapter->timer = NULL;
            pthread_mutex_unlock(&sph_port.lock);
            run_timer(adapter, timer);
            pthread_mutex_lock(&sph_port.lock);
            return true;
        }
    }
    return false;
}

void *sph_device(void *unused)
{
    uint64_t next = now();
    (void)unused;
    pthread_mutex_lock(&sph_port.lock);
    while (!sph_port.stopping) {
        if (!serve()) {
            struct timespec until;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_nsec += 200000;
            if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
            pthread_cond_timedwait(&sph_port.changed, &sph_port.lock, &until);
        }
        if (sph_port.miniport.HwInterrupt != NULL && now() >= next) {
            unsigned n, count = sph_port.count;
            next = now() + 1000;
            pthread_mutex_unlock(&sph_port.lock);
            for (n = 0; n < count; n++)
                interrupt(&sph_port.adapters[n]);
            pthread_mutex_lock(&sph_port.lock);
        }
    }
    pthread_mutex_unlock(&sph_port.lock);
    return NULL;
}
