/* The thread that plays the device: interrupts, DPCs and timers. */
#include "device.h"

#include <time.h>

#include "port.h"
#include "scope.h"
#include "state.h"

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
        if (timer != NULL && adapter->timer_due <= sph_now()) {
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
    uint64_t next = sph_now();
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
        if (sph_port.miniport.HwInterrupt != NULL && sph_now() >= next) {
            unsigned n, count = sph_port.count;
            next = sph_now() + 1000;
            pthread_mutex_unlock(&sph_port.lock);
            for (n = 0; n < count; n++)
                interrupt(&sph_port.adapters[n]);
            pthread_mutex_lock(&sph_port.lock);
        }
    }
    pthread_mutex_unlock(&sph_port.lock);
    return NULL;
}
