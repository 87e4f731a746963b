/* The pool, and another Rust library, each with its own runtime. */
#include "check.h"

uint32_t second(uint32_t n);

int main(void)
{
    sp_pool *pool = sp_pool_create(1 << 20);
    PVOID disk = sp_adapter_create(pool, "disk", 8), block;

    CHECK(StorPortAllocatePool(disk, 100, TAG, &block) == STOR_STATUS_SUCCESS);
    CHECK(second(5) == 11);
    /* It panics, and catches that. */
    CHECK(second(10) == 145);
    CHECK(StorPortFreePool(disk, block) == STOR_STATUS_SUCCESS);
    CHECK(StorPortExtendedFunction(ExtFunctionFreePool, disk, block) == STOR_STATUS_INVALID_PARAMETER);
    sp_pool_destroy(pool);
    puts("second: ok");
    return 0;
}
