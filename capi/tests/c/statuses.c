/* Every status, by each name, and each misuse. */
#include "check.h"

static sp_violation heard;
static int times;

static void hear(void *context, const sp_violation *violation)
{
    CHECK(context == &times);
    heard = *violation;
    times++;
}

static void leak(void *context, ULONG tag, uint64_t blocks, uint64_t bytes)
{
    uint64_t *sums = context;
    CHECK(tag == TAG);
    sums[0] += blocks;
    sums[1] += bytes;
}

/* Both routines by their function codes too. */
static ULONG allocate(int extended, PVOID adapter, ULONG bytes, PVOID *out)
{
    return extended ? StorPortExtendedFunction(ExtFunctionAllocatePool, adapter, bytes, TAG, out)
                    : StorPortAllocatePool(adapter, bytes, TAG, out);
}

static ULONG give(int extended, PVOID adapter, PVOID block)
{
    return extended ? StorPortExtendedFunction(ExtFunctionFreePool, adapter, block)
                    : StorPortFreePool(adapter, block);
}

static void refused(int extended, PVOID adapter, PVOID block, sp_violation_kind kind, PVOID owner)
{
    int before = times;
    CHECK(give(extended, adapter, block) == STOR_STATUS_INVALID_PARAMETER);
    CHECK(times == before + 1 && heard.kind == kind && heard.address == block);
    CHECK(heard.caller == adapter && heard.owner == owner && heard.irql == PASSIVE_LEVEL);
    CHECK(heard.bug_check == 0xC2 && strlen(heard.description) > 5);
}

static void by(int extended)
{
    sp_pool *pool = sp_pool_create(1 << 20);
    PVOID disk, other, block, garbage[] = {&pool, (PVOID)16, (PVOID)0x10000, (PVOID)~(uintptr_t)0};
    uint64_t sums[2] = {0, 0};
    size_t n;

    CHECK(pool != NULL);
    sp_on_violation(pool, hear, &times);
    disk = sp_adapter_create(pool, "disk", 100000);
    other = sp_adapter_create(pool, NULL, 0);
    CHECK(disk != NULL && other != NULL && disk != other);
    for (n = 0; n < 100000; n++)
        CHECK(((char *)disk)[n] == 0);
    memset(disk, 0xA5, 100000);

    CHECK(allocate(extended, disk, 100, &block) == STOR_STATUS_SUCCESS && (uintptr_t)block % 16 == 0);
    memset(block, 1, 100);
    refused(extended, disk, (char *)block + 16, SP_INTERIOR_FREE, disk);
    CHECK(heard.tag == TAG && heard.bytes == 100);
    refused(extended, other, block, SP_WRONG_OWNER, disk);
    refused(extended, disk, &pool, SP_FOREIGN_FREE, NULL);
    CHECK(give(extended, disk, block) == STOR_STATUS_SUCCESS);
    refused(extended, disk, block, SP_DOUBLE_FREE, disk);
    CHECK(heard.parameters[0] == 7 && heard.parameters[3] == (uintptr_t)block);

    /* Parameters. */
    CHECK(allocate(extended, disk, 100, NULL) == STOR_STATUS_INVALID_PARAMETER);
    CHECK(give(extended, disk, NULL) == STOR_STATUS_INVALID_PARAMETER);
    block = &pool;
    CHECK(allocate(extended, disk, 0, &block) == STOR_STATUS_INVALID_PARAMETER && block == NULL);
    CHECK(heard.kind == SP_ZERO_SIZE);
    for (n = 0; n < sizeof(garbage) / sizeof(garbage[0]); n++) {
        block = &pool;
        CHECK(allocate(extended, garbage[n], 100, &block) == STOR_STATUS_INVALID_PARAMETER && block == NULL);
        CHECK(allocate(extended, garbage[n], 100, NULL) == STOR_STATUS_INVALID_PARAMETER);
        CHECK(give(extended, garbage[n], &pool) == STOR_STATUS_INVALID_PARAMETER);
        CHECK(sp_adapter_remove(garbage[n], NULL, NULL) == SP_NO_ADAPTER);
    }
    CHECK(allocate(extended, (char *)disk + 65536, 100, &block) == STOR_STATUS_INVALID_PARAMETER);
    CHECK(allocate(extended, (char *)disk + 16, 100, &block) == STOR_STATUS_INVALID_PARAMETER);
    CHECK(allocate(extended, NULL, 100, &block) == STOR_STATUS_INVALID_PARAMETER);

    /* IRQL. */
    CHECK(sp_raise_irql(DISPATCH_LEVEL) == PASSIVE_LEVEL);
    CHECK(allocate(extended, disk, 100, &block) == STOR_STATUS_SUCCESS);
    CHECK(sp_raise_irql(HIGH_LEVEL) == DISPATCH_LEVEL && sp_raise_irql(APC_LEVEL) == HIGH_LEVEL);
    CHECK(KeGetCurrentIrql() == HIGH_LEVEL);
    CHECK(give(extended, disk, block) == STOR_STATUS_INVALID_IRQL);
    CHECK(allocate(extended, disk, 100, &garbage[0]) == STOR_STATUS_INVALID_IRQL && garbage[0] == NULL);
    sp_lower_irql(DISPATCH_LEVEL);
    CHECK(give(extended, disk, block) == STOR_STATUS_SUCCESS);
    sp_lower_irql(HIGH_LEVEL);
    CHECK(KeGetCurrentIrql() == DISPATCH_LEVEL);
    sp_lower_irql(PASSIVE_LEVEL);

    /* Resources. */
    CHECK(allocate(extended, disk, 2 << 20, &block) == STOR_STATUS_INSUFFICIENT_RESOURCES && block == NULL);
    CHECK(allocate(extended, disk, ~(ULONG)0, &block) == STOR_STATUS_INSUFFICIENT_RESOURCES);
    CHECK(allocate(extended, disk, 1 << 20, &block) == STOR_STATUS_SUCCESS && (uintptr_t)block % 4096 == 0);
    CHECK(give(extended, disk, block) == STOR_STATUS_SUCCESS);

    /* The switch. */
    CHECK(StorPortExtendedFunction(99, disk, block) == STOR_STATUS_NOT_IMPLEMENTED);
    sp_set_not_implemented(pool, true);
    CHECK(allocate(extended, disk, 100, &block) == STOR_STATUS_NOT_IMPLEMENTED && block == NULL);
    CHECK(give(extended, disk, disk) == STOR_STATUS_NOT_IMPLEMENTED);
    sp_set_not_implemented(pool, false);

    /* Removal. */
    CHECK(allocate(extended, disk, 100, &block) == STOR_STATUS_SUCCESS);
    CHECK(allocate(extended, disk, 200, &block) == STOR_STATUS_SUCCESS);
    CHECK(sp_adapter_remove(disk, leak, sums) == 2 && sums[0] == 2 && sums[1] == 300);
    CHECK(heard.kind == SP_LEAK && heard.bug_check == 0xC4);
    CHECK(sp_adapter_remove(disk, leak, sums) == SP_NO_ADAPTER);
    CHECK(allocate(extended, disk, 100, &block) == STOR_STATUS_INVALID_PARAMETER);
    CHECK(allocate(extended, other, 100, &block) == STOR_STATUS_SUCCESS);
    CHECK(sp_adapter_release(other, NULL, NULL) == 1);
    sp_on_violation(pool, NULL, NULL);
    n = (size_t)times;
    sp_pool_destroy(pool);
    CHECK((size_t)times == n);
    CHECK(allocate(extended, disk, 100, &block) == STOR_STATUS_INVALID_PARAMETER);
}

int main(void)
{
    PVOID first, again;
    sp_pool *pool;
    size_t n;

    by(0);
    by(1);

    /* An address is not used again while its pool lives, and is afterwards. */
    pool = sp_pool_create(1 << 20);
    first = sp_adapter_create(pool, "first", 1);
    memset(first, 1, 1);
    CHECK(sp_adapter_remove(first, NULL, NULL) == 0);
    for (n = 0; n < 200; n++) {
        again = sp_adapter_create(pool, "again", 1);
        CHECK(again != NULL && again != first && sp_adapter_remove(again, NULL, NULL) == 0);
    }
    for (n = 0; sp_adapter_create(pool, "full", 1) != NULL; n++)
        ;
    CHECK(n == 16 && strlen(sp_last_error()) > 0);
    sp_pool_destroy(pool);
    for (n = 0; n < 2000; n++) {
        pool = sp_pool_create(1 << 20);
        again = sp_adapter_create(pool, "again", 64 << 10);
        CHECK(again != NULL && *(char *)again == 0);
        memset(again, 1, 64 << 10);
        sp_pool_destroy(pool);
    }
    pool = sp_pool_create(1 << 20);
    CHECK(sp_adapter_create(pool, "too large", (size_t)1 << 40) == NULL && strlen(sp_last_error()) > 0);
    CHECK(sp_adapter_create(NULL, "none", 1) == NULL);
    sp_pool_destroy(pool);

    /* Bad handles of the host's. */
    CHECK(sp_pool_create(0) == NULL && strlen(sp_last_error()) > 0);
    CHECK(sp_pool_create((size_t)1 << 50) == NULL);
    CHECK(sp_pool_create_with(NULL) == NULL && sp_metadata_bytes(NULL) == 0);
    CHECK(sp_snapshot_take(NULL) == NULL && !sp_snapshot_next_tag(NULL, NULL));
    sp_pool_destroy(NULL);
    sp_snapshot_free(NULL);
    sp_set_not_implemented(NULL, true);
    sp_on_violation(NULL, hear, NULL);
    puts("statuses: ok");
    return 0;
}
