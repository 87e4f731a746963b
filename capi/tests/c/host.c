/* A host with CPUs, IRQL and masking of its own, over a guest's range and over memory of the system. */
#include "check.h"

#include <unistd.h>

struct machine {
    uint32_t cpu;
    KIRQL level;
    int masked, masks, fences;
};

static uint32_t cpu_of(void *context)
{
    return ((struct machine *)context)->cpu;
}

static KIRQL level_of(void *context)
{
    return ((struct machine *)context)->level;
}

static size_t mask(void *context)
{
    struct machine *machine = context;
    machine->masks++;
    return (size_t)machine->masked++;
}

static void unmask(void *context, size_t state)
{
    struct machine *machine = context;
    CHECK(--machine->masked == (int)state);
}

static void fence(void *context, uint32_t cpu)
{
    CHECK(cpu < 4);
    ((struct machine *)context)->fences++;
}

static void on(struct machine *machine, sp_options *options)
{
    sp_pool *pool = sp_pool_create_with(options);
    PVOID disk, blocks[1000], refused = NULL;
    size_t n;

    CHECK(pool != NULL);
    disk = sp_adapter_create(pool, "guest", 8);
    for (n = 0; n < 1000; n++) {
        machine->cpu = (uint32_t)n % 5;
        CHECK(StorPortAllocatePool(disk, 64 + (ULONG)n, TAG, &blocks[n]) == STOR_STATUS_SUCCESS);
        if (options->range != 0) CHECK((uint64_t)(uintptr_t)blocks[n] - options->range < options->range_bytes);
    }
    if (options->irql != NULL) {
        machine->level = 5;
        CHECK(StorPortAllocatePool(disk, 64, TAG, &refused) == STOR_STATUS_INVALID_IRQL);
        CHECK(StorPortFreePool(disk, blocks[0]) == STOR_STATUS_INVALID_IRQL);
    }
    machine->level = DISPATCH_LEVEL;
    for (n = 0; n < 1000; n++) {
        machine->cpu = (uint32_t)n % 3;
        CHECK(StorPortFreePool(disk, blocks[n]) == STOR_STATUS_SUCCESS);
    }
    machine->level = PASSIVE_LEVEL;
    CHECK(sp_adapter_remove(disk, NULL, NULL) == 0 && machine->masked == 0);
    sp_pool_destroy(pool);
}

/* The tagged pool over a range that nobody can touch: all but zeroed blocks; and over one that is said to be memory. */
static void tagged(sp_options options, int addressable)
{
    sp_pool *pool = sp_pool_create_with(&options);
    PVOID block;
    sp_row row;
    sp_snapshot *snapshot;

    CHECK(pool != NULL);
    if (!addressable) CHECK(ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED, 16, TAG) == NULL);
    sp_set_system_pool(pool);
    block = ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED, 100, TAG);
    CHECK((uint64_t)(uintptr_t)block - options.range < options.range_bytes);
    ExFreePoolWithTag(block, TAG);
    block = ExAllocatePoolWithTag(NonPagedPoolNx, 100, TAG);
    CHECK((uint64_t)(uintptr_t)block - options.range < options.range_bytes);
    ExFreePool(block);
    block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG);
    CHECK((block != NULL) == addressable);
    if (block != NULL) CHECK(((char *)block)[0] == 0 && ((char *)block)[99] == 0);
    ExFreePool(block);
    CHECK((block = ExAllocatePoolZero(NonPagedPool, 100, TAG), block != NULL) == addressable);
    ExFreePool(block);
    snapshot = sp_snapshot_take(pool);
    CHECK(sp_snapshot_next_tag(snapshot, &row) && row.live == 0 && row.allocs == (addressable ? 4u : 2u));
    sp_snapshot_free(snapshot);
    sp_pool_destroy(pool);
}

/* One notion of IRQL: the higher of the host's and the thread's. */
static void levels(struct machine *machine, sp_options options)
{
    sp_pool *pool = sp_pool_create_with(&options);
    PVOID disk = sp_adapter_create(pool, "guest", 8), block;
    KIRQL before;

    sp_set_system_pool(pool);
    machine->level = 5;
    CHECK(KeGetCurrentIrql() == 5 && sp_current_irql() == 5);
    machine->level = APC_LEVEL;
    CHECK(KeGetCurrentIrql() == APC_LEVEL);
    CHECK(StorPortAllocatePool(disk, 64, TAG, &block) == STOR_STATUS_SUCCESS);
    KeRaiseIrql(HIGH_LEVEL, &before);
    CHECK(before == APC_LEVEL && KeGetCurrentIrql() == HIGH_LEVEL);
    CHECK(StorPortFreePool(disk, block) == STOR_STATUS_INVALID_IRQL);
    KeLowerIrql(before);
    CHECK(KeGetCurrentIrql() == APC_LEVEL);
    CHECK(StorPortFreePool(disk, block) == STOR_STATUS_SUCCESS);
    KeLowerIrql(PASSIVE_LEVEL);
    CHECK(KeGetCurrentIrql() == APC_LEVEL);
    machine->level = PASSIVE_LEVEL;
    CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL);
    machine->level = 7;
    sp_pool_destroy(pool);
    CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL);
    machine->level = PASSIVE_LEVEL;
}

static void bad(sp_options options, const char *word)
{
    CHECK(sp_pool_create_with(&options) == NULL);
    CHECK(strstr(sp_last_error(), word) != NULL);
}

/* Metadata is zeroed when a pool is made. */
static void again(sp_options *options)
{
    memset(options->metadata, 0, options->metadata_bytes);
}

static void over(struct machine *machine, sp_options options)
{
    void *memory;
    options.metadata_bytes = sp_metadata_bytes(&options);
    CHECK(options.metadata_bytes > 0);
    memory = calloc(1, options.metadata_bytes + 4096);
    options.metadata = (void *)(((uintptr_t)memory + 4095) & ~(uintptr_t)4095);
    on(machine, &options);
    again(&options);
    tagged(options, 0);
    if (options.irql != NULL) {
        again(&options);
        levels(machine, options);
    }
    again(&options);
    options.range_bytes = 1 << 20;
    options.range = (uint64_t)(uintptr_t)aligned_alloc(1 << 16, options.range_bytes);
    options.range_is_addressable = 1;
    tagged(options, 1);
    free((void *)(uintptr_t)options.range);
    options.metadata_bytes = 1 << 16;
    bad(options, "metadata");
    free(memory);
}

int main(void)
{
    struct machine machine = {0, 0, 0, 0, 0};
    sp_options options, plain;
    size_t bytes;

    memset(&plain, 0, sizeof(plain));
    plain.size = sizeof(plain);
    plain.range_bytes = 8 << 20;
    on(&machine, &plain);
    plain.portable = true;
    on(&machine, &plain);

    options = plain;
    options.cpus = 4;
    options.context = &machine;
    options.cpu = cpu_of;
    options.irql = level_of;
    on(&machine, &options);
    options.mask = mask;
    options.unmask = unmask;
    options.fence = fence;
    on(&machine, &options);
    CHECK(machine.masks >= 2000 && machine.fences > 0);

    /* A range that nobody can touch: by the host's functions, by two of them, and by the system's threads. */
    options.range = (uint64_t)1 << 40;
    over(&machine, options);
    options.mask = NULL;
    options.unmask = NULL;
    options.fence = NULL;
    over(&machine, options);
    plain.portable = false;
    plain.range = options.range;
    over(&machine, plain);
    plain.range = 0;
    options.metadata = NULL;
    bad(options, "metadata");

    /* How many CPUs is left open. */
    options.cpus = 0;
    bytes = sp_metadata_bytes(&options);
    options.cpus = 1;
    CHECK(bytes == sp_metadata_bytes(&options));
    options.cpu = NULL;
    options.irql = NULL;
    options.cpus = (uint32_t)sysconf(_SC_NPROCESSORS_CONF);
    bytes = sp_metadata_bytes(&options);
    options.cpus = 0;
    CHECK(bytes <= sp_metadata_bytes(&options));

    options.mask = mask;
    options.unmask = unmask;
    options.cpu = cpu_of;
    options.irql = level_of;
    options.range = 0;
    options.fence = NULL;
    bad(options, "fence");
    options.mask = NULL;
    options.unmask = NULL;
    options.irql = NULL;
    bad(options, "irql");
    options = plain;
    options.mask = mask;
    bad(options, "mask");
    options = plain;
    options.metadata = &plain;
    bad(options, "range");
    options = plain;
    options.size = 1;
    bad(options, "size");
    options = plain;
    options.accounts = 5;
    bad(options, "accounts");
    options = plain;
    options.adapters = ~0u;
    bad(options, "adapters");
    options = plain;
    options.range_bytes = 1;
    bad(options, "range");
    puts("host: ok");
    return 0;
}
