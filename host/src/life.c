/* A miniport's life, from DriverEntry to removal. */
#include "internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WINDOW = 16, BLOCKS = 256, BLOCK = 4096 };
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

/* Two threads submit while the third one completes; then a bus reset finds requests outstanding; then each adapter is
   flushed, since it will be stopped. */
static int traffic(unsigned requests)
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

/* Asks which controls the miniport has; from then on it gets no others. */
static void query(struct adapter *adapter)
{
    struct scope scope;
    adapter->controls.MaxControlType = ScsiAdapterControlMax;
    scope = sph_enter("HwStorAdapterControl (query)", PASSIVE_LEVEL);
    sph_port.miniport.HwAdapterControl(adapter->extension, ScsiQuerySupportedControlTypes, &adapter->controls);
    sph_leave(scope);
    if (sph_port.miniport.HwUnitControl == NULL) return;
    adapter->unit_controls.MaxControlType = ScsiUnitControlMax;
    scope = sph_enter("HwStorUnitControl (query)", PASSIVE_LEVEL);
    sph_port.miniport.HwUnitControl(adapter->extension, ScsiQuerySupportedUnitControlTypes,
                                    &adapter->unit_controls);
    sph_leave(scope);
}

static void control(struct adapter *adapter, SCSI_ADAPTER_CONTROL_TYPE type, const char *callback)
{
    struct scope scope = sph_enter(callback, DIRQL);
    if (sph_port.miniport.HwAdapterControl(adapter->extension, type, NULL) != ScsiAdapterControlSuccess)
        sph_say("%s: %s failed", adapter->name, callback);
    sph_leave(scope);
}

static void control_units(SCSI_UNIT_CONTROL_TYPE type, const char *callback)
{
    unsigned n;
    for (n = 0; n < sph_port.count; n++) {
        struct adapter *adapter = &sph_port.adapters[n];
        STOR_ADDR_BTL8 unit = {STOR_ADDRESS_TYPE_BTL8, 0, STOR_ADDR_BTL8_ADDRESS_LENGTH, 0, 0, 0, 0};
        struct scope scope;
        if (!adapter->found || !adapter->unit_controls.SupportedTypeList[type]) continue;
        scope = sph_enter(callback, PASSIVE_LEVEL);
        sph_port.miniport.HwUnitControl(adapter->extension, type, &unit);
        sph_leave(scope);
    }
}

static const char *found_as(ULONG status)
{
    switch (status) {
    case SP_RETURN_NOT_FOUND:
        return "SP_RETURN_NOT_FOUND";
    case SP_RETURN_ERROR:
        return "SP_RETURN_ERROR";
    case SP_RETURN_BAD_CONFIG:
        return "SP_RETURN_BAD_CONFIG";
    default:
        return "no such status";
    }
}

/* FindAdapter, Initialize and, unless for a dump, PassiveInitialize. */
static int initialize(struct adapter *adapter, bool dump)
{
    BOOLEAN again = FALSE, well;
    struct scope scope;
    ULONG status;

    adapter->config.Length = sizeof(adapter->config);
    adapter->config.MaximumTransferLength = BLOCK;
    adapter->config.NumberOfBuses = 1;
    adapter->config.SynchronizationModel = StorSynchronizeFullDuplex;
    adapter->config.DumpMode = dump;
    adapter->passive_initialize = NULL;
    scope = sph_enter("HwStorFindAdapter", dump ? HIGH_LEVEL : PASSIVE_LEVEL);
    status = sph_port.miniport.HwFindAdapter(adapter->extension, NULL, NULL, NULL, &adapter->config, &again);
    sph_leave(scope);
    adapter->found = status == SP_RETURN_FOUND;
    if (!adapter->found) {
        sph_say("%s: HwStorFindAdapter returned %u, %s", adapter->name, (unsigned)status, found_as(status));
        return 1;
    }
    scope = sph_enter("HwStorInitialize", dump ? HIGH_LEVEL : DIRQL);
    well = sph_port.miniport.HwInitialize(adapter->extension);
    sph_leave(scope);
    if (well && adapter->passive_initialize != NULL && !dump) {
        scope = sph_enter("HwStorPassiveInitializeRoutine", PASSIVE_LEVEL);
        well = adapter->passive_initialize(adapter->extension);
        sph_leave(scope);
    }
    if (!well) sph_say("%s: initialization failed", adapter->name);
    return well ? 0 : 1;
}

static int start(struct adapter *adapter, sp_pool *pool, unsigned number, bool dump)
{
    pthread_mutexattr_t checked;
    int failed;

    memset(adapter, 0, sizeof(*adapter));
    snprintf(adapter->name, sizeof(adapter->name), "adapter %u", number);
    adapter->extension = sp_adapter_create(pool, adapter->name, sph_port.miniport.DeviceExtensionSize);
    if (adapter->extension == NULL) {
        sph_say("%s: %s", adapter->name, sp_last_error());
        return 1;
    }
    pthread_mutexattr_init(&checked);
    pthread_mutexattr_settype(&checked, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&adapter->start_io, &checked);
    pthread_mutex_init(&adapter->interrupt, &checked);
    pthread_mutex_init(&adapter->dpc, &checked);
    pthread_mutexattr_destroy(&checked);
    sph_port.count++;
    failed = initialize(adapter, dump);
    if (!failed && !dump) query(adapter);
    return failed;
}

/* Stops all adapters, and brings them up again if that is asked for: by their own control, or, if they have none,
   by initializing them anew. */
static int stop_all(bool restart)
{
    int failed = 0;
    unsigned n;
    for (n = 0; n < sph_port.count; n++) {
        struct adapter *adapter = &sph_port.adapters[n];
        const BOOLEAN *has = adapter->controls.SupportedTypeList;
        adapter->timer = NULL;
        if (has[ScsiStopAdapter]) control(adapter, ScsiStopAdapter, "HwStorAdapterControl (stop)");
        if (!restart) continue;
        if (has[ScsiRestartAdapter]) {
            control(adapter, ScsiRestartAdapter, "HwStorAdapterControl (restart)");
        } else {
            failed |= initialize(adapter, false);
        }
    }
    return failed;
}

static void remove_all(void)
{
    struct scope scope;
    unsigned n;
    control_units(ScsiUnitRemove, "HwStorUnitControl (remove)");
    /* What a stopped adapter queued lies in its extension, and nobody runs it any more. */
    sph_port.first = NULL;
    sph_port.last = &sph_port.first;
    for (n = 0; n < sph_port.count; n++) {
        struct adapter *adapter = &sph_port.adapters[n];
        if (adapter->found && sph_port.miniport.HwFreeAdapterResources != NULL) {
            scope = sph_enter("HwStorFreeAdapterResources", PASSIVE_LEVEL);
            sph_port.miniport.HwFreeAdapterResources(adapter->extension);
            sph_leave(scope);
        }
        sph_ledger_leaks(adapter);
        sp_adapter_remove(adapter->extension, NULL, NULL); /* what leaked stays in the tag table's Diff */
        pthread_mutex_destroy(&adapter->start_io);
        pthread_mutex_destroy(&adapter->interrupt);
        pthread_mutex_destroy(&adapter->dpc);
    }
    sph_port.count = 0;
}

/* The system writes a dump: everything at HIGH_LEVEL, and no pool. One adapter starts and writes a block. */
static void dump(sp_pool *pool)
{
    static struct submitter submitter;
    sp_set_not_implemented(pool, true);
    if (start(&sph_port.adapters[0], pool, 99, true) == 0 && prepare(&submitter, 0, 1) == 0) {
        KIRQL before = sp_raise_irql(HIGH_LEVEL);
        submit(&submitter, &sph_port.adapters[0], 0);
        sp_lower_irql(before);
        sph_port.stopping = false;
        /* There are no DPCs either: removal forgets what the miniport queued. */
        free(submitter.extensions);
    }
    sp_set_not_implemented(pool, false);
    remove_all();
}

static void tags(sp_pool *pool)
{
    sp_snapshot *snapshot = sp_snapshot_take(pool);
    sp_row row;
    sph_say(" Tag  Type     Allocs            Frees      Diff     Bytes");
    while (sp_snapshot_next_tag(snapshot, &row))
        sph_say(" %s Nonp %10" PRIu64 " %16" PRIu64 " %9" PRIu64 " %9" PRIu64, row.text, row.allocs, row.frees,
                row.live, row.bytes);
    sp_snapshot_free(snapshot);
}

int sph_run(DRIVER_INITIALIZE *entry, const sph_options *options, sph_result *result)
{
    unsigned adapters = options->adapters > 0 ? options->adapters : 2;
    unsigned requests = options->requests > 0 ? options->requests : 2000;
    sp_pool *pool;
    int failed = 1;
    unsigned n;

    memset(result, 0, sizeof(*result));
    sph_port_reset();
    pool = sp_pool_create(options->pool_bytes > 0 ? options->pool_bytes : (size_t)64 << 20);
    if (pool == NULL || adapters > MAX_ADAPTERS) {
        if (pool != NULL) sp_pool_destroy(pool);
        return 1;
    }
    sp_set_system_pool(pool);
    sph_ledger_open(options, result);
    sp_on_violation(pool, sph_violation, NULL);

    if (entry(&sph_port, NULL) != STOR_STATUS_SUCCESS) {
        sph_say("DriverEntry failed");
    } else {
        failed = 0;
        for (n = 0; n < adapters && !failed; n++)
            failed = start(&sph_port.adapters[n], pool, n, false);
        failed = failed || traffic(requests);
        if (!failed) {
            control_units(ScsiUnitStart, "HwStorUnitControl (start)");
            failed = stop_all(true) || traffic(requests);
            stop_all(false);
        }
        remove_all();
        if (!failed) dump(pool);
        sph_ledger_leaks(NULL);
    }
    result->requests = sph_port.completed;
    sph_ledger_close();
    tags(pool);
    sph_say("%lu requests, %lu allocations: %u leaked, %u freed twice, %u through another adapter, %u other bad "
            "frees, %u above DISPATCH_LEVEL, %u suspected overwritten, %u other",
            result->requests, result->allocations, result->leaks, result->double_frees, result->wrong_owners,
            result->bad_frees, result->wrong_irqls, result->overwritten, result->other);
    sp_pool_destroy(pool);
    return failed;
}
