/* The tagged pool under its own names. */
#include "check.h"

static sp_violation_kind kind;
static uint64_t code;
static int heard;
static char text[600];

static void hear(void *context, const sp_violation *violation)
{
    (void)context;
    kind = violation->kind;
    code = violation->parameters[0];
    strcpy(text, violation->text);
    heard++;
}

static int all(const unsigned char *block, size_t bytes, int value)
{
    while (bytes-- > 0)
        if (block[bytes] != value) return 0;
    return 1;
}

static void zeroing(void)
{
    size_t bytes;
    for (bytes = 1; bytes < 200000; bytes += 1 + bytes / 3) {
        PVOID block = ExAllocatePool2(POOL_FLAG_NON_PAGED, bytes, TAG);
        CHECK(block != NULL && all(block, bytes, 0));
        memset(block, 0xA5, bytes);
        ExFreePoolWithTag(block, TAG);
        block = ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED, bytes, TAG);
        CHECK(block != NULL && all(block, bytes, 0xA5));
        ExFreePool(block);
        block = ExAllocatePoolWithTag(NonPagedPoolNx, bytes, TAG);
        CHECK(block != NULL && all(block, bytes, 0xA5));
        ExFreePool(block);
        block = ExAllocatePoolZero(NonPagedPool, bytes, TAG);
        CHECK(block != NULL && all(block, bytes, 0));
        ExFreePoolWithTag(block, TAG);
        block = ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_CACHE_ALIGNED, bytes, TAG);
        CHECK(block != NULL && (uintptr_t)block % 64 == 0);
        ExFreePool(block);
        block = ExAllocatePoolWithTag(NonPagedPoolNxCacheAligned, bytes, TAG);
        CHECK(block != NULL && (uintptr_t)block % 64 == 0);
        ExFreePool(block);
    }
}

/* A full pool whose only free blocks are of a larger size, which has no alignment: what is cache aligned comes from
   elsewhere, or not at all. */
static void cache_aligned(size_t range)
{
    enum { BLOCKS = 1 << 17 };
    static PVOID blocks[BLOCKS];
    sp_pool *pool = sp_pool_create(range);
    size_t n = 0, freed = 0, refused = 0, left;

    CHECK(pool != NULL);
    sp_set_system_pool(pool);
    while ((blocks[n] = ExAllocatePoolWithTag(NonPagedPool, 80, TAG)) != NULL) CHECK(++n < BLOCKS);
    for (left = 0; left < n; left += 3, freed++) ExFreePool(blocks[left]);
    for (left = 0; left < freed; left++) {
        PVOID block = ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_CACHE_ALIGNED, 64, TAG);
        CHECK((uintptr_t)block % 64 == 0);
        refused += block == NULL;
    }
    CHECK(n > 500 && refused > 0 && ExAllocatePoolWithTag(NonPagedPool, 64, TAG) != NULL);
    sp_pool_destroy(pool);
}

static uint64_t live(sp_pool *pool)
{
    sp_usage usage;
    CHECK(sp_pool_usage(pool, &usage));
    return usage.live;
}

/* Whether this pool is the system's. */
static void serves(sp_pool *pool)
{
    PVOID block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 16, TAG);
    CHECK(block != NULL && live(pool) == 1);
    ExFreePool(block);
    CHECK(live(pool) == 0);
}

/* A free that cannot be done is told. */
static void unfreed(sp_pool *pool)
{
    sp_usage before, after;
    PVOID block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 16, TAG);
    CHECK(block != NULL && sp_pool_usage(pool, &before));
    sp_raise_irql(HIGH_LEVEL);
    heard = 0;
    ExFreePool(block);
    CHECK(heard == 1 && kind == SP_FREE_AT_IRQL && code == 0x09 && strstr(text, "IRQL 15") != NULL);
    CHECK(strstr(text, "; Windows stops with 0xC2 (0x9, 0xF, 0x0, 0x") != NULL);
    ExFreePoolWithTag(block, TAG);
    CHECK(heard == 2 && kind == SP_FREE_AT_IRQL);
    ExFreePool(NULL);
    CHECK(heard == 2);
    sp_lower_irql(PASSIVE_LEVEL);
    sp_set_not_implemented(pool, 1);
    ExFreePool(block);
    ExFreePoolWithTag(block, TAG);
    ExFreePool(NULL);
    CHECK(heard == 4 && kind == SP_FREE_NOT_IMPLEMENTED);
    sp_set_not_implemented(pool, 0);
    CHECK(sp_pool_usage(pool, &after) && after.violations == before.violations + 4 && after.live == before.live);
    ExFreePool(block);
    CHECK(heard == 4 && live(pool) + 1 == before.live);
}

int main(void)
{
    sp_pool *pool, *second, *third;
    PVOID block;
    sp_snapshot *snapshot;
    sp_row row;
    KIRQL before;

    CHECK(ExAllocatePool2(POOL_FLAG_NON_PAGED, 16, TAG) == NULL);
    ExFreePool(&pool);
    pool = sp_pool_create(16 << 20);
    second = sp_pool_create(16 << 20);
    sp_on_violation(pool, hear, NULL);
    zeroing();
    unfreed(pool);

    /* Flags: one kind of memory; required ones must be known, optional ones need not. */
    CHECK(ExAllocatePool2(0, 16, TAG) == NULL);
    CHECK(ExAllocatePool2(POOL_FLAG_UNINITIALIZED, 16, TAG) == NULL);
    CHECK(ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_PAGED, 16, TAG) == NULL);
    CHECK(ExAllocatePool2(POOL_FLAG_NON_PAGED | 0x10, 16, TAG) == NULL);
    CHECK(ExAllocatePool2(POOL_FLAG_NON_PAGED | 0x80000000ULL, 16, TAG) == NULL);
    block = ExAllocatePool2(POOL_FLAG_NON_PAGED_EXECUTE | POOL_FLAG_USE_QUOTA | 0x8000000100000000ULL, 16, TAG);
    CHECK(block != NULL);
    ExFreePool(block);
    /* Tag and size. */
    CHECK(ExAllocatePool2(POOL_FLAG_NON_PAGED, 16, 0) == NULL);
    CHECK(ExAllocatePool2(POOL_FLAG_NON_PAGED, 0, TAG) == NULL && kind == SP_ZERO_SIZE);
    CHECK(ExAllocatePool2(POOL_FLAG_NON_PAGED, (size_t)1 << 32, TAG) == NULL);
    CHECK(ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_RAISE_ON_FAILURE, 1 << 30, TAG) == NULL);
    block = ExAllocatePoolWithTag(NonPagedPool, 16, 0);
    CHECK(block != NULL);
    ExFreePoolWithTag(block, 0);

    /* The tag of a free. */
    block = ExAllocatePoolWithTag(PagedPool, 16, TAG);
    ExFreePoolWithTag(block, SP_TAG('N', 'o', 'n', 'e'));
    CHECK(kind == SP_WRONG_TAG && code == 0x0A);
    ExFreePoolWithTag(block, TAG);
    ExFreePoolWithTag(block, TAG);
    CHECK(kind == SP_DOUBLE_FREE && code == 7);

    /* IRQL. */
    KeRaiseIrql(DISPATCH_LEVEL, &before);
    CHECK(before == PASSIVE_LEVEL && KeGetCurrentIrql() == DISPATCH_LEVEL);
    CHECK(ExAllocatePool2(POOL_FLAG_PAGED, 16, TAG) == NULL);
    CHECK(ExAllocatePoolWithTag(PagedPool, 16, TAG) == NULL);
    block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 16, TAG);
    CHECK(block != NULL);
    KeRaiseIrql(HIGH_LEVEL, &before);
    CHECK(ExAllocatePool2(POOL_FLAG_NON_PAGED, 16, TAG) == NULL);
    KeLowerIrql(before);
    ExFreePool(block);
    KeLowerIrql(PASSIVE_LEVEL);

    /* Which pool. */
    sp_set_system_pool(second);
    block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG);
    snapshot = sp_snapshot_take(second);
    CHECK(sp_snapshot_next_tag(snapshot, &row) && row.tag == TAG && row.live == 1 && row.bytes == 100);
    CHECK(strcmp(row.text, "Test") == 0 && !sp_snapshot_next_tag(snapshot, &row));
    CHECK(sp_snapshot_next_account(snapshot, &row) && row.extension == NULL && row.allocs == 1);
    sp_snapshot_free(snapshot);
    ExFreePool(block);
    /* The oldest of the others is next, and none when there is none. */
    third = sp_pool_create(1 << 20);
    sp_pool_destroy(second);
    serves(pool);
    sp_pool_destroy(pool);
    serves(third);
    second = sp_pool_create(1 << 20);
    serves(third);
    sp_pool_destroy(second);
    serves(third);
    sp_pool_destroy(third);
    CHECK(ExAllocatePool2(POOL_FLAG_NON_PAGED, 16, TAG) == NULL);
    sp_set_system_pool(NULL);
    pool = sp_pool_create(1 << 20);
    serves(pool);
    sp_set_system_pool(NULL);
    CHECK(ExAllocatePool2(POOL_FLAG_NON_PAGED, 16, TAG) == NULL);
    sp_pool_destroy(pool);
    cache_aligned(64 << 10);
    cache_aligned(1 << 20);
    cache_aligned(9 << 20);
    puts("executive: ok");
    return 0;
}
