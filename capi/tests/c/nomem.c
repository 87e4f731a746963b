/* A malloc that fails at the n-th call, for each n: calls fail with a reason, and lose nothing. */
#define _GNU_SOURCE
#include "check.h"

#include <unistd.h>

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *memory);
int posix_memalign(void **memory, size_t alignment, size_t bytes);
void *aligned_alloc(size_t alignment, size_t bytes);

/* Calls until the one that fails; those after it fail too. -1: none fails. */
static long left = -1;
static int asked;
/* Pieces that were given and not freed. */
static long given;

static int fails(void)
{
    if (left < 0) return 0;
    asked = 1;
    return left == 0 || left-- == 0;
}

static void *counted(void *memory)
{
    given += memory != NULL;
    return memory;
}

void *malloc(size_t bytes)
{
    return fails() ? NULL : counted(__libc_malloc(bytes));
}

void *calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : counted(__libc_calloc(count, bytes));
}

void *realloc(void *memory, size_t bytes)
{
    if (fails()) return NULL;
    given += memory == NULL;
    return __libc_realloc(memory, bytes);
}

int posix_memalign(void **memory, size_t alignment, size_t bytes)
{
    if (fails()) return 12;
    *memory = counted(__libc_memalign(alignment, bytes));
    return *memory == NULL ? 12 : 0;
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    return fails() ? NULL : counted(__libc_memalign(alignment, bytes));
}

void free(void *memory)
{
    given -= memory != NULL;
    __libc_free(memory);
}

static int heard;

static void hear(void *context, const sp_violation *violation)
{
    (void)context;
    heard += strlen(violation->text) > 0;
}

/* The n-th call of malloc from here on fails, and all after it. */
static void begin(long n)
{
    left = n;
    asked = 0;
}

/* Whether one failed. */
static int end(void)
{
    int failed = left == 0 && asked;
    left = -1;
    return failed;
}

static sp_options options(void)
{
    sp_options options;
    memset(&options, 0, sizeof(options));
    options.size = sizeof(options);
    options.range_bytes = 1 << 20;
    return options;
}

int main(void)
{
    sp_options plain = options();
    sp_pool *pool = NULL, *other;
    sp_snapshot *snapshot;
    sp_usage usage;
    PVOID disk, block;
    long n, before;
    int failed;

    /* The very first pool of the process. */
    for (n = 0; pool == NULL; n++) {
        begin(n);
        pool = sp_pool_create(1 << 20);
        failed = end();
        CHECK(pool != NULL || (failed && strlen(sp_last_error()) > 0));
        CHECK(n < 100);
    }
    CHECK(n > 1 && *sp_last_error() == 0);
    /* More of them, from here on without loss. */
    before = given;
    for (n = 0, other = NULL; other == NULL; n++) {
        begin(n);
        other = n % 2 ? sp_pool_create(1 << 20) : sp_pool_create_with(&plain);
        failed = end();
        if (other == NULL) {
            CHECK(failed && strlen(sp_last_error()) > 0);
            before = n == 0 ? given : before;
            CHECK(given == before);
        }
    }
    CHECK(n > 1);
    /* A seat among the pools stays; the handle goes, and ending needs nothing. */
    before = given;
    begin(0);
    sp_pool_destroy(other);
    end();
    CHECK(given == before - 1);

    before = given;
    for (n = 0; n < 10; n++) {
        begin(n);
        disk = sp_adapter_create(pool, "a name that is longer than an adapter's name may be", 4096);
        end();
        CHECK(disk != NULL && given == before);
        begin(n);
        CHECK(StorPortAllocatePool(disk, 100, TAG, &block) == STOR_STATUS_SUCCESS);
        sp_on_violation(pool, hear, &heard);
        heard = 0;
        CHECK(StorPortFreePool(disk, (char *)block + 16) == STOR_STATUS_INVALID_PARAMETER && heard == 1);
        CHECK(sp_pool_usage(pool, &usage) && usage.live == 2 * (uint64_t)n + 1);
        CHECK(sp_pool_trim(pool, NULL));
        CHECK(sp_adapter_remove(disk, NULL, NULL) == 1 && heard == 2);
        CHECK(sp_adapter_remove(disk, NULL, NULL) == SP_NO_ADAPTER && strlen(sp_last_error()) > 0);
        end();
        CHECK(given == before);
        disk = sp_adapter_create(pool, "release", 0);
        begin(n);
        CHECK(StorPortAllocatePool(disk, 100, TAG + (ULONG)n, &block) == STOR_STATUS_SUCCESS);
        CHECK(sp_adapter_release(disk, NULL, NULL) == 1);
        end();
        sp_on_violation(pool, NULL, NULL);
        disk = sp_adapter_create(pool, "many", 0);
        CHECK(StorPortAllocatePool(disk, 100 + 2000 * (ULONG)n, TAG + (ULONG)n, &block) == STOR_STATUS_SUCCESS);
        CHECK(sp_pool_usage(pool, &usage) && usage.live == 2 * (uint64_t)n + 2);
    }

    before = given;
    for (n = 0, snapshot = NULL; snapshot == NULL; n++) {
        begin(n);
        snapshot = sp_snapshot_take(pool);
        failed = end();
        if (snapshot == NULL) CHECK(failed && strcmp(sp_last_error(), "malloc has no memory") == 0 && given == before);
        CHECK(n < 1000);
    }
    CHECK(n > 10);
    sp_snapshot_free(snapshot);
    CHECK(given == before);

    /* A watch, and its pictures. */
    {
        static char path[64];
        sp_watch *watch = NULL;
        int published;
        sprintf(path, "/tmp/sp-nomem-%ld.watch", (long)getpid());
        before = given;
        for (n = 0; watch == NULL; n++) {
            begin(n);
            watch = sp_watch_create(path);
            failed = end();
            if (watch == NULL)
                CHECK(failed && strstr(sp_last_error(), "memory") != NULL && given == before && access(path, F_OK) != 0);
            CHECK(n < 1000);
        }
        CHECK(n > 3);
        before = given;
        for (n = 0, published = 0; !published; n++) {
            begin(n);
            published = sp_watch_publish(watch, pool);
            failed = end();
            CHECK((published || failed) && given == before);
            CHECK(published || strstr(sp_last_error(), "memory") != NULL);
            CHECK(n < 1000);
        }
        CHECK(n > 10);
        begin(0);
        sp_watch_close(watch);
        end();
        CHECK(access(path, F_OK) != 0);
        before = given;
    }

    /* Changes of the callback keep nothing. */
    for (n = 0; n < 100000; n++)
        sp_on_violation(pool, n % 2 ? hear : NULL, NULL);
    CHECK(given == before);
    begin(0);
    sp_pool_destroy(pool);
    end();
    left = -1;
    puts("nomem: ok");
    return 0;
}
