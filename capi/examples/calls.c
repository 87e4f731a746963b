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

int main(void)
{
    static const ULONG sizes[8] = {64, 32, 80, 208, 32, 48, 80, 128};
    static double pair[BATCHES], allocate[BATCHES], give[BATCHES];
    static PVOID blocks[BLOCKS];
    sp_pool *pool = sp_pool_create(64 << 20);
    PVOID disk = sp_adapter_create(pool, "disk", 0);
    const ULONG tag = SP_TAG('C', 'a', 'l', 'l');
    int batch, n;

    for (batch = 0; batch < BATCHES; batch++) {
        double start = now(), middle;
        for (n = 0; n < BLOCKS; n++) {
            PVOID block;
            if (StorPortAllocatePool(disk, 64, tag, &block) != STOR_STATUS_SUCCESS) return 1;
            if (StorPortFreePool(disk, block) != STOR_STATUS_SUCCESS) return 1;
        }
        pair[batch] = now() - start;
        start = now();
        for (n = 0; n < BLOCKS; n++)
            if (StorPortAllocatePool(disk, sizes[n % 8], tag, &blocks[n]) != STOR_STATUS_SUCCESS) return 1;
        middle = now();
        for (n = 0; n < BLOCKS; n++)
            if (StorPortFreePool(disk, blocks[n]) != STOR_STATUS_SUCCESS) return 1;
        allocate[batch] = middle - start;
        give[batch] = now() - middle;
    }
    print("pair", pair);
    print("hot, allocate", allocate);
    print("hot, free", give);
    sp_pool_destroy(pool);
    return 0;
}
