/* The side table: where each block came from and went to. It makes the pool's calls one at a time, so that what it
   knows is what the pool knows. The findings' lock is the ledger's too. */
#include "ledger.h"

#include <inttypes.h>
#include <stdlib.h>

#include "findings.h"
#include "scope.h"
#include "state.h"

struct entry {
    PVOID block; /* NULL: no entry */
    const char *allocated_in, *freed_in; /* freed_in NULL: live */
    PVOID extension; /* NULL: the system pool's */
    size_t bytes;
    ULONG tag;
};

static struct entry *entries;
static size_t size, used; /* size: a power of two */
static bool suspicions;
static bool refused; /* a violation was told since it was cleared */

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

void sph_ledger_open(bool suspect)
{
    suspicions = suspect;
    size = 1024;
    used = 0;
    entries = calloc(size, sizeof(*entries));
    if (entries == NULL) abort();
}

void sph_ledger_close(void)
{
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

/* What the verifier found in memory. */
static void corrupted(const sp_violation *violation)
{
    char text[160], freed[64] = "";
    const struct entry *entry = known(violation->block);
    const uint64_t *parameters = violation->parameters;
    sph_findings.result->corrupted++;
    if (violation->kind == SP_WRITE_AFTER_FREE && entry != NULL && entry->freed_in != NULL)
        snprintf(freed, sizeof(freed), ", freed in %s", entry->freed_in);
    if (sph_found(violation->description, origin(violation->block),
                  "%s%s: 0x%02x at %p in place of 0x%02x, found in %s; Windows stops with 0x%" PRIX32 " (0x%" PRIX64
                  ", 0x%" PRIX64 ", 0x%" PRIX64 ", 0x%" PRIX64 ")",
                  describe(violation->block, text, sizeof(text)), freed, violation->evidence_bytes[0],
                  violation->evidence, violation->evidence_expected, sph_callback(), violation->bug_check, parameters[0],
                  parameters[1], parameters[2], parameters[3]))
        sph_stacks(violation);
}

/* An allocation into a pointer that holds a live block. */
static void overwritten(PVOID block)
{
    char text[160];
    sph_findings.result->overwritten++;
    sph_found("suspected overwrite", origin(block), "allocation in %s into a pointer that holds a live %s",
              sph_callback(), describe(block, text, sizeof(text)));
}

/* Runs inside a pool call, so the table is ours; but for faults, whose handler it is. */
void sph_violation(void *context, const sp_violation *violation)
{
    char text[160];
    const struct entry *entry;
    (void)context;
    if (violation->kind == SP_ACCESS_BEYOND || violation->kind == SP_ACCESS_FREED) {
        sph_say_last(violation);
        return;
    }
    /* What was written beside a block does not keep it from being freed. */
    refused = violation->evidence == NULL;
    switch (violation->kind) {
    case SP_DOUBLE_FREE:
        sph_findings.result->double_frees++;
        entry = known(violation->address);
        if (sph_found("double free", origin(violation->address), "%s, freed in %s, freed again in %s",
                      describe(violation->address, text, sizeof(text)),
                      entry != NULL && entry->freed_in != NULL ? entry->freed_in : "an unknown place", sph_callback()))
            sph_stacks(violation);
        break;
    case SP_WRONG_OWNER: {
        sph_findings.result->wrong_owners++;
        sph_found("wrong adapter", origin(violation->address), "%s for %s, freed in %s through %s",
                  describe(violation->address, text, sizeof(text)), name(violation->owner), sph_callback(),
                  name(violation->caller));
        break;
    }
    case SP_WRONG_TAG: {
        char given[5];
        sph_findings.result->bad_frees++;
        sph_found("wrong tag", origin(violation->address), "%s, freed in %s with tag '%s'",
                  describe(violation->address, text, sizeof(text)), sph_callback(),
                  readable(violation->given_tag, given));
        break;
    }
    case SP_LEAK: /* block by block, in sph_ledger_leaks */
    case SP_ALLOCATE_AT_IRQL: /* by their status, in the routines below */
    case SP_FREE_AT_IRQL:
        break;
    case SP_OVERRUN:
    case SP_UNDERRUN:
    case SP_WRITE_AFTER_FREE:
        corrupted(violation);
        break;
    case SP_OVERWRITTEN: /* told already, if suspicions are */
        if (!suspicions) overwritten(violation->block);
        break;
    case SP_WILD_FREE:
    case SP_FOREIGN_FREE:
    case SP_INTERIOR_FREE:
        sph_findings.result->bad_frees++;
        sph_found("bad free", NULL, "%p in %s: %s", violation->address, sph_callback(), violation->description);
        break;
    default:
        sph_findings.result->other++;
        sph_found("misuse", NULL, "%s, in %s", violation->description, sph_callback());
        break;
    }
}

static void too_high(const char *what, const char *allocated_in, const char *of)
{
    sph_findings.result->wrong_irqls++;
    sph_found(what, allocated_in, "in %s, at IRQL %d: %s", sph_callback(), (int)KeGetCurrentIrql(), of);
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
    entry->allocated_in = sph_callback();
    entry->freed_in = NULL;
    entry->extension = extension;
    entry->bytes = bytes;
    entry->tag = tag;
    sph_findings.result->allocations++;
}

static void leave(PVOID block)
{
    struct entry *entry = known(block);
    if (entry != NULL) entry->freed_in = sph_callback();
}

ULONG sph_allocate_pool(PVOID HwDeviceExtension, ULONG NumberOfBytes, ULONG Tag, PVOID *BufferPointer)
{
    ULONG status;
    pthread_mutex_lock(&sph_findings.lock);
    if (suspicions && BufferPointer != NULL && *BufferPointer != NULL) {
        const struct entry *entry = known(*BufferPointer);
        if (entry != NULL && entry->freed_in == NULL && entry->extension == HwDeviceExtension)
            overwritten(*BufferPointer);
    }
    status = StorPortAllocatePool(HwDeviceExtension, NumberOfBytes, Tag, BufferPointer);
    if (status == STOR_STATUS_SUCCESS) {
        enter(*BufferPointer, HwDeviceExtension, NumberOfBytes, Tag);
    } else if (status == STOR_STATUS_INVALID_IRQL) {
        allocated_too_high(NumberOfBytes, Tag);
    }
    pthread_mutex_unlock(&sph_findings.lock);
    return status;
}

ULONG sph_free_pool(PVOID HwDeviceExtension, PVOID BufferPointer)
{
    ULONG status;
    pthread_mutex_lock(&sph_findings.lock);
    status = StorPortFreePool(HwDeviceExtension, BufferPointer);
    if (status == STOR_STATUS_SUCCESS) {
        leave(BufferPointer);
    } else if (status == STOR_STATUS_INVALID_IRQL) {
        freed_too_high(BufferPointer);
    }
    pthread_mutex_unlock(&sph_findings.lock);
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
    pthread_mutex_unlock(&sph_findings.lock);
    return block;
}

PVOID sph_ex_allocate_pool2(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag)
{
    pthread_mutex_lock(&sph_findings.lock);
    return allocated(ExAllocatePool2(Flags, NumberOfBytes, Tag), NumberOfBytes, Tag);
}

PVOID sph_ex_allocate_pool_with_tag(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    pthread_mutex_lock(&sph_findings.lock);
    return allocated(ExAllocatePoolWithTag(PoolType, NumberOfBytes, Tag), NumberOfBytes, Tag);
}

PVOID sph_ex_allocate_pool_zero(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    pthread_mutex_lock(&sph_findings.lock);
    return allocated(ExAllocatePoolZero(PoolType, NumberOfBytes, Tag), NumberOfBytes, Tag);
}

/* Tag 0: any. */
void sph_ex_free_pool_with_tag(PVOID P, ULONG Tag)
{
    pthread_mutex_lock(&sph_findings.lock);
    refused = false;
    if (KeGetCurrentIrql() > DISPATCH_LEVEL) {
        freed_too_high(P);
    } else {
        ExFreePoolWithTag(P, Tag);
        if (!refused) leave(P);
    }
    pthread_mutex_unlock(&sph_findings.lock);
}

void sph_ex_free_pool(PVOID P)
{
    sph_ex_free_pool_with_tag(P, 0);
}

void sph_ledger_sweep(sp_pool *pool)
{
    pthread_mutex_lock(&sph_findings.lock);
    sp_verifier_sweep(pool, NULL);
    pthread_mutex_unlock(&sph_findings.lock);
}

void sph_ledger_leaks(const struct adapter *adapter)
{
    const void *extension = adapter != NULL ? adapter->extension : NULL;
    /* What the first call allocated and the second one forgot leaks, and the block does not show it. */
    bool again = adapter != NULL ? adapter->found_again : sph_port.found_again;
    char text[160];
    size_t n;
    pthread_mutex_lock(&sph_findings.lock);
    for (n = 0; n < size; n++) {
        struct entry *entry = &entries[n];
        if (entry->block != NULL && entry->freed_in == NULL && entry->extension == extension) {
            sph_findings.result->leaks++;
            sph_found("leak", entry->allocated_in, "%s for %s%s", describe(entry->block, text, sizeof(text)),
                      adapter != NULL ? adapter->name : "the driver",
                      again ? "; FindAdapter was called a second time, since there is no ScsiRestartAdapter" : "");
            entry->freed_in = "removal";
        }
    }
    pthread_mutex_unlock(&sph_findings.lock);
}
