#include <stdio.h>
#include "storport_pool.h"
static void told(void *context, const sp_violation *it) { (void)context; puts(it->text); }
int main(void) {
    sp_pool *pool = sp_pool_create(64 << 20);
    PVOID disk = sp_adapter_create(pool, "disk0", 4096), srb; /* disk: a HwDeviceExtension of 4096 bytes */
    sp_on_violation(pool, told, NULL);
    if (!NT_SUCCESS(StorPortAllocatePool(disk, 208, SP_TAG('V', 'i', 'o', 'S'), &srb))) return 1;
    StorPortFreePool(disk, srb);
    StorPortFreePool(disk, srb); /* a double free: told */
    sp_pool_destroy(pool);
}
