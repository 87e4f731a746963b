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

static void bad(sp_options options, const char *word)
{
    CHECK(sp_pool_create_with(&options) == NULL);
    CHECK(strstr(sp_last_error(), word) != NULL);
}

static void over(struct machine *machine, sp_options options)
{
    void *memory;
    options.metadata_bytes = sp_metadata_bytes(&options);
    CHECK(options.metadata_bytes > 0);
    memory = calloc(1, options.metadata_bytes + 4096);
    options.metadata = (void *)(((uintptr_t)memory + 4095) & ~(uintptr_t)4095);
    on(machine, &options);
    options.metadata_bytes--;
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
