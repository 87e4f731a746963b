/* The side table: where each block came from and went to. It makes the pool's calls one at a time, so that what it
   knows is what the pool knows. */
#include "internal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    PVOID block; /* NULL: no entry */
    const char *allocated_in, *freed_in; /* freed_in NULL: live */
    PVOID extension; /* NULL: the system pool's */
    size_t bytes;
    ULONG tag;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry *entries;
static size_t size, used; /* size: a power of two */
static FILE *report;
static bool suspicions;
static bool refused; /* a violation was told since it was cleared */
static sph_result *result;

_Thread_local const char *sph_callback;

static const char the_host[] = "the host";

static const char *callback(void)
{
    return sph_callback != NULL ? sph_callback : the_host;
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
            sph_say("%s: %lu more%s%s%s%s", site->what, site->times - TOLD,
                    site->found_in != the_host ? ", found in " : "", site->found_in != the_host ? site->found_in : "",
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

static const char *readable(ULONG tag, char letters[5])
{
    int n;
    for (n = 0; n < 4; n++) {
        char letter = (char)(tag >> 8 * n);
        letters[n] = letter;
        if (letter < 0x20 || letter > 0x7E) letters[n] = '.';
    }
    letters[4] = 0;
    return letters;
}

/* "block 0x7f0012340 (tag 'Rqst', 80 bytes), allocated in HwStorBuildIo". */
static const char *describe(PVOID block, char *text, size_t length)
{
    const struct entry *entry = known(block);
    char letters[5];
    if (entry == NULL) {
        snprintf(text, length, "%p, which no callback allocated", block);
        return text;
    }
    snprintf(text, length, "block %p (tag '%s', %zu bytes), allocated in %s", block, readable(entry->tag, letters),
             entry->bytes, entry->allocated_in);
    return text;
}

/* Whose extension it is. */
static const char *name(PVOID extension)
{
    const struct adapter *adapter = sph_find(extension);
    if (extension == NULL) return "the driver";
    return adapter != NULL ? adapter->name : "an adapter that is gone";
}

/* Runs inside a pool call, so the table is ours. */
void sph_violation(void *context, const sp_violation *violation)
{
    char text[160];
    const struct entry *entry;
    (void)context;
    refused = true;
    switch (violation->kind) {
    case SP_DOUBLE_FREE:
        result->double_frees++;
        entry = known(violation->address);
        find("double free", origin(violation->address), "%s, freed in %s, freed again in %s",
             describe(violation->address, text, sizeof(text)),
             entry != NULL && entry->freed_in != NULL ? entry->freed_in : "an unknown place", callback());
        break;
    case SP_WRONG_OWNER: {
        result->wrong_owners++;
        find("wrong adapter", origin(violation->address), "%s for %s, freed in %s through %s",
             describe(violation->address, text, sizeof(text)), name(violation->owner), callback(),
             name(violation->caller));
        break;
    }
    case SP_WRONG_TAG: {
        char given[5];
        result->bad_frees++;
        find("wrong tag", origin(violation->address), "%s, freed in %s with tag '%s'",
             describe(violation->address, text, sizeof(text)), callback(), readable(violation->given_tag, given));
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

static void allocated_too_high(size_t bytes, ULONG tag)
{
    char text[64], letters[5];
    snprintf(text, sizeof(text), "tag '%s', %zu bytes", readable(tag, letters), bytes);
    too_high("allocation above DISPATCH_LEVEL", NULL, text);
}

static void freed_too_high(PVOID block)
{
    char text[160];
    too_high("free above DISPATCH_LEVEL", origin(block), describe(block, text, sizeof(text)));
}

/* A block is out. extension NULL: it is the system pool's. */
static void enter(PVOID block, PVOID extension, size_t bytes, ULONG tag)
{
    struct entry *entry = slot(block);
    if (entry->block == NULL && ++used > size / 2) {
        grow();
        entry = slot(block);
    }
    entry->block = block;
    entry->allocated_in = callback();
    entry->freed_in = NULL;
    entry->extension = extension;
    entry->bytes = bytes;
    entry->tag = tag;
    result->allocations++;
}

static void leave(PVOID block)
{
    struct entry *entry = known(block);
    if (entry != NULL) entry->freed_in = callback();
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
        enter(*BufferPointer, HwDeviceExtension, NumberOfBytes, Tag);
    } else if (status == STOR_STATUS_INVALID_IRQL) {
        allocated_too_high(NumberOfBytes, Tag);
    }
    pthread_mutex_unlock(&lock);
    return status;
}

ULONG sph_free_pool(PVOID HwDeviceExtension, PVOID BufferPointer)
{
    ULONG status;
    pthread_mutex_lock(&lock);
    status = StorPortFreePool(HwDeviceExtension, BufferPointer);
    if (status == STOR_STATUS_SUCCESS) {
        leave(BufferPointer);
    } else if (status == STOR_STATUS_INVALID_IRQL) {
        freed_too_high(BufferPointer);
    }
    pthread_mutex_unlock(&lock);
    return status;
}

/* The routines of the tagged pool have no status, so what they were told is looked at. */
static PVOID allocated(PVOID block, SIZE_T bytes, ULONG tag)
{
    if (block != NULL) {
        enter(block, NULL, bytes, tag);
    } else if (KeGetCurrentIrql() > DISPATCH_LEVEL) {
        allocated_too_high(bytes, tag);
    }
    pthread_mutex_unlock(&lock);
    return block;
}

PVOID sph_ex_allocate_pool2(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag)
{
    pthread_mutex_lock(&lock);
    return allocated(ExAllocatePool2(Flags, NumberOfBytes, Tag), NumberOfBytes, Tag);
}

PVOID sph_ex_allocate_pool_with_tag(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    pthread_mutex_lock(&lock);
    return allocated(ExAllocatePoolWithTag(PoolType, NumberOfBytes, Tag), NumberOfBytes, Tag);
}

PVOID sph_ex_allocate_pool_zero(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    pthread_mutex_lock(&lock);
    return allocated(ExAllocatePoolZero(PoolType, NumberOfBytes, Tag), NumberOfBytes, Tag);
}

/* Tag 0: any. */
void sph_ex_free_pool_with_tag(PVOID P, ULONG Tag)
{
    pthread_mutex_lock(&lock);
    refused = false;
    if (KeGetCurrentIrql() > DISPATCH_LEVEL) {
        freed_too_high(P);
    } else {
        ExFreePoolWithTag(P, Tag);
        if (!refused) leave(P);
    }
    pthread_mutex_unlock(&lock);
}

void sph_ex_free_pool(PVOID P)
{
    sph_ex_free_pool_with_tag(P, 0);
}

void sph_ledger_leaks(const struct adapter *adapter)
{
    const void *extension = adapter != NULL ? adapter->extension : NULL;
    char text[160];
    size_t n;
    pthread_mutex_lock(&lock);
    for (n = 0; n < size; n++) {
        struct entry *entry = &entries[n];
        if (entry->block != NULL && entry->freed_in == NULL && entry->extension == extension) {
            result->leaks++;
            find("leak", entry->allocated_in, "%s for %s", describe(entry->block, text, sizeof(text)),
                 adapter != NULL ? adapter->name : "the driver");
            entry->freed_in = "removal";
        }
    }
    pthread_mutex_unlock(&lock);
}
