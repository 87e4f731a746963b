/* Many blocks in one call. */
#include "check.h"

static unsigned told;

static void hear(void *context, const sp_violation *violation)
{
    (void)context;
    (void)violation;
    told++;
}

static void calls(sp_pool *pool)
{
    PVOID disk = sp_adapter_create(pool, "disk", 64), other = sp_adapter_create(pool, "other", 64);
    PVOID blocks[100], block = NULL;
    ULONG statuses[100];
    size_t n;

    sp_on_violation(pool, hear, NULL);
    told = 0;
    CHECK(sp_allocate_bulk(disk, 200, TAG, blocks, 100) == STOR_STATUS_SUCCESS);
    for (n = 0; n < 100; n++) {
        CHECK(blocks[n] != NULL && (uintptr_t)blocks[n] % 16 == 0);
        statuses[n] = 1;
    }
    CHECK(sp_free_bulk(other, blocks, 100, statuses) == 0 && told == 100);
    blocks[50] = NULL;
    block = blocks[60];
    blocks[60] = blocks[61];
    CHECK(sp_free_bulk(disk, blocks, 100, statuses) == 98 && told == 101);
    for (n = 0; n < 100; n++)
        CHECK(statuses[n] == (n == 50 || n == 61 ? STOR_STATUS_INVALID_PARAMETER : STOR_STATUS_SUCCESS));
    sp_hint_free(disk, block);
    sp_hint_free(disk, NULL);
    sp_hint_free(NULL, block);
    CHECK(StorPortFreePool(disk, block) == STOR_STATUS_SUCCESS);

    /* No statuses, no blocks, no extension, nothing. */
    CHECK(sp_allocate_bulk(disk, 64, TAG, blocks, 3) == STOR_STATUS_SUCCESS);
    CHECK(sp_free_bulk(disk, blocks, 3, NULL) == 3);
    CHECK(sp_free_bulk(disk, NULL, 2, statuses) == 0 && statuses[1] == STOR_STATUS_INVALID_PARAMETER);
    CHECK(sp_free_bulk(disk, NULL, 0, NULL) == 0);
    CHECK(sp_free_bulk(&block, blocks, 3, statuses) == 0 && statuses[2] == STOR_STATUS_INVALID_PARAMETER);
    CHECK(sp_allocate_bulk(disk, 64, TAG, NULL, 3) == STOR_STATUS_INVALID_PARAMETER);
    CHECK(sp_allocate_bulk(disk, 64, TAG, NULL, 0) == STOR_STATUS_SUCCESS);
    blocks[0] = blocks[1] = &block;
    CHECK(sp_allocate_bulk(NULL, 64, TAG, blocks, 2) == STOR_STATUS_INVALID_PARAMETER);
    CHECK(blocks[0] == NULL && blocks[1] == NULL);
    blocks[0] = blocks[1] = &block;
    CHECK(sp_allocate_bulk(disk, 3000000000u, TAG, blocks, 2) == STOR_STATUS_INSUFFICIENT_RESOURCES);
    CHECK(blocks[0] == NULL && blocks[1] == NULL);

    /* The statuses where the blocks were. */
    CHECK(sp_allocate_bulk(disk, 64, TAG, blocks, 100) == STOR_STATUS_SUCCESS);
    CHECK(sp_free_bulk(disk, blocks, 100, (ULONG *)blocks) == 100);
    for (n = 0; n < 100; n++)
        CHECK(((ULONG *)blocks)[n] == STOR_STATUS_SUCCESS);
    /* The one that was replaced by NULL. */
    CHECK(sp_adapter_remove(disk, NULL, NULL) == 1);
    CHECK(sp_free_bulk(disk, blocks, 3, statuses) == 0 && statuses[0] == STOR_STATUS_INVALID_PARAMETER);
}

int main(void)
{
    sp_pool *pool = sp_pool_create(16 << 20);
    CHECK(pool != NULL);
    calls(pool);
    sp_pool_destroy(pool);
    puts("bulk: ok");
    return 0;
}
