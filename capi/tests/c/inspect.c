/* Pages, blocks of a tag, and the check, of pools of both sizes. A fault is planted in metadata of the host's. */
#include "check.h"

typedef struct seen {
    sp_pool *pool;
    sp_block_detail blocks[256];
    int count;
} seen;

static void see(void *context, const sp_block_detail *block)
{
    seen *all = context;
    sp_block_detail again;

    CHECK(all->count < 256 && block->reserved == 0 && block->description != NULL);
    /* The callback may call the pool. */
    CHECK(sp_inspect_block(all->pool, block->address, &again));
    CHECK(again.address == block->address && again.state == block->state && again.cpu == block->cpu);
    CHECK(again.owner == block->owner && again.bytes == block->bytes && again.capacity == block->capacity);
    CHECK(again.tag == block->tag && again.description == block->description);
    all->blocks[all->count++] = *block;
}

static void never(void *context, const sp_block_detail *block)
{
    (void)context;
    (void)block;
    CHECK(!"a block that is not there");
}

static uint64_t all_is_well(sp_pool *pool)
{
    sp_check check;

    memset(&check, 0x5A, sizeof(check));
    CHECK(sp_pool_check(pool, NULL, NULL, &check) == 1 && sp_pool_check(pool, NULL, NULL, NULL) == 1);
    CHECK(check.faults == 0 && check.settled == 1 && check.owners_settled == 1);
    CHECK(check.blocks == check.live + check.loaded + check.spare + check.depot + check.loose +
                              check.never_carved + check.in_hand);
    CHECK(check.spans == check.slab_spans + check.run_spans + check.free_spans + check.spans_in_hand);
    CHECK(check.in_hand == 0 && check.spans_in_hand == 0 && check.runs_in_hand == 0);
    return check.live + 1000 * check.live_runs + 1000000 * check.freed_runs;
}

static void pages(sp_pool *pool)
{
    PVOID disk = sp_adapter_create(pool, "disk", 8), first, second, run;
    char *page;
    int n;
    seen all;

    all.pool = pool;
    CHECK(all_is_well(pool) == 0);
    CHECK(sp_allocate(disk, 1000, TAG, &first) == SP_STATUS_SUCCESS);
    CHECK(sp_allocate(disk, 900, TAG, &second) == SP_STATUS_SUCCESS);
    CHECK(sp_allocate(disk, 200000, TAG + (1 << 24), &run) == SP_STATUS_SUCCESS);
    CHECK(all_is_well(pool) == 1002);

    /* Four blocks of 1024 bytes. */
    all.count = 0;
    page = (char *)((uintptr_t)first & ~(uintptr_t)4095);
    CHECK(sp_inspect_page(pool, page + 4095, see, &all) == page && all.count == 4);
    for (n = 0; n < 4; n++) {
        sp_block_detail *block = &all.blocks[n];

        CHECK(block->address == page + 1024 * n && block->capacity == 1024);
        if (block->address == first) {
            CHECK(block->state == SP_BLOCK_LIVE && block->owner == disk && block->bytes == 1000);
            CHECK(block->tag == TAG && strcmp(block->description, "live") == 0);
        } else if (block->address != second) {
            CHECK(block->state == SP_BLOCK_LOADED || block->state == SP_BLOCK_NEVER_CARVED);
            CHECK(block->owner == NULL && block->bytes == 0 && block->tag == 0);
        }
    }
    CHECK(sp_inspect_page(pool, page, NULL, NULL) == page);
    CHECK(sp_free(disk, first) == SP_STATUS_SUCCESS);
    CHECK(sp_inspect_block(pool, first, &all.blocks[0]) && all.blocks[0].state == SP_BLOCK_LOADED);
    CHECK(all.blocks[0].owner == disk && all.blocks[0].bytes == 1000 && all.blocks[0].tag == TAG);

    /* A page in the middle of a large block, live, freed, and gone. */
    all.count = 0;
    page = (char *)run + 40960;
    CHECK(sp_inspect_page(pool, page, see, &all) == page && all.count == 1);
    CHECK(all.blocks[0].address == run && all.blocks[0].bytes == 200000 && all.blocks[0].state == SP_BLOCK_LIVE);
    CHECK(sp_free(disk, run) == SP_STATUS_SUCCESS);
    CHECK(sp_inspect_block(pool, page, &all.blocks[0]) && all.blocks[0].state == SP_BLOCK_FREED_RUN);
    CHECK(all_is_well(pool) == 1000001);
    CHECK(sp_pool_trim(pool, NULL));
    CHECK(sp_inspect_block(pool, page, &all.blocks[0]) && all.blocks[0].state == SP_BLOCK_FREE_SPAN);
    CHECK(all.blocks[0].owner == NULL && all_is_well(pool) == 1);

    /* Questions that have no answer, and are no failures. */
    CHECK(sp_adapter_create(NULL, "none", 8) == NULL);
    all.blocks[0].tag = 77;
    CHECK(sp_inspect_page(pool, NULL, never, NULL) == NULL && sp_inspect_page(NULL, page, never, NULL) == NULL);
    CHECK(!sp_inspect_block(pool, NULL, &all.blocks[0]) && !sp_inspect_block(NULL, page, &all.blocks[0]));
    CHECK(all.blocks[0].tag == 77 && sp_inspect_block(pool, page, NULL));
    sp_raise_irql(HIGH_LEVEL);
    CHECK(sp_inspect_page(pool, page, NULL, NULL) == page);
    sp_lower_irql(PASSIVE_LEVEL);
    CHECK(strcmp(sp_last_error(), "the pool is NULL") == 0);
    CHECK(sp_adapter_release(disk, NULL, NULL) == 1);
}

static void tags(sp_pool *pool)
{
    PVOID disk = sp_adapter_create(pool, "disk", 8), blocks[20], before = NULL;
    seen all;
    int n;

    for (n = 0; n < 20; n++)
        CHECK(sp_allocate(disk, 100 + n, n % 2 ? SP_TAG('A', 'h', 'c', 'i') : SP_TAG('A', 'h', 'c', 'j'), &blocks[n]) == SP_STATUS_SUCCESS);
    all.pool = pool;
    all.count = 0;
    CHECK(sp_for_each_block_of(pool, "Ah?i", see, &all) == 10 && all.count == 10);
    for (n = 0; n < 10; n++) {
        CHECK(all.blocks[n].address > before && all.blocks[n].tag == SP_TAG('A', 'h', 'c', 'i'));
        CHECK(all.blocks[n].bytes % 2 == 1 && all.blocks[n].owner == disk);
        CHECK(all.blocks[n].state == SP_BLOCK_LIVE);
        before = all.blocks[n].address;
    }
    CHECK(sp_for_each_block_of(pool, "A*", NULL, NULL) == 20 && sp_for_each_block_of(pool, "*", NULL, NULL) == 20);
    CHECK(sp_for_each_block_of(pool, "None", never, NULL) == 0 && *sp_last_error() == 0);
    CHECK(sp_for_each_block_of(NULL, "*", never, NULL) == 0 && strcmp(sp_last_error(), "the pool is NULL") == 0);
    CHECK(sp_for_each_block_of(pool, NULL, never, NULL) == 0 && strstr(sp_last_error(), "1 to 16 printable"));
    CHECK(sp_for_each_block_of(pool, "", never, NULL) == 0 && strstr(sp_last_error(), "1 to 16 printable"));
    CHECK(sp_for_each_block_of(pool, "\t", never, NULL) == 0 && strstr(sp_last_error(), "1 to 16 printable"));
    CHECK(sp_adapter_release(disk, NULL, NULL) == 20);
}

static int faults;

static void hear(void *context, const sp_finding *finding)
{
    CHECK(context == &faults && finding->text != NULL);
    faults++;
    if (strstr(finding->text, "a bitmap has bits behind the range's last span")) {
        CHECK(finding->has_found && finding->found == (uint64_t)1 << 63 && !finding->has_expected);
        CHECK(finding->address == NULL && finding->number == 272);
        faults += 1000;
    }
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

/* Of 17 times 16 spans: the last word of the map of free ones has bits behind them. */
static void planted(void)
{
    sp_options options;
    sp_pool *pool;
    sp_check check;
    uint64_t *words;
    char *memory;
    size_t n, planted = 0;

    memset(&options, 0, sizeof(options));
    options.size = sizeof(options);
    options.range_bytes = 17 << 16;
    options.range = (uint64_t)0xFFFF8 << 44;
    options.cpu = no_cpu;
    options.irql = passive;
    options.metadata_bytes = sp_metadata_bytes(&options);
    memory = calloc(1, options.metadata_bytes + 4096);
    CHECK(memory != NULL);
    options.metadata = (void *)(((uintptr_t)memory + 4095) & ~(uintptr_t)4095);
    pool = sp_pool_create_with(&options);
    CHECK(pool != NULL && all_is_well(pool) == 0);
    /* The map of free spans: four whole words, and one of sixteen bits. */
    words = options.metadata;
    for (n = 0; n + 5 < options.metadata_bytes / 8; n++) {
        if (words[n] == UINT64_MAX && words[n + 3] == UINT64_MAX && words[n + 4] == 0xFFFF) {
            words[n + 4] |= (uint64_t)1 << 63;
            CHECK(sp_pool_check(pool, hear, &faults, &check) == 1 && check.faults == 1 && faults == 1001);
            CHECK(check.settled == 1 && check.free_spans == 272);
            words[n + 4] = 0xFFFF;
            planted++;
        }
    }
    CHECK(planted == 1 && all_is_well(pool) == 0);
    CHECK(sp_pool_check(NULL, hear, NULL, &check) == 0 && strcmp(sp_last_error(), "the pool is NULL") == 0);
    sp_pool_destroy(pool);
    free(memory);
}

static void all(sp_pool *pool)
{
    CHECK(pool != NULL);
    pages(pool);
    tags(pool);
    sp_pool_destroy(pool);
}

int main(void)
{
    all(sp_pool_create(4 << 20));
    all(sp_pool_create(32 << 20));
    planted();
    puts("inspect: ok");
    return 0;
}
