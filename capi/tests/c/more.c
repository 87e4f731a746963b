/* What Rust has too: trim, sums, sizes and CPUs of a snapshot, names, frees with a tag. And reasons, with their
   figures. */
#include "check.h"

static char text[600];

static void hear(void *context, const sp_violation *violation)
{
    (void)context;
    strcpy(text, violation->text);
}

static void trim(void)
{
    enum { BLOCKS = 2000 };
    static PVOID blocks[BLOCKS];
    sp_pool *pool = sp_pool_create(16 << 20);
    PVOID disk = sp_adapter_create(pool, "disk", 8);
    sp_trimmed trimmed;
    sp_usage usage;
    uint64_t free_before;
    size_t n;

    CHECK(sp_pool_usage(pool, &usage) && usage.range_bytes == 16 << 20 && usage.range % 65536 == 0);
    CHECK(usage.live == 0 && usage.allocs == 0 && usage.free_bytes == usage.range_bytes);
    free_before = usage.free_bytes;
    for (n = 0; n < BLOCKS; n++) {
        CHECK(StorPortAllocatePool(disk, 4096, TAG, &blocks[n]) == STOR_STATUS_SUCCESS);
        memset(blocks[n], 1, 4096);
    }
    CHECK(sp_pool_usage(pool, &usage) && usage.live == BLOCKS && usage.bytes == BLOCKS * 4096u);
    CHECK(usage.bytes_occupied == BLOCKS * 4096u && usage.allocs == BLOCKS && usage.frees == 0);
    CHECK((uint64_t)(uintptr_t)blocks[0] - usage.range < usage.range_bytes && usage.free_bytes < free_before);
    for (n = 0; n < BLOCKS; n++)
        CHECK(StorPortFreePool(disk, blocks[n]) == STOR_STATUS_SUCCESS);
    CHECK(sp_pool_trim(pool, &trimmed));
    CHECK(trimmed.bytes >= BLOCKS * 4096u && trimmed.slabs > 0);
    CHECK(sp_pool_trim(pool, &trimmed) && trimmed.bytes == 0 && sp_pool_trim(pool, NULL));
    CHECK(sp_pool_usage(pool, &usage) && usage.live == 0 && usage.frees == BLOCKS && usage.violations == 0);
    CHECK(usage.free_bytes == free_before);
    CHECK(StorPortFreePool(disk, blocks[0]) == STOR_STATUS_INVALID_PARAMETER);
    CHECK(sp_pool_usage(pool, &usage) && usage.violations == 1);
    CHECK(!sp_pool_trim(NULL, NULL) && strcmp(sp_last_error(), "the pool is NULL") == 0);
    CHECK(!sp_pool_usage(NULL, &usage) && strlen(sp_last_error()) > 0);
    sp_pool_destroy(pool);
}

static void pictures(void)
{
    sp_pool *pool = sp_pool_create(16 << 20);
    PVOID disk = sp_adapter_create(pool, "disk", 8), small, page;
    sp_snapshot *snapshot;
    sp_class_row class_row;
    sp_cpu_row cpu_row;
    uint32_t cpus = 0, classes = 0;
    uint64_t live = 0;

    CHECK(StorPortAllocatePool(disk, 100, TAG, &small) == STOR_STATUS_SUCCESS);
    CHECK(StorPortAllocatePool(disk, 4096, TAG, &page) == STOR_STATUS_SUCCESS);
    snapshot = sp_snapshot_take(pool);
    while (sp_snapshot_next_class(snapshot, &class_row)) {
        CHECK(class_row.live == 1 && class_row.slabs == 1 && class_row.free > 0);
        CHECK(class_row.block_bytes == (classes == 0 ? 112u : 4096u) && class_row.cached <= class_row.free);
        live += class_row.live;
        classes++;
    }
    CHECK(live == 2 && classes == 2 && !sp_snapshot_next_class(snapshot, &class_row));
    while (sp_snapshot_next_cpu(snapshot, &cpu_row)) {
        CHECK(cpu_row.cpu == cpus && cpu_row.bytes >= cpu_row.blocks * 16);
        cpus++;
    }
    CHECK(cpus == sp_possible_cpus());
    sp_snapshot_free(snapshot);
    sp_pool_destroy(pool);
}

static void names(void)
{
    sp_pool *pool = sp_pool_create(1 << 20);
    PVOID disk = sp_adapter_create(pool, "disk0", 8), odd = sp_adapter_create(pool, "a\xFF" "b", 8), block;
    char name[40];

    CHECK(sp_adapter_name(disk, name, sizeof(name)) && strcmp(name, "disk0") == 0);
    CHECK(sp_adapter_name(disk, name, 4) && strcmp(name, "dis") == 0 && sp_adapter_name(disk, NULL, 0));
    CHECK(sp_adapter_name(odd, name, sizeof(name)) && strcmp(name, "a\xEF\xBF\xBD" "b") == 0);
    CHECK(!sp_adapter_name(&pool, name, sizeof(name)) && strlen(sp_last_error()) > 0);

    sp_on_violation(pool, hear, NULL);
    CHECK(StorPortAllocatePool(disk, 100, TAG, &block) == STOR_STATUS_SUCCESS);
    CHECK(sp_free_with_tag(disk, block, TAG + 1) == SP_STATUS_INVALID_PARAMETER);
    CHECK(strstr(text, "another tag") != NULL && strstr(text, "'Test'") != NULL && strstr(text, "'Uest'") != NULL);
    CHECK(sp_free_with_tag(&pool, block, TAG) == SP_STATUS_INVALID_PARAMETER);
    CHECK(sp_free_with_tag(disk, block, TAG) == SP_STATUS_SUCCESS);
    CHECK(StorPortFreePool(odd, block) == STOR_STATUS_INVALID_PARAMETER);
    CHECK(strstr(text, "double free") != NULL && strstr(text, "100 bytes") != NULL);
    CHECK(strstr(text, "of adapter disk0") != NULL && strstr(text, "for adapter a") != NULL);
    CHECK(strstr(text, "; Windows stops with 0xC2 (0x7, 0x0, 0x") != NULL && text[strlen(text) - 1] == ')');

    /* A leak names its adapter, whether that is removed or its pool ends. */
    CHECK(StorPortAllocatePool(disk, 100, TAG, &block) == STOR_STATUS_SUCCESS);
    CHECK(sp_adapter_remove(disk, NULL, NULL) == 1);
    CHECK(strstr(text, "blocks left behind") != NULL && strstr(text, "of adapter disk0") != NULL);
    CHECK(!sp_adapter_name(disk, name, sizeof(name)));
    CHECK(StorPortAllocatePool(odd, 7, TAG, &block) == STOR_STATUS_SUCCESS);
    sp_pool_destroy(pool);
    CHECK(strstr(text, "1 block,") != NULL && strstr(text, "'Test'") != NULL);
}

/* Why calls failed. */
static void reasons(void)
{
    sp_options options;
    sp_pool *pool;
    char *memory;
    size_t needed;
    union {
        sp_options today;
        unsigned char bytes[sizeof(sp_options)];
    } old;

    memset(&options, 0, sizeof(options));
    options.size = sizeof(options);
    options.range_bytes = 1 << 20;
    options.range = (uint64_t)1 << 40;
    options.cpus = 1;
    needed = sp_metadata_bytes(&options);
    CHECK(needed > 0 && *sp_last_error() == 0);
    memory = calloc(1, needed + 8192);
    options.metadata = (void *)(((uintptr_t)memory + 4095) & ~(uintptr_t)4095);

    /* The metadata's size and alignment are two reasons, each with its figures. */
    options.metadata_bytes = needed - 1;
    CHECK(sp_pool_create_with(&options) == NULL);
    sprintf(text, "the metadata has %zu bytes, and this pool needs %zu", needed - 1, needed);
    CHECK(strcmp(sp_last_error(), text) == 0);
    options.metadata = (char *)options.metadata + 16;
    options.metadata_bytes = needed;
    CHECK(sp_pool_create_with(&options) == NULL);
    sprintf(text, "the metadata begins at %p, which is no multiple of 4096", options.metadata);
    CHECK(strcmp(sp_last_error(), text) == 0);
    options.metadata = (char *)options.metadata - 16;

    /* A range that begins between spans is refused. */
    options.range += 4096;
    CHECK(sp_pool_create_with(&options) == NULL && sp_metadata_bytes(&options) == 0);
    CHECK(strcmp(sp_last_error(), "the range begins at 0x10000001000, which is no multiple of 65536") == 0);
    options.range -= 4096;

    /* A reason is the last call's. */
    pool = sp_pool_create_with(&options);
    CHECK(pool != NULL && *sp_last_error() == 0);
    CHECK(sp_adapter_create(NULL, "none", 1) == NULL && strcmp(sp_last_error(), "the pool is NULL") == 0);
    CHECK(sp_adapter_create(pool, "one", 1) != NULL && *sp_last_error() == 0);
    sp_pool_destroy(pool);

    /* Options of an older version: what that had not is not read. */
    memset(&options, 0, sizeof(options));
    options.size = sizeof(options);
    options.range_bytes = 1 << 20;
    memset(&old, 0xFF, sizeof(old));
    options.size = 112;
    memcpy(old.bytes, &options, 112);
    pool = sp_pool_create_with(&old.today);
    CHECK(pool != NULL);
    sp_pool_destroy(pool);
    options.size = 111;
    CHECK(sp_pool_create_with(&options) == NULL && strstr(sp_last_error(), "111") != NULL);
    options.size = sizeof(options) + 8;
    CHECK(sp_pool_create_with(&options) == NULL);
    options.size = sizeof(options);
    options.reserved = 1;
    CHECK(sp_pool_create_with(&options) == NULL && strstr(sp_last_error(), "reserved") != NULL);
    options.reserved = 0;
    options.magazines = 100;
    needed = sp_metadata_bytes(&options);
    options.magazines = 200;
    CHECK(sp_metadata_bytes(&options) >= needed + 100 * 1024);
    free(memory);
}

int main(void)
{
    trim();
    pictures();
    names();
    reasons();
    puts("more: ok");
    return 0;
}
