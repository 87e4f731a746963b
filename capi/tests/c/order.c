/* Compiled with the pool's header and a kit's in some order, by tests/headers.rs. */
#include ORDER

static ULONG both(PVOID disk)
{
    PVOID block;
    ULONG tag = SP_TAG('O', 'r', 'd', 'r');
    if (StorPortAllocatePool(disk, 100, tag, &block) != STOR_STATUS_SUCCESS) return 1;
    return StorPortFreePool(disk, block);
}

int main(void)
{
    sp_options options;
    sp_violation_kind kind = SP_OTHER_VIOLATION;
    sp_pool *pool = sp_pool_create(1 << 20);
    PVOID disk = sp_adapter_create(pool, "disk", 64);
    options.size = sizeof(options);
    if (sizeof(kind) != 4 || sizeof(sp_bool) != 1 || options.size == 0 || both(disk) != 0) return 1;
    if (sp_free(disk, disk) != SP_STATUS_INVALID_PARAMETER) return 2;
    sp_pool_destroy(pool);
    return 0;
}
