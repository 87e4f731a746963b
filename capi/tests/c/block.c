/* One block: by an address, with an alignment, with another number of bytes. */
#include "check.h"

static int heard;
static sp_violation_kind kind;

static void hear(void *context, const sp_violation *violation)
{
    (void)context;
    kind = violation->kind;
    heard++;
}

static uint32_t no_cpu(void *context)
{
    (void)context;
    return 0;
}

static uint8_t passive(void *context)
{
    (void)context;
    return PASSIVE_LEVEL;
}

static char *at(PVOID block, size_t beside)
{
    return (char *)((uintptr_t)block + beside);
}

/* The same for a pool over memory of the system, and over a guest's. */
static void found(sp_pool *pool)
{
    PVOID disk = sp_adapter_create(pool, "disk", 8), other = sp_adapter_create(pool, "other", 8), block, large;
    sp_block told;
    sp_usage usage;

    CHECK(sp_pool_usage(pool, &usage));
    memset(&told, 0x5A, sizeof(told));
    CHECK(!sp_block_at(pool, NULL, &told) && !sp_block_at(NULL, &usage, &told) && !sp_block_at(pool, &usage, NULL));
    CHECK(!sp_block_at(pool, (PVOID)(uintptr_t)usage.range, &told) && told.live == 0x5A && told.bytes >> 56 == 0x5A);
    CHECK(sp_allocate(disk, 100, TAG, &block) == SP_STATUS_SUCCESS);
    CHECK(sp_allocate(other, 100000, TAG + 1, &large) == SP_STATUS_SUCCESS);

    CHECK(sp_block_at(pool, at(block, 111), &told) && sp_block_at(pool, at(block, 0), NULL));
    CHECK(told.address == block && told.owner == disk && told.bytes == 100 && told.capacity == 112);
    CHECK(told.tag == TAG && told.live == 1);
    CHECK(!sp_block_at(pool, at(block, 112), &told) || told.address != block);
    CHECK(sp_block_at(pool, at(large, 99999), &told) && told.address == large && told.owner == other);
    CHECK(told.bytes == 100000 && told.capacity >= 100000 && told.tag == TAG + 1 && told.live == 1);

    /* What is free tells of its last owner, and so does what a removed adapter left: it has none. */
    CHECK(sp_free(disk, block) == SP_STATUS_SUCCESS);
    CHECK(sp_block_at(pool, at(block, 5), &told) && told.address == block && !told.live && told.bytes == 100);
    CHECK(told.owner == disk);
    CHECK(sp_adapter_remove(other, NULL, NULL) == 1);
    CHECK(sp_block_at(pool, large, &told) && told.live && told.owner == NULL && told.bytes == 100000);

    /* It is a question: nobody hears of it, at any level, and the last error stays. */
    CHECK(sp_adapter_create(NULL, "none", 8) == NULL);
    sp_raise_irql(HIGH_LEVEL);
    CHECK(!sp_block_at(pool, NULL, &told) && sp_block_at(pool, block, &told));
    sp_lower_irql(PASSIVE_LEVEL);
    CHECK(strcmp(sp_last_error(), "the pool is NULL") == 0);
    CHECK(sp_adapter_remove(disk, NULL, NULL) == 0);
}

static void aligned(sp_pool *pool)
{
    PVOID disk = sp_adapter_create(pool, "disk", 8), block;
    ULONG alignment, bytes;
    sp_block told;

    for (alignment = 1; alignment <= 1 << 18; alignment *= 2) {
        for (bytes = 1; bytes < 300000; bytes += 1 + bytes / 2) {
            CHECK(sp_allocate_aligned(disk, bytes, alignment, TAG, &block) == SP_STATUS_SUCCESS);
            CHECK((uintptr_t)block % alignment == 0 && (uintptr_t)block % 16 == 0);
            CHECK(sp_block_at(pool, at(block, bytes - 1), &told) && told.address == block && told.bytes == bytes);
            CHECK(told.live && told.owner == disk && told.tag == TAG);
            CHECK(sp_free(disk, block) == SP_STATUS_SUCCESS);
        }
    }
    block = &told;
    CHECK(sp_allocate_aligned(disk, 16, 48, TAG, &block) == SP_STATUS_INVALID_PARAMETER && block == NULL);
    block = &told;
    CHECK(sp_allocate_aligned(disk, 16, 0, TAG, &block) == SP_STATUS_INVALID_PARAMETER && block == NULL);
    block = &told;
    CHECK(sp_allocate_aligned(&told, 16, 64, TAG, &block) == SP_STATUS_INVALID_PARAMETER && block == NULL);
    CHECK(sp_allocate_aligned(disk, 16, 64, TAG, NULL) == SP_STATUS_INVALID_PARAMETER);
    CHECK(sp_allocate_aligned(&told, 16, 64, TAG, NULL) == SP_STATUS_INVALID_PARAMETER);
    block = &told;
    CHECK(sp_allocate_aligned(disk, 0, 64, TAG, &block) == SP_STATUS_INVALID_PARAMETER && block == NULL);
    CHECK(kind == SP_ZERO_SIZE);
    block = &told;
    CHECK(sp_allocate_aligned(disk, 1 << 30, 64, TAG, &block) == SP_STATUS_INSUFFICIENT_RESOURCES && block == NULL);
    sp_raise_irql(CLOCK_LEVEL);
    block = &told;
    CHECK(sp_allocate_aligned(disk, 16, 64, TAG, &block) == SP_STATUS_INVALID_IRQL && block == NULL);
    sp_lower_irql(PASSIVE_LEVEL);
    sp_set_not_implemented(pool, 1);
    block = &told;
    CHECK(sp_allocate_aligned(disk, 16, 64, TAG, &block) == SP_STATUS_NOT_IMPLEMENTED && block == NULL);
    sp_set_not_implemented(pool, 0);
    CHECK(sp_adapter_remove(disk, NULL, NULL) == 0);
}

static void resized(sp_pool *pool)
{
    PVOID disk = sp_adapter_create(pool, "disk", 8), other = sp_adapter_create(pool, "other", 8), block, large;
    sp_block told;
    sp_usage usage;

    CHECK(sp_allocate(disk, 100, TAG, &block) == SP_STATUS_SUCCESS);
    CHECK(sp_resize(disk, block, 112) == SP_STATUS_SUCCESS && sp_block_at(pool, block, &told) && told.bytes == 112);
    CHECK(sp_resize(disk, block, 113) == SP_STATUS_INSUFFICIENT_RESOURCES);
    CHECK(sp_resize(disk, block, 1) == SP_STATUS_SUCCESS && sp_block_at(pool, block, &told) && told.bytes == 1);
    CHECK(told.capacity == 112 && sp_pool_usage(pool, &usage) && usage.live >= 1);
    CHECK(sp_allocate(disk, 200000, TAG, &large) == SP_STATUS_SUCCESS && sp_block_at(pool, large, &told));
    CHECK(sp_resize(disk, large, (ULONG)told.capacity) == SP_STATUS_SUCCESS);
    CHECK(sp_resize(disk, large, (ULONG)told.capacity + 1) == SP_STATUS_INSUFFICIENT_RESOURCES);
    CHECK(sp_resize(disk, large, 1) == SP_STATUS_INSUFFICIENT_RESOURCES && sp_free(disk, large) == SP_STATUS_SUCCESS);

    heard = 0;
    CHECK(sp_resize(disk, NULL, 16) == SP_STATUS_INVALID_PARAMETER && heard == 0);
    CHECK(sp_resize(&told, block, 16) == SP_STATUS_INVALID_PARAMETER && heard == 0);
    CHECK(sp_resize(disk, block, 0) == SP_STATUS_INVALID_PARAMETER && heard == 1 && kind == SP_ZERO_SIZE);
    CHECK(sp_resize(other, block, 16) == SP_STATUS_INVALID_PARAMETER && heard == 2 && kind == SP_WRONG_OWNER);
    CHECK(sp_resize(disk, at(block, 16), 16) == SP_STATUS_INVALID_PARAMETER && kind == SP_INTERIOR_FREE);
    sp_raise_irql(CLOCK_LEVEL);
    CHECK(sp_resize(disk, block, 16) == SP_STATUS_INVALID_IRQL);
    sp_lower_irql(PASSIVE_LEVEL);
    sp_set_not_implemented(pool, 1);
    CHECK(sp_resize(disk, block, 16) == SP_STATUS_NOT_IMPLEMENTED);
    sp_set_not_implemented(pool, 0);
    CHECK(sp_block_at(pool, block, &told) && told.bytes == 1 && sp_free(disk, block) == SP_STATUS_SUCCESS);
    CHECK(sp_resize(disk, block, 16) == SP_STATUS_INVALID_PARAMETER && kind == SP_DOUBLE_FREE);
    CHECK(sp_adapter_remove(disk, NULL, NULL) == 0 && sp_adapter_remove(other, NULL, NULL) == 0);
}

static void all(sp_pool *pool)
{
    CHECK(pool != NULL);
    sp_on_violation(pool, hear, NULL);
    found(pool);
    aligned(pool);
    resized(pool);
    sp_pool_destroy(pool);
}

int main(void)
{
    sp_options options;
    char *memory;

    all(sp_pool_create(4 << 20));
    all(sp_pool_create(32 << 20));
    memset(&options, 0, sizeof(options));
    options.size = sizeof(options);
    options.range_bytes = 32 << 20;
    options.range = (uint64_t)0xFFFF8 << 44;
    options.cpu = no_cpu;
    options.irql = passive;
    options.metadata_bytes = sp_metadata_bytes(&options);
    memory = calloc(1, options.metadata_bytes + 4096);
    CHECK(memory != NULL);
    options.metadata = (void *)(((uintptr_t)memory + 4095) & ~(uintptr_t)4095);
    all(sp_pool_create_with(&options));
    free(memory);
    puts("block: ok");
    return 0;
}
