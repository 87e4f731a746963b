/* Extensions: whatever address is passed; their limit; what an ended pool leaves; removal under calls. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <pthread.h>
#include <time.h>

enum { REMOVALS = 300, HAMMERS = 3 };

static void refused(PVOID extension)
{
    PVOID block = &block;
    CHECK(StorPortAllocatePool(extension, 8, TAG, &block) == STOR_STATUS_INVALID_PARAMETER && block == NULL);
    CHECK(StorPortFreePool(extension, NULL) == STOR_STATUS_INVALID_PARAMETER);
    CHECK(sp_adapter_remove(extension, NULL, NULL) == SP_NO_ADAPTER);
}

static void before_there_is_a_pool(void)
{
    uintptr_t address;
    for (address = 0; address < (uintptr_t)1 << 33; address += (uintptr_t)1 << 16)
        refused((PVOID)address);
    for (address = 1; address != 0; address <<= 1) {
        refused((PVOID)address);
        refused((PVOID)~address);
    }
    refused((PVOID)~(uintptr_t)0);
}

/* All but the address itself, bit by bit, and all that lies in the extension. */
static void near(PVOID extension, size_t bytes)
{
    uintptr_t bit;
    size_t inside;
    for (bit = 1; bit != 0; bit <<= 1)
        refused((PVOID)((uintptr_t)extension ^ bit));
    for (inside = 1; inside < bytes; inside += 61)
        refused((char *)extension + inside);
    memset(extension, 0x55, bytes);
}

/* A process has 65535 extensions. */
static void limits(void)
{
    enum { POOLS = 70 };
    static sp_pool *pools[POOLS];
    sp_options options;
    PVOID last = NULL, removed = NULL, extension;
    size_t made = 0, n;

    memset(&options, 0, sizeof(options));
    options.size = sizeof(options);
    options.range_bytes = 1 << 16;
    options.cpus = 1;
    options.adapters = 1000;
    options.accounts = 2048;
    for (n = 0; n < POOLS; n++) {
        CHECK((pools[n] = sp_pool_create_with(&options)) != NULL);
        while ((extension = sp_adapter_create(pools[n], "many", 200000 * (made % 2))) != NULL) {
            CHECK(((char *)extension)[0] == 0 && extension != last);
            ((char *)extension)[0] = 1;
            last = extension;
            made++;
        }
        if (strstr(sp_last_error(), "address space") != NULL) break;
        CHECK(made == 1000 * (n + 1));
    }
    CHECK(made == 65535 && n == 65);
    CHECK(sp_adapter_create(pools[n], "huge", (size_t)-1) == NULL);
    CHECK(sp_adapter_create(pools[n], "huge", (size_t)5 << 30) == NULL);
    CHECK(strstr(sp_last_error(), "5368709120 bytes") != NULL);
    /* What a removed one had is used again when its pool ends. */
    removed = last;
    CHECK(sp_adapter_remove(removed, NULL, NULL) == 0);
    refused(removed);
    CHECK(sp_adapter_create(pools[n], "none", 1) == NULL);
    sp_pool_destroy(pools[0]);
    last = sp_adapter_create(pools[n], "large", (size_t)64 << 20);
    CHECK(last != NULL && *sp_last_error() == 0);
    for (made = 1; made <= n; made++)
        sp_pool_destroy(pools[made]);
    refused(last);
    pools[0] = sp_pool_create(1 << 20);
    last = sp_adapter_create(pools[0], "alone", (size_t)64 << 20);
    near(last, 1 << 17);
    sp_pool_destroy(pools[0]);
    refused(last);
}

static PVOID owner;

static void hears(void *context, const sp_violation *violation)
{
    (void)context;
    CHECK(violation->kind == SP_LEAK && violation->blocks == 1);
    owner = violation->owner;
}

/* What is left when a pool ends is told by its owner's extension. */
static void left_behind(void)
{
    sp_pool *pool = sp_pool_create(1 << 20);
    PVOID extension = sp_adapter_create(pool, "left", 1), block;
    sp_on_violation(pool, hears, NULL);
    CHECK(StorPortAllocatePool(extension, 8, TAG, &block) == STOR_STATUS_SUCCESS);
    sp_pool_destroy(pool);
    CHECK(owner == extension);
    refused(extension);
}

static PVOID target;
static bool stop;

/* Whether a call is before a removal or after it, it gets one of two statuses. */
static void *hammer(void *context)
{
    unsigned number = (unsigned)(uintptr_t)context;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        PVOID extension = __atomic_load_n(&target, __ATOMIC_RELAXED), block = &block;
        ULONG status;
        number = number * 1103515245 + 12345;
        status = StorPortAllocatePool(extension, 1 + (number >> 8) % 5000, TAG, &block);
        if (status == STOR_STATUS_SUCCESS) status = StorPortFreePool(extension, block);
        CHECK(status == STOR_STATUS_SUCCESS || status == STOR_STATUS_INVALID_PARAMETER);
    }
    return NULL;
}

static void removal_under_calls(void)
{
    sp_pool *pool = sp_pool_create((size_t)256 << 20);
    pthread_t threads[HAMMERS];
    uintptr_t n;
    target = sp_adapter_create(pool, "target", 1);
    for (n = 0; n < HAMMERS; n++)
        CHECK(pthread_create(&threads[n], NULL, hammer, (void *)n) == 0);
    for (n = 0; n < REMOVALS; n++) {
        PVOID before = target, next = sp_adapter_create(pool, "target", 1);
        CHECK(next != NULL);
        __atomic_store_n(&target, next, __ATOMIC_RELAXED);
        nanosleep(&(struct timespec){0, 300000}, NULL);
        CHECK(sp_adapter_remove(before, NULL, NULL) <= HAMMERS);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (n = 0; n < HAMMERS; n++)
        pthread_join(threads[n], NULL);
    sp_pool_destroy(pool);
}

/* An adapter that cannot be made costs none of a pool's 65535. */
static void failures_cost_nothing(void)
{
    sp_options options;
    sp_pool *pool;
    PVOID extension;
    int n;

    memset(&options, 0, sizeof(options));
    options.size = sizeof(options);
    options.range_bytes = 1 << 16;
    options.adapters = 1;
    pool = sp_pool_create_with(&options);
    for (n = 0; n < 70000; n++)
        CHECK(sp_adapter_create(pool, "none", (size_t)1 << 60) == NULL);
    CHECK((extension = sp_adapter_create(pool, "one", 8)) != NULL);
    CHECK(sp_adapter_create(pool, "two", 8) == NULL && sp_last_error()[0] != 0);
    CHECK(sp_adapter_remove(extension, NULL, NULL) == 0);
    CHECK(sp_adapter_create(pool, "two", 8) != NULL);
    sp_pool_destroy(pool);
}

int main(void)
{
    before_there_is_a_pool();
    /* Once for each library: it takes long. */
    if (strcmp(getenv("STORPORT_POOL_COMMIT"), "portable") != 0) limits();
    left_behind();
    failures_cost_nothing();
    removal_under_calls();
    puts("extensions: ok");
    return 0;
}
