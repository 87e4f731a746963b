/* Threads that hand blocks over, while a timer's signal allocates and frees in each of them. */
#define _GNU_SOURCE
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>

#define THREADS 4
#define ROUNDS 200000

static PVOID disk, signalled;
static _Atomic(void *) shelf[64];
static atomic_ullong in_handlers;

static void on_timer(int number)
{
    PVOID block;
    KIRQL before = sp_raise_irql(DISPATCH_LEVEL);
    (void)number;
    if (StorPortAllocatePool(signalled, 80, SP_TAG('I', 's', 'r', ' '), &block) == STOR_STATUS_SUCCESS) {
        memset(block, 0x5A, 80);
        if (StorPortFreePool(signalled, block) != STOR_STATUS_SUCCESS) abort();
        atomic_fetch_add(&in_handlers, 1);
    }
    sp_lower_irql(before);
}

static void *work(void *seed)
{
    unsigned random = (unsigned)(uintptr_t)seed * 2654435761u + 1;
    unsigned n;
    for (n = 0; n < ROUNDS; n++) {
        ULONG bytes;
        unsigned char *block;
        random = random * 1664525u + 1013904223u;
        bytes = 16 + (random >> 8) % 2000;
        CHECK(StorPortAllocatePool(disk, bytes, TAG, (PVOID *)&block) == STOR_STATUS_SUCCESS);
        block[0] = block[bytes - 1] = (unsigned char)bytes;
        block = atomic_exchange(&shelf[(random >> 24) % 64], block);
        if (block != NULL) CHECK(StorPortFreePool(disk, block) == STOR_STATUS_SUCCESS);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    struct sigaction action;
    sp_pool *pool = sp_pool_create(64 << 20);
    size_t n;

    disk = sp_adapter_create(pool, "disk", 0);
    signalled = sp_adapter_create(pool, "signals", 0);
    memset(&action, 0, sizeof(action));
    action.sa_handler = on_timer;
    action.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
    for (n = 0; n < THREADS; n++)
        CHECK(pthread_create(&threads[n], NULL, work, (void *)(uintptr_t)(n + 1)) == 0);
    for (n = 0; n < THREADS; n++)
        CHECK(pthread_join(threads[n], NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    for (n = 0; n < 64; n++)
        if (shelf[n] != NULL) CHECK(StorPortFreePool(disk, shelf[n]) == STOR_STATUS_SUCCESS);
    CHECK(atomic_load(&in_handlers) > 0);
    CHECK(sp_adapter_remove(disk, NULL, NULL) == 0 && sp_adapter_remove(signalled, NULL, NULL) == 0);
    sp_pool_destroy(pool);
    puts("threads: ok");
    return 0;
}
