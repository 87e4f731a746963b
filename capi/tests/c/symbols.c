/* Storport's names by declarations of the program's own. */
#define SP_NO_KIT
#include "check.h"

uint32_t StorPortAllocatePool(void *extension, uint32_t bytes, uint32_t tag, void **block);
uint32_t StorPortFreePool(void *extension, void *block);
uint32_t StorPortExtendedFunction(uint32_t code, void *extension, ...);

int main(void)
{
    sp_pool *pool = sp_pool_create(1 << 20);
    void *disk = sp_adapter_create(pool, "disk", 8), *block;

    CHECK(StorPortAllocatePool(disk, 100, TAG, &block) == SP_STATUS_SUCCESS);
    CHECK(StorPortFreePool(disk, block) == SP_STATUS_SUCCESS);
    CHECK(StorPortFreePool(disk, block) == SP_STATUS_INVALID_PARAMETER);
    CHECK(StorPortExtendedFunction(0, disk, (uint32_t)100, (uint32_t)TAG, &block) == SP_STATUS_SUCCESS);
    CHECK(StorPortExtendedFunction(1, disk, block) == SP_STATUS_SUCCESS);
    CHECK(StorPortExtendedFunction(2, disk, block) == SP_STATUS_NOT_IMPLEMENTED);
    sp_pool_destroy(pool);
    puts("symbols: ok");
    return 0;
}
