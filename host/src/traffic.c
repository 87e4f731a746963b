/* Requests, and the threads that submit them. */
#include "traffic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "device.h"
#include "findings.h"
#include "port.h"
#include "scope.h"
#include "state.h"

enum { WINDOW = 16, BLOCKS = 256 };
/* Seconds without a completion after which the miniport is given up. */
#ifndef PATIENCE
#define PATIENCE 10
#endif

/* A submitter's requests; each has its own block of the disk. */
struct submitter {
    unsigned number, requests;
    unsigned long failed;
    struct request slots[WINDOW];
    unsigned char data[WINDOW][BLOCK];
    PVOID extensions;
};

/* Holding the lock: waits for a completion; false, when none came. */
static bool more(void)
{
    unsigned long completed = sph_port.completed;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE;
    while (completed == sph_port.completed)
        if (pthread_cond_timedwait(&sph_port.changed, &sph_port.lock, &until) == ETIMEDOUT) return false;
    return true;
}

/* A request that is not outstanding; NULL, when none comes back. */
static struct request *free_slot(struct submitter *submitter)
{
    struct request *found = NULL;
    unsigned n;
    pthread_mutex_lock(&sph_port.lock);
    do {
        for (n = 0; n < WINDOW && found == NULL; n++)
            if (!submitter->slots[n].submitted) found = &submitter->slots[n];
    } while (found == NULL && more());
    pthread_mutex_unlock(&sph_port.lock);
    return found;
}

/* Waits until nothing is outstanding; says so, and ends the process, when that does not come: what is outstanding
   is the miniport's, and cannot be taken from it. */
static void idle(void)
{
    unsigned n;
    pthread_mutex_lock(&sph_port.lock);
    for (n = 0; n < sph_port.count; n++) {
        struct adapter *adapter = &sph_port.adapters[n];
        while (adapter->outstanding > 0) {
            if (more()) continue;
            sph_say("%s: %u requests were never completed", adapter->name, adapter->outstanding);
            exit(2);
        }
    }
    pthread_mutex_unlock(&sph_port.lock);
}

static void start_io(struct adapter *adapter, PSCSI_REQUEST_BLOCK srb)
{
    bool half = adapter->config.SynchronizationModel != StorSynchronizeFullDuplex;
    struct scope scope = sph_enter("HwStorStartIo", half ? DIRQL : DISPATCH_LEVEL);
    sph_lock(adapter, &adapter->start_io);
    if (half) sph_lock(adapter, &adapter->interrupt);
    sph_port.miniport.HwStartIo(adapter->extension, srb);
    if (half) pthread_mutex_unlock(&adapter->interrupt);
    pthread_mutex_unlock(&adapter->start_io);
    sph_leave(scope);
}

/* Which request of a submitter's: every 64th is one that no disk knows, so that error paths are taken too. */
enum { UNKNOWN = 63, FLUSH = -1 };

/* False: no request came back. */
static bool submit(struct submitter *submitter, struct adapter *adapter, int number)
{
    struct request *request = free_slot(submitter);
    ULONG size = sph_port.miniport.SrbExtensionSize;
    unsigned place;
    size_t slot;
    bool go = true;

    if (request == NULL) return false;
    slot = (size_t)(request - submitter->slots);
    place = (unsigned)(submitter->number * WINDOW + slot) % BLOCKS;
    memset(&request->srb, 0, sizeof(request->srb));
    request->srb.Length = sizeof(request->srb);
    request->srb.SrbExtension = (char *)submitter->extensions + slot * size;
    if (number == FLUSH) {
        request->srb.Function = SRB_FUNCTION_FLUSH;
    } else {
        request->srb.Function = SRB_FUNCTION_EXECUTE_SCSI;
        request->srb.DataTransferLength = BLOCK;
        request->srb.DataBuffer = submitter->data[slot];
        request->srb.CdbLength = 10;
        request->srb.Cdb[0] = number % 64 == UNKNOWN ? 0xFF : number % 2 ? SCSIOP_READ : SCSIOP_WRITE;
        request->srb.Cdb[4] = (UCHAR)(place >> 8);
        request->srb.Cdb[5] = (UCHAR)place;
    }
    request->adapter = adapter;
    pthread_mutex_lock(&sph_port.lock);
    request->submitted = true;
    adapter->outstanding++;
    pthread_mutex_unlock(&sph_port.lock);

    if (sph_port.miniport.HwBuildIo != NULL) {
        struct scope scope = sph_enter("HwStorBuildIo", DISPATCH_LEVEL);
        go = sph_port.miniport.HwBuildIo(adapter->extension, &request->srb);
        sph_leave(scope);
    }
    if (go) start_io(adapter, &request->srb);
    return true;
}

static void *submit_all(void *context)
{
    struct submitter *submitter = context;
    unsigned n;
    for (n = 0; n < submitter->requests; n++)
        if (!submit(submitter, &sph_port.adapters[n % sph_port.count], (int)n)) break; /* idle() says so */
    return NULL;
}

static int prepare(struct submitter *submitter, unsigned number, unsigned requests)
{
    ULONG size = sph_port.miniport.SrbExtensionSize;
    memset(submitter, 0, sizeof(*submitter));
    submitter->number = number;
    submitter->requests = requests;
    submitter->extensions = malloc((size_t)WINDOW * (size > 0 ? size : 1));
    return submitter->extensions != NULL ? 0 : 1;
}

int sph_traffic(unsigned requests)
{
    static struct submitter submitters[2];
    pthread_t threads[2], device;
    int wrong = 0;
    unsigned n;

    sph_port.stopping = false;
    for (n = 0; n < 2; n++)
        wrong |= prepare(&submitters[n], n, requests);
    if (wrong || pthread_create(&device, NULL, sph_device, NULL) != 0) return 1;
    for (n = 0; n < 2; n++)
        if (pthread_create(&threads[n], NULL, submit_all, &submitters[n]) != 0) abort();
    for (n = 0; n < 2; n++)
        pthread_join(threads[n], NULL);
    idle();

    pthread_mutex_lock(&sph_port.lock);
    sph_port.held = true;
    pthread_mutex_unlock(&sph_port.lock);
    for (n = 0; n < WINDOW / 2; n++)
        submit(&submitters[0], &sph_port.adapters[n % sph_port.count], (int)n);
    for (n = 0; n < sph_port.count; n++) {
        struct adapter *adapter = &sph_port.adapters[n];
        struct scope scope = sph_enter("HwStorResetBus", DISPATCH_LEVEL);
        sph_lock(adapter, &adapter->start_io);
        sph_port.miniport.HwResetBus(adapter->extension, 0);
        pthread_mutex_unlock(&adapter->start_io);
        sph_leave(scope);
    }
    pthread_mutex_lock(&sph_port.lock);
    sph_port.held = false;
    pthread_cond_broadcast(&sph_port.changed);
    pthread_mutex_unlock(&sph_port.lock);
    idle();
    for (n = 0; n < sph_port.count; n++)
        submit(&submitters[0], &sph_port.adapters[n], FLUSH);
    idle();

    pthread_mutex_lock(&sph_port.lock);
    sph_port.stopping = true;
    pthread_cond_broadcast(&sph_port.changed);
    pthread_mutex_unlock(&sph_port.lock);
    pthread_join(device, NULL);
    for (n = 0; n < 2; n++)
        free(submitters[n].extensions);
    return 0;
}

void sph_write_in_dump(struct adapter *adapter)
{
    static struct submitter submitter;
    KIRQL before;
    if (prepare(&submitter, 0, 1) != 0) return;
    before = sp_raise_irql(HIGH_LEVEL);
    submit(&submitter, adapter, 0);
    sp_lower_irql(before);
    /* There are no DPCs either: removal forgets what the miniport queued. */
    free(submitter.extensions);
}
