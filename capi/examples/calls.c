/* What a call costs from C; calls.rs is its twin. Prints the best batch and the median, in ns, of pair (both calls)
   and of hot's two. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "storport_pool.h"

enum { BATCHES = 4000, BLOCKS = 1000 };

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(const char *name, double *batches)
{
    qsort(batches, BATCHES, sizeof(*batches), order);
    printf("%-14s %6.2f %6.2f\n", name, batches[0] / BLOCKS, batches[BATCHES / 2] / BLOCKS);
}

static const ULONG tag = SP_TAG('C', 'a', 'l', 'l');
static PVOID blocks[BLOCKS];

static int pair(PVOID disk)
{
    int n;
    for (n = 0; n < BLOCKS; n++) {
        PVOID block;
        if (StorPortAllocatePool(disk, 64, tag, &block) != STOR_STATUS_SUCCESS) return 0;
        if (StorPortFreePool(disk, block) != STOR_STATUS_SUCCESS) return 0;
    }
    return 1;
}

static int allocate(PVOID disk)
{
    static const ULONG sizes[8] = {64, 32, 80, 208, 32, 48, 80, 128};
    int n;
    for (n = 0; n < BLOCKS; n++)
        if (StorPortAllocatePool(disk, sizes[n % 8], tag, &blocks[n]) != STOR_STATUS_SUCCESS) return 0;
    return 1;
}

static int give(PVOID disk)
{
    int n;
    for (n = 0; n < BLOCKS; n++)
        if (StorPortFreePool(disk, blocks[n]) != STOR_STATUS_SUCCESS) return 0;
    return 1;
}

int main(void)
{
    static const char *const names[] = {"pair", "hot, allocate", "hot, free"};
    static int (*const loops[])(PVOID) = {pair, allocate, give};
    static double figures[3][BATCHES];
    sp_pool *pool = sp_pool_create(64 << 20);
    PVOID disk = sp_adapter_create(pool, "disk", 0);
    int batch, n;

    for (batch = 0; batch < BATCHES; batch++)
        for (n = 0; n < 3; n++) {
            double start = now();
            if (!loops[n](disk)) return 1;
            figures[n][batch] = now() - start;
        }
    for (n = 0; n < 3; n++) print(names[n], figures[n]);
    sp_pool_destroy(pool);
    return 0;
}
