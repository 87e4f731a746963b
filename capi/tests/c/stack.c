/* How much stack each call takes, in bytes: on a thread of its own whose stack is painted first. Prints a line for each
   call, its name and the bytes. */
#define _GNU_SOURCE
#include "check.h"

#include <pthread.h>
#include <sys/mman.h>

enum { STACK = 256 << 10, PAINTED = 128 << 10 };

static sp_pool *pool;
static PVOID disk, other, leaky, ruled, kept, blocks[4096];
static sp_options options;

static void nothing(void) {}
static void allocate(void) { CHECK(StorPortAllocatePool(disk, 64, TAG, &blocks[0]) == STOR_STATUS_SUCCESS); }
static void give(void) { CHECK(StorPortFreePool(disk, blocks[0]) == STOR_STATUS_SUCCESS); }
static void twice(void) { CHECK(StorPortFreePool(disk, blocks[0]) == STOR_STATUS_INVALID_PARAMETER); }
static void hear(void *context, const sp_violation *violation) { (void)context; (void)violation; }

/* Every size once, and until there is no more: all of allocate's ways. */
static void allocate_all(void)
{
    ULONG n = 0, bytes;
    for (bytes = 16; n < 2048 && bytes < 1 << 20; bytes += 16 + bytes / 4)
        if (StorPortAllocatePool(disk, bytes, TAG + n, &blocks[n]) == STOR_STATUS_SUCCESS) n++;
    while (n < 4096 && StorPortAllocatePool(disk, 30000, TAG, &blocks[n]) == STOR_STATUS_SUCCESS) n++;
    CHECK(n < 4096 && StorPortAllocatePool(disk, 500000, TAG, &blocks[n]) == STOR_STATUS_INSUFFICIENT_RESOURCES);
    blocks[n] = NULL;
}

static void free_all(void)
{
    size_t n;
    for (n = 0; blocks[n] != NULL; n++)
        CHECK(StorPortFreePool(disk, blocks[n]) == STOR_STATUS_SUCCESS);
}

static void bulk(void)
{
    CHECK(sp_allocate_bulk(disk, 64, TAG, blocks, 200) == STOR_STATUS_SUCCESS);
    CHECK(sp_free_bulk(disk, blocks, 200, NULL) == 200);
}

static void tagged(void)
{
    ExFreePoolWithTag(ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG), TAG);
}

static void aligned(void)
{
    CHECK(sp_allocate_aligned(disk, 100, 64, TAG, &blocks[0]) == STOR_STATUS_SUCCESS);
    CHECK(StorPortFreePool(disk, blocks[0]) == STOR_STATUS_SUCCESS);
}

static void resize(void) { CHECK(sp_resize(disk, kept, 110) == STOR_STATUS_SUCCESS); }
static void block_at(void) { sp_block found; CHECK(sp_block_at(pool, kept, &found)); }
static void create(void) { sp_pool_destroy(sp_pool_create_with(&options)); }
static void adapter(void) { CHECK(sp_adapter_remove(sp_adapter_create(pool, "one", 4096), NULL, NULL) == 0); }
static void snapshot(void) { sp_snapshot_free(sp_snapshot_take(pool)); }
static void usage(void) { sp_usage now; CHECK(sp_pool_usage(pool, &now)); }
static void trim(void) { CHECK(sp_pool_trim(pool, NULL)); }
static void error(void) { CHECK(sp_adapter_create(NULL, "one", 0) == NULL && strlen(sp_last_error()) > 0); }

static void bulk_refused(void)
{
    PVOID bad[3];
    bad[0] = (char *)kept + 16;
    bad[1] = (char *)kept + 32;
    bad[2] = &bad;
    CHECK(sp_free_bulk(other, bad, 3, NULL) == 0);
}

/* `leaky` has a block. */
static void remove_leak(void) { CHECK(sp_adapter_remove(leaky, NULL, NULL) == 1); }

/* Blocks under a rule. */
static void verified(void) { CHECK(StorPortAllocatePool(ruled, 100, TAG, &blocks[0]) == STOR_STATUS_SUCCESS); }
static void verified_free(void) { CHECK(StorPortFreePool(ruled, blocks[0]) == STOR_STATUS_SUCCESS); }
static void overrun(void) { StorPortFreePool(ruled, blocks[0]); }

static void *run(void *call)
{
    (*(void (**)(void))call)();
    return NULL;
}

static size_t depth(void (*call)(void))
{
    unsigned char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_attr_t attributes;
    pthread_t thread;
    size_t n;
    CHECK(stack != MAP_FAILED);
    memset(stack, 0xA5, PAINTED);
    pthread_attr_init(&attributes);
    CHECK(pthread_attr_setstack(&attributes, stack, STACK) == 0);
    CHECK(pthread_create(&thread, &attributes, run, &call) == 0);
    pthread_join(thread, NULL);
    /* The rest is painted by zeros: the deepest byte that is neither. */
    for (n = 0; n < STACK; n++)
        if (stack[n] != (n < PAINTED ? 0xA5 : 0)) break;
    munmap(stack, STACK);
    return STACK - n;
}

int main(void)
{
    static const struct {
        const char *name;
        void (*call)(void);
    } calls[] = {
        {"allocate", allocate},      {"free", give},       {"free_refused", twice},   {"allocate_all", allocate_all},
        {"free_all", free_all},      {"bulk", bulk},       {"tagged", tagged},        {"create_destroy", create},
        {"adapter", adapter},        {"trim", trim},       {"usage", usage},          {"snapshot", snapshot},
        {"last_error", error},       {"aligned", aligned}, {"resize", resize},        {"block_at", block_at},
        {"bulk_refused", bulk_refused}, {"remove_leak", remove_leak}, {"verified", verified},
        {"verified_free", verified_free}, {"verified", verified}, {"overrun", overrun},
    };
    size_t n, base;
    sp_rule rule;

    memset(&options, 0, sizeof(options));
    options.size = sizeof(options);
    options.range_bytes = 2 << 20;
    pool = sp_pool_create(16 << 20);
    disk = sp_adapter_create(pool, "disk", 8);
    other = sp_adapter_create(pool, "an adapter with a long name, so that texts are", 8);
    leaky = sp_adapter_create(pool, "leaky", 8);
    ruled = sp_adapter_create(pool, "ruled", 8);
    CHECK(StorPortAllocatePool(leaky, 100, TAG, &blocks[0]) == STOR_STATUS_SUCCESS);
    memset(&rule, 0, sizeof(rule));
    rule.size = sizeof(rule);
    rule.extension = ruled;
    rule.canary = rule.track = rule.quarantine = 1;
    sp_verifier_attach(pool, NULL);
    CHECK(sp_verifier_add(pool, &rule) != 0);
    sp_on_violation(pool, hear, NULL);
    CHECK(StorPortAllocatePool(disk, 100, TAG, &kept) == STOR_STATUS_SUCCESS);
    depth(nothing);
    base = depth(nothing);
    for (n = 0; n < sizeof(calls) / sizeof(calls[0]); n++) {
        size_t bytes;
        if (calls[n].call == overrun) ((char *)blocks[0])[100] = 1;
        bytes = depth(calls[n].call);
        printf("%s %zu\n", calls[n].name, bytes > base ? bytes - base : 0);
    }
    return 0;
}
