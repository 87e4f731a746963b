#include <stdio.h>
#include "storport_pool.h"
int main(void) {
    sp_pool *pool = sp_pool_create(64 << 20);
    PVOID disk = sp_adapter_create(pool, "disk0", 4096), srb;
    if (!NT_SUCCESS(StorPortAllocatePool(disk, 208, SP_TAG('V', 'i', 'o', 'S'), &srb))) return 1;
    sp_snapshot *snapshot = sp_snapshot_take(pool);
    printf(" Tag  Type     Allocs            Frees      Diff     Bytes\n");
    for (sp_row row; sp_snapshot_next_tag(snapshot, &row);)
        printf(" %s Nonp %10llu %16llu %9llu %9llu\n", row.text, (unsigned long long)row.allocs,
               (unsigned long long)row.frees, (unsigned long long)row.live, (unsigned long long)row.bytes);
    sp_snapshot_free(snapshot);
    StorPortFreePool(disk, srb);
    sp_pool_destroy(pool);
}
