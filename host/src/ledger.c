/* The side table: where each block came from and went to. It makes the pool's calls one at a time, so that what it
   knows is what the pool knows. */
#include "internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    PVOID block; /* NULL: no entry */
    const char *allocated_in, *freed_in; /* freed_in NULL: live */
    PVOID extension;
    ULONG bytes, tag;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry *entries;
static size_t size, used; /* size: a power of two */
static FILE *report;
static bool suspicions;
static sph_result *result;

_Thread_local const char *sph_callback;

static const char *callback(void)
{
    return sph_callback != NULL ? sph_callback : "the host";
}

void sph_say(const char *format, ...)
{
    va_list arguments;
    if (report == NULL) return;
    va_start(arguments, format);
    vfprintf(report, format, arguments);
    va_end(arguments);
    fputc('\n', report);
}

void sph_misuse(const char *format, ...)
{
    va_list arguments;
    pthread_mutex_lock(&lock);
    result->other++;
    if (report != NULL) {
        fprintf(report, "misuse in %s: ", callback());
        va_start(arguments, format);
        vfprintf(report, format, arguments);
        va_end(arguments);
        fputc('\n', report);
    }
    pthread_mutex_unlock(&lock);
}

/* A mistake in one place is found at every I/O: the first ones of each kind and place are told in full, the others
   counted. Places are told apart by their names' addresses, which are constants. */
struct site {
    const char *what, *allocated_in, *found_in;
    unsigned long times;
};
enum { SITES = 64, TOLD = 3 };
static struct site sites[SITES];

static void find(const char *what, const char *allocated_in, const char *format, ...)
{
    const char *found_in = callback();
    struct site *site = sites;
    va_list arguments;
    while (site < sites + SITES - 1 && site->what != NULL &&
           (site->what != what || site->allocated_in != allocated_in || site->found_in != found_in))
        site++;
    site->what = what;
    site->allocated_in = allocated_in;
    site->found_in = found_in;
    if (site->times++ >= TOLD || report == NULL) return;
    fprintf(report, "%s: ", what);
    va_start(arguments, format);
    vfprintf(report, format, arguments);
    va_end(arguments);
    fputc('\n', report);
}

static struct entry *slot(PVOID block)
{
    size_t at = ((uintptr_t)block >> 4) * (size_t)0x9E3779B97F4A7C15u >> 20;
    for (;; at++) {
        struct entry *entry = &entries[at & (size - 1)];
        if (entry->block == NULL || entry->block == block) return entry;
    }
}

static struct entry *known(PVOID block)
{
    struct entry *entry = slot(block);
    return entry->block != NULL ? entry : NULL;
}

static void grow(void)
{
    struct entry *old = entries;
    size_t n, before = size;
    size *= 2;
    entries = calloc(size, sizeof(*entries));
    if (entries == NULL) abort();
    for (n = 0; n < before; n++)
        if (old[n].block != NULL) *slot(old[n].block) = old[n];
    free(old);
}

void sph_ledger_open(const sph_options *options, sph_result *into)
{
    report = options->report;
    suspicions = options->suspicions;
    result = into;
    size = 1024;
    used = 0;
    memset(sites, 0, sizeof(sites));
    entries = calloc(size, sizeof(*entries));
    if (entries == NULL) abort();
}

void sph_ledger_close(void)
{
    const struct site *site;
    for (site = sites; site < sites + SITES && site->what != NULL; site++)
        if (site->times > TOLD)
            sph_say("%s: %lu more, found in %s%s%s", site->what, site->times - TOLD, site->found_in,
                    site->allocated_in != NULL ? ", of blocks allocated in " : "",
                    site->allocated_in != NULL ? site->allocated_in : "");
    free(entries);
    entries = NULL;
}

static const char *origin(PVOID block)
{
    const struct entry *entry = known(block);
    return entry != NULL ? entry->allocated_in : NULL;
}

/* "block 0x7f0012340 (tag 'Rqst', 80 bytes), allocated in HwStorBuildIo". */
static const char *describe(PVOID block, char *text, size_t length)
{
    const struct entry *entry = known(block);
    char tag[5] = {0};
    int n;
    if (entry == NULL) {
        snprintf(text, length, "%p, which no callback allocated", block);
        return text;
    }
    for (n = 0; n < 4; n++) {
        char letter = (char)(entry->tag >> 8 * n);
        tag[n] = letter >= 0x20 && letter <= 0x7E ? letter : '.';
    }
    snprintf(text, length, "block %p (tag '%s', %" PRIu32 " bytes), allocated in %s", block, tag, entry->bytes,
             entry->allocated_in);
    return text;
}

/* Runs inside a pool call, so the table is ours. */
void sph_violation(void *context, const sp_violation *violation)
{
    char text[160];
    const struct entry *entry;
    (void)context;
    switch (violation->kind) {
    case SP_DOUBLE_FREE:
        result->double_frees++;
        entry = known(violation->address);
        find("double free", origin(violation->address), "%s, freed in %s, freed again in %s",
             describe(violation->address, text, sizeof(text)),
             entry != NULL && entry->freed_in != NULL ? entry->freed_in : "an unknown place", callback());
        break;
    case SP_WRONG_OWNER: {
        struct adapter *owner = sph_find(violation->owner), *caller = sph_find(violation->caller);
        result->wrong_owners++;
        find("wrong adapter", origin(violation->address), "%s for %s, freed in %s through %s",
             describe(violation->address, text, sizeof(text)), owner ? owner->name : "an adapter that is gone",
             callback(), caller ? caller->name : "an adapter that is gone");
        break;
    }
    case SP_LEAK: /* block by block, in sph_ledger_leaks */
        break;
    case SP_WILD_FREE:
    case SP_FOREIGN_FREE:
    case SP_INTERIOR_FREE:
        result->bad_frees++;
        find("bad free", NULL, "%p in %s: %s", violation->address, callback(), violation->description);
        break;
    default:
        result->other++;
        find("misuse", NULL, "%s, in %s", violation->description, callback());
        break;
    }
}

static void too_high(const char *what, const char *allocated_in, const char *of)
{
    result->wrong_irqls++;
    find(what, allocated_in, "in %s, at IRQL %d: %s", callback(), (int)KeGetCurrentIrql(), of);
}

ULONG sph_allocate_pool(PVOID HwDeviceExtension, ULONG NumberOfBytes, ULONG Tag, PVOID *BufferPointer)
{
    char text[160];
    ULONG status;
    pthread_mutex_lock(&lock);
    if (suspicions && BufferPointer != NULL && *BufferPointer != NULL) {
        const struct entry *entry = known(*BufferPointer);
        if (entry != NULL && entry->freed_in == NULL && entry->extension == HwDeviceExtension) {
            result->overwritten++;
            find("suspected overwrite", entry->allocated_in, "allocation in %s into a pointer that holds a live %s",
                 callback(), describe(*BufferPointer, text, sizeof(text)));
        }
    }
    status = StorPortAllocatePool(HwDeviceExtension, NumberOfBytes, Tag, BufferPointer);
    if (status == STOR_STATUS_SUCCESS) {
        struct entry *entry = slot(*BufferPointer);
        if (entry->block == NULL && ++used > size / 2) {
            grow();
            entry = slot(*BufferPointer);
        }
        entry->block = *BufferPointer;
        entry->allocated_in = callback();
        entry->freed_in = NULL;
        entry->extension = HwDeviceExtension;
        entry->bytes = NumberOfBytes;
        entry->tag = Tag;
        result->allocations++;
    } else if (status == STOR_STATUS_INVALID_IRQL) {
        snprintf(text, sizeof(text), "tag '%c%c%c%c', %" PRIu32 " bytes", (char)Tag, (char)(Tag >> 8),
                 (char)(Tag >> 16), (char)(Tag >> 24), NumberOfBytes);
        too_high("allocation above DISPATCH_LEVEL", NULL, text);
    }
    pthread_mutex_unlock(&lock);
    return status;
}

ULONG sph_free_pool(PVOID HwDeviceExtension, PVOID BufferPointer)
{
    char text[160];
    ULONG status;
    pthread_mutex_lock(&lock);
    status = StorPortFreePool(HwDeviceExtension, BufferPointer);
    if (status == STOR_STATUS_SUCCESS) {
        struct entry *entry = known(BufferPointer);
        if (entry != NULL) entry->freed_in = callback();
    } else if (status == STOR_STATUS_INVALID_IRQL) {
        too_high("free above DISPATCH_LEVEL", origin(BufferPointer),
                 describe(BufferPointer, text, sizeof(text)));
    }
    pthread_mutex_unlock(&lock);
    return status;
}

void sph_ledger_leaks(struct adapter *adapter)
{
    char text[160];
    size_t n;
    pthread_mutex_lock(&lock);
    for (n = 0; n < size; n++) {
        struct entry *entry = &entries[n];
        if (entry->block != NULL && entry->freed_in == NULL && entry->extension == adapter->extension) {
            result->leaks++;
            find("leak", entry->allocated_in, "%s for %s", describe(entry->block, text, sizeof(text)), adapter->name);
            entry->freed_in = "removal";
        }
    }
    pthread_mutex_unlock(&lock);
}
