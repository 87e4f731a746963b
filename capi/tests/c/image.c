/* Metadata that is saved, and restored into the same pool and another one. */
#include "check.h"

enum { BLOCKS = 200, RUNS = 1000 };

static PVOID blocks[BLOCKS], again[BLOCKS];

static void allocate(PVOID extension, PVOID *out)
{
    size_t n;
    for (n = 0; n < BLOCKS; n++)
        CHECK(StorPortAllocatePool(extension, (ULONG)(16 + n * 7), TAG, &out[n]) == STOR_STATUS_SUCCESS);
}

static sp_image *image_of(sp_pool *pool)
{
    static char bytes[1 << 20];
    size_t needed = sp_pool_save(pool, NULL, 0);
    sp_image *image;
    CHECK(needed > 100 && needed <= sizeof(bytes));
    CHECK(sp_pool_save(pool, bytes, needed) == needed);
    CHECK(sp_image_read(bytes, needed - 1) == NULL && strstr(sp_last_error(), "not whole") != NULL);
    CHECK(sp_image_read("no image", 8) == NULL && sp_last_error()[0] != 0);
    CHECK(sp_image_read(NULL, 0) == NULL && sp_last_error()[0] != 0);
    CHECK((image = sp_image_read(bytes, needed)) != NULL && sp_last_error()[0] == 0);
    return image;
}

int main(void)
{
    sp_options options;
    sp_pool *pool, *other, *another;
    PVOID disk, tape, block;
    sp_image *image;
    sp_usage usage;
    size_t n;

    memset(&options, 0, sizeof(options));
    options.size = sizeof(options);
    options.range_bytes = 4 << 20;
    pool = sp_pool_create_with(&options);
    disk = sp_adapter_create(pool, "disk", 8);
    allocate(disk, blocks);
    for (n = 0; n < BLOCKS; n += 2)
        CHECK(StorPortFreePool(disk, blocks[n]) == STOR_STATUS_SUCCESS);
    image = image_of(pool);
    for (n = 0; n < RUNS; n++) {
        allocate(disk, again);
        CHECK(sp_pool_restore(pool, image));
    }
    for (n = 0; n < BLOCKS; n++)
        CHECK(StorPortFreePool(disk, blocks[n]) == (n % 2 ? STOR_STATUS_SUCCESS : STOR_STATUS_INVALID_PARAMETER));
    CHECK(sp_pool_usage(pool, &usage) && usage.live == 0 && usage.violations == BLOCKS / 2);

    /* An adapter that was made since is no more, though its extension is still there. */
    tape = sp_adapter_create(pool, "tape", 8);
    CHECK(StorPortAllocatePool(tape, 8, TAG, &block) == STOR_STATUS_SUCCESS);
    CHECK(sp_pool_restore(pool, image));
    CHECK(StorPortAllocatePool(tape, 8, TAG, &block) == STOR_STATUS_INVALID_PARAMETER);

    /* Another pool takes it up; its adapters have no extensions yet. */
    other = sp_pool_create_with(&options);
    CHECK(sp_pool_restore(other, image));
    CHECK(sp_adapter_restored(other, "tape", 8) == NULL && strstr(sp_last_error(), "name") != NULL);
    CHECK((tape = sp_adapter_restored(other, "disk", 100)) != NULL && tape != disk);
    CHECK(sp_adapter_restored(other, "disk", 100) == tape && ((char *)tape)[99] == 0);
    CHECK(sp_pool_usage(other, &usage) && usage.live == BLOCKS / 2);
    {
        char *there = (char *)(uintptr_t)usage.range;
        char *here;
        CHECK(sp_pool_usage(pool, &usage));
        here = (char *)(uintptr_t)usage.range;
        for (n = 1; n < BLOCKS; n += 2)
            CHECK(StorPortFreePool(tape, there + ((char *)blocks[n] - here)) == STOR_STATUS_SUCCESS);
    }
    CHECK(sp_adapter_remove(tape, NULL, NULL) == 0);

    options.min_block = 64;
    another = sp_pool_create_with(&options);
    CHECK(!sp_pool_restore(another, image) && strstr(sp_last_error(), "geometry") != NULL);
    CHECK(!sp_pool_restore(another, NULL) && !sp_pool_restore(NULL, image) && sp_pool_save(NULL, NULL, 0) == 0);
    sp_image_free(image);
    sp_image_free(NULL);
    sp_pool_destroy(pool);
    sp_pool_destroy(other);
    sp_pool_destroy(another);
    puts("image: ok");
    return 0;
}
