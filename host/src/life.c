/* A miniport's life, from DriverEntry to removal. */
#include "sph_host.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "findings.h"
#include "ledger.h"
#include "scope.h"
#include "state.h"
#include "traffic.h"

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
    const char *callback = "HwStorInitialize";
    BOOLEAN again = FALSE, well;
    struct scope scope;
    ULONG status;

    adapter->config.Length = sizeof(adapter->config);
    adapter->config.AdapterInterfaceType = sph_port.miniport.AdapterInterfaceType;
    adapter->config.MaximumTransferLength = BLOCK;
    adapter->config.NumberOfBuses = 1;
    adapter->config.SynchronizationModel = StorSynchronizeFullDuplex;
    adapter->config.DumpMode = dump;
    adapter->passive_initialize = NULL;
    scope = sph_enter(adapter->found_again ? "HwStorFindAdapter (second call)" : "HwStorFindAdapter",
                      dump ? HIGH_LEVEL : PASSIVE_LEVEL);
    status = sph_port.miniport.HwFindAdapter(adapter->extension, NULL, NULL, NULL, &adapter->config, &again);
    sph_leave(scope);
    adapter->found = status == SP_RETURN_FOUND;
    if (!adapter->found) {
        sph_say_why("%s: HwStorFindAdapter returned %u, %s", adapter->name, (unsigned)status, found_as(status));
        return 1;
    }
    scope = sph_enter(callback, dump ? HIGH_LEVEL : DIRQL);
    well = sph_port.miniport.HwInitialize(adapter->extension);
    sph_leave(scope);
    if (well && adapter->passive_initialize != NULL && !dump) {
        callback = "HwStorPassiveInitializeRoutine";
        scope = sph_enter(callback, PASSIVE_LEVEL);
        well = adapter->passive_initialize(adapter->extension);
        sph_leave(scope);
    }
    if (!well) sph_say_why("%s: %s returned FALSE", adapter->name, callback);
    return well ? 0 : 1;
}

static int start(struct adapter *adapter, sp_pool *pool, bool dump)
{
    pthread_mutexattr_t checked;
    int failed;

    memset(adapter, 0, sizeof(*adapter));
    if (dump) {
        snprintf(adapter->name, sizeof(adapter->name), "dump mode");
    } else {
        snprintf(adapter->name, sizeof(adapter->name), "hba%u", sph_port.count);
    }
    adapter->extension = sp_adapter_create(pool, adapter->name, sph_port.miniport.DeviceExtensionSize);
    if (adapter->extension == NULL) {
        sph_say_why("%s: %s", adapter->name, sp_last_error());
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
            adapter->found_again = sph_port.found_again = true;
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
    sp_set_not_implemented(pool, true);
    if (start(&sph_port.adapters[0], pool, true) == 0) sph_write_in_dump(&sph_port.adapters[0]);
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

/* The pool of a run, or of many, as the options want it; NULL, with a line in the report: why there is none. */
static sp_pool *pool_for(const sph_options *options)
{
    bool verifies = options->verify != NULL && options->verify[0] != 0;
    sp_options wanted;
    sp_pool *pool;
    if (options->adapters > MAX_ADAPTERS) {
        sph_say("%u adapters are more than %d", options->adapters, (int)MAX_ADAPTERS);
        return NULL;
    }
    memset(&wanted, 0, sizeof(wanted));
    wanted.size = sizeof(wanted);
    wanted.range_bytes = options->pool_bytes > 0 ? options->pool_bytes : (size_t)64 << 20;
    wanted.strict_tags = options->strict_tags;
    pool = sp_pool_create_with(&wanted);
    if (pool == NULL) {
        sph_say("the pool cannot be made: %s", sp_last_error());
    } else if (verifies && !(sp_verify(pool, options->verify) && sp_explain_faults(pool))) {
        sph_say("the pool cannot be verified: %s", sp_last_error());
        sp_pool_destroy(pool);
        return NULL;
    }
    if (pool != NULL) {
        sp_set_system_pool(pool);
        sp_on_violation(pool, sph_violation, NULL);
    }
    return pool;
}

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

static void verified(sp_pool *pool)
{
    sp_verifier_counts counts;
    if (sp_verifier_stats(pool, &counts))
        sph_say("%" PRIu64 " block%s verified, %" PRIu64 " of them guarded; %" PRIu64 " allocation%s refused on purpose",
                counts.verified, plural(counts.verified), counts.guarded, counts.refused, plural(counts.refused));
}

/* DriverEntry, which has to call StorPortInitialize. */
static int load(DRIVER_INITIALIZE *entry)
{
    ULONG status = entry(&sph_port, NULL);
    if (status != STOR_STATUS_SUCCESS) {
        sph_say_why("DriverEntry failed: it returned 0x%" PRIX32, status);
    } else if (sph_port.miniport.HwInitializationDataSize == 0) {
        sph_say_why("DriverEntry succeeded, and did not call StorPortInitialize");
        return 1;
    }
    return status != STOR_STATUS_SUCCESS;
}

/* From DriverEntry to removal. */
static int live(sp_pool *pool, DRIVER_INITIALIZE *entry, const sph_options *options, sph_result *result)
{
    unsigned adapters = options->adapters > 0 ? options->adapters : 2;
    unsigned requests = options->requests > 0 ? options->requests : 2000;
    int failed;
    unsigned n;

    memset(result, 0, sizeof(*result));
    sph_port_reset();
    sph_findings_open(options->report, result);
    sph_ledger_open(options->suspicions);

    failed = load(entry);
    if (!failed) {
        for (n = 0; n < adapters && !failed; n++)
            failed = start(&sph_port.adapters[n], pool, false);
        failed = failed || sph_traffic(requests);
        if (!failed) {
            control_units(ScsiUnitStart, "HwStorUnitControl (start)");
            failed = stop_all(true) || sph_traffic(requests);
            stop_all(false);
        }
        remove_all();
        if (!failed) dump(pool);
        sph_ledger_sweep(pool);
        sph_ledger_leaks(NULL);
    }
    result->requests = sph_port.completed;
    sph_findings_close();
    sph_ledger_close();
    return failed;
}

int sph_run(DRIVER_INITIALIZE *entry, const sph_options *options, sph_result *result)
{
    sp_pool *pool;
    int failed;
    memset(result, 0, sizeof(*result));
    sph_findings_open(options->report, result);
    pool = pool_for(options);
    if (pool == NULL) return 1;
    failed = live(pool, entry, options, result);
    tags(pool);
    verified(pool);
    sph_say("%lu request%s, %lu allocation%s: %u leaked, %u freed twice, %u through another adapter, %u other bad "
            "frees, %u above DISPATCH_LEVEL, %u suspected overwritten, %u corrupted, %u other",
            result->requests, plural(result->requests), result->allocations, plural(result->allocations), result->leaks,
            result->double_frees, result->wrong_owners, result->bad_frees, result->wrong_irqls, result->overwritten,
            result->corrupted, result->other);
    sp_pool_destroy(pool);
    return failed;
}

/* What the child of the counting run, in which nothing is refused, tells its parent. Shared memory. */
struct counted {
    bool lived;     /* a run has begun: the next one is not the counting one */
    char why[WHY]; /* it did not start */
};

/* What a run of sph_fail_each is made of. */
struct each {
    sp_pool *pool;
    DRIVER_INITIALIZE *entry;
    const sph_options *options;
    FILE *report;
    struct counted *counted;
    uint64_t allocations; /* of the counting run */
    bool told;            /* runs were made */
    bool clean;           /* so far */
    bool stuck, misused;  /* a run ended by status 2, or by SPH_MISUSE */
};

/* In a child process. What the pool does not see is told by a status. A miniport that does not start without memory is
   none of it; one that does not start with it is told of. */
static void live_once(void *context)
{
    const struct each *each = context;
    bool counts = !each->counted->lived;
    sph_result found;
    each->counted->lived = true;
    if (live(each->pool, each->entry, each->options, &found) != 0 && counts)
        snprintf(each->counted->why, WHY, "%s", sph_findings.why[0] != 0 ? sph_findings.why : "no threads");
    if (found.wrong_irqls + found.overwritten + found.other > 0) exit(SPH_MISUSE);
}

static void say_report(void *context, const sp_fail_run *run, const char *text)
{
    static const char alone[] = "Without --fail-each the report says more, if that run shows it.";
    struct each *each = context;
    each->told = true;
    if (run != NULL) {
        if (run->n == 0) each->allocations = run->allocations;
        each->clean = each->clean && run->clean;
        each->stuck |= run->end == SP_RUN_EXITED && run->code == 2;
        each->misused |= run->end == SP_RUN_EXITED && run->code == SPH_MISUSE;
        return;
    }
    if (each->report == NULL) return;
    if (!each->clean) fprintf(each->report, "%s\n", text);
    if (each->stuck)
        fprintf(each->report, "status 2: requests were never completed, or a lock was acquired twice. %s\n", alone);
    if (each->misused)
        fprintf(each->report, "status %d: the host found misuse. %s\n", (int)SPH_MISUSE, alone);
    if (each->counted->why[0] != 0) {
        fprintf(each->report, "it does not start, though no allocation was refused: %s\n", each->counted->why);
    } else if (each->clean && each->allocations == 0) {
        fprintf(each->report, "0 allocations: nothing was tried\n");
    } else if (each->clean) {
        fprintf(each->report, "%s\n", text);
    }
}

int sph_fail_each(DRIVER_INITIALIZE *entry, const sph_options *options, const sp_fail_options *runs)
{
    sph_options quiet = *options;
    sp_fail_options limited = *runs;
    struct each work = {.entry = entry, .options = &quiet, .report = options->report, .clean = true};
    bool clean, started;

    quiet.report = NULL;
    if (quiet.requests == 0) quiet.requests = 64;
    if (limited.limit_ms == 0) limited.limit_ms = 60000;
    limited.in_process = 0;
    work.pool = pool_for(options);
    if (work.pool == NULL) return -1;
    work.counted = mmap(NULL, sizeof(*work.counted), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (work.counted == MAP_FAILED) {
        if (options->report != NULL) fprintf(options->report, "mmap: %s\n", strerror(errno));
        sp_pool_destroy(work.pool);
        return -1;
    }
    if (options->report != NULL) fflush(options->report);
    clean = sp_fail_each(work.pool, NULL, &limited, live_once, &work, say_report);
    if (!work.told && options->report != NULL) fprintf(options->report, "%s\n", sp_last_error());
    started = work.counted->why[0] == 0;
    munmap(work.counted, sizeof(*work.counted));
    sp_pool_destroy(work.pool);
    return !work.told || !started ? -1 : !clean;
}
