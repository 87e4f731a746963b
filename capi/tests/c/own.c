/* An emulator that has the kit's names itself, over the pool's calls. */
#define SP_NO_KIT
#include "check.h"

static int calls;
static void *disk;

uint32_t StorPortAllocatePool(void *extension, uint32_t bytes, uint32_t tag, void **block);
uint32_t StorPortFreePool(void *extension, void *block);
uint32_t StorPortExtendedFunction(uint32_t code, void *extension, ...);
void *ExAllocatePool2(uint64_t flags, size_t bytes, uint32_t tag);
void ExFreePool(void *block);
uint8_t KeGetCurrentIrql(void);

uint32_t StorPortAllocatePool(void *extension, uint32_t bytes, uint32_t tag, void **block)
{
    calls++;
    return sp_allocate(extension, bytes, tag, block);
}

uint32_t StorPortFreePool(void *extension, void *block)
{
    calls++;
    return sp_free(extension, block);
}

uint32_t StorPortExtendedFunction(uint32_t code, void *extension, ...)
{
    (void)code;
    (void)extension;
    calls++;
    return 0;
}

void *ExAllocatePool2(uint64_t flags, size_t bytes, uint32_t tag)
{
    void *block;
    (void)flags;
    calls++;
    return sp_allocate(disk, (uint32_t)bytes, tag, &block) == SP_STATUS_SUCCESS ? block : NULL;
}

void ExFreePool(void *block)
{
    calls++;
    sp_free(disk, block);
}

uint8_t KeGetCurrentIrql(void)
{
    calls++;
    return 7;
}


int main(void)
{
    sp_pool *pool = sp_pool_create(1 << 20);
    void *block;

    disk = sp_adapter_create(pool, "disk", 8);
    CHECK(StorPortAllocatePool(disk, 100, TAG, &block) == SP_STATUS_SUCCESS);
    CHECK(StorPortFreePool(disk, block) == SP_STATUS_SUCCESS);
    CHECK(StorPortExtendedFunction(99, disk) == 0);
    block = ExAllocatePool2(0, 100, TAG);
    CHECK(block != NULL && KeGetCurrentIrql() == 7 && sp_current_irql() == 0);
    ExFreePool(block);
    CHECK(calls == 6);
    sp_pool_destroy(pool);
    puts("own: ok");
    return 0;
}
