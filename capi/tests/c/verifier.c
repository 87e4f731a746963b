/* The verifier: what it finds, what it refuses, and what a fault at a guard page says. Valid C++ too. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "check.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 64 };

static sp_violation heard[MOST];
static char texts[MOST][600];
static int count;
/* Of the first violation: sums of the call stacks of its allocation, free and call, which are gone when the callback
   returns. */
static uint64_t places[3];

static void hear(void *context, const sp_violation *violation)
{
    (void)context;
    CHECK(count < MOST);
    heard[count] = *violation;
    if (count == 0) {
        const sp_call_stack *stacks[3];
        int n;
        stacks[0] = &violation->allocated;
        stacks[1] = &violation->freed;
        stacks[2] = &violation->called;
        for (n = 0; n < 3; n++) {
            uint32_t at;
            places[n] = 0;
            for (at = 0; at < stacks[n]->count; at++)
                places[n] = places[n] * 31 + stacks[n]->frames[at];
        }
    }
    strncpy(texts[count], violation->text, sizeof(texts[0]) - 1);
    count++;
}

/* The one violation since the last call. */
static const sp_violation *one(sp_violation_kind kind)
{
    if (count != 1 || heard[0].kind != kind) fprintf(stderr, "%d violations, the first is %s\n", count, texts[0]);
    CHECK(count == 1 && heard[0].kind == kind);
    count = 0;
    return &heard[0];
}

static sp_rule rule_of_nothing(void)
{
    sp_rule rule;
    memset(&rule, 0, sizeof(rule));
    rule.size = sizeof(rule);
    return rule;
}

static sp_pool *verified(PVOID *disk)
{
    sp_pool *pool = sp_pool_create(64 << 20);
    CHECK(pool != NULL);
    sp_on_violation(pool, hear, NULL);
    *disk = sp_adapter_create(pool, "disk0", 64);
    CHECK(*disk != NULL && sp_verifier_attach(pool, NULL));
    return pool;
}

static char *get(PVOID disk, uint32_t bytes)
{
    PVOID block = NULL;
    CHECK(sp_allocate(disk, bytes, TAG, &block) == SP_STATUS_SUCCESS);
    return (char *)block;
}

/* The n-th of the first violation's call stacks. */
static void taken(const sp_call_stack *stack, int n)
{
    CHECK(stack->kind == SP_STACK_TAKEN && stack->count > 2 && stack->missing == NULL);
    CHECK(places[n] != 0);
}

static void finds(void)
{
    PVOID disk;
    sp_pool *pool = verified(&disk);
    sp_rule rule = rule_of_nothing();
    const sp_violation *told;
    sp_swept swept;
    char *block;
    uint64_t added;

    rule.canary = rule.track = rule.quarantine = 1;
    added = sp_verifier_add(pool, &rule);
    CHECK(added != 0);

    block = get(disk, 100);
    memcpy(block + 102, "AB", 2);
    CHECK(sp_free(disk, block) == SP_STATUS_SUCCESS);
    told = one(SP_OVERRUN);
    CHECK(told->address == block && told->block == block && told->bytes == 100 && told->tag == TAG);
    CHECK(told->owner == disk && told->caller == disk && !told->guarded && told->bug_check == 0x19);
    CHECK(told->evidence == block + 102 && told->evidence_count >= 2 && memcmp(told->evidence_bytes, "AB", 2) == 0);
    CHECK(told->evidence_count < 3 || told->evidence_bytes[2] == told->evidence_expected);
    CHECK(strstr(texts[0], "write behind the end of a block at 0x") == texts[0]);
    CHECK(strstr(texts[0], ", tag 'Test', 100 bytes, 0x41 at 0x") != NULL);
    CHECK(strstr(texts[0], "; Windows stops with 0x19 (0x21, 0x") != NULL);
    taken(&told->allocated, 0);
    CHECK(sp_verifier_sweep(pool, NULL) && count == 0);

    block = get(disk, 100);
    block[100] = 1;
    CHECK(sp_verifier_sweep(pool, &swept) && swept.overrun == 1 && swept.released == 0 && swept.written == 0);
    CHECK(one(SP_OVERRUN)->evidence == block + 100);
    sp_free(disk, block);
    one(SP_OVERRUN);
    CHECK(sp_verifier_sweep(pool, &swept) && swept.released == 1);

    block = get(disk, 100);
    CHECK(sp_free(disk, block) == SP_STATUS_SUCCESS);
    memcpy(block + 40, "late", 4);
    CHECK(count == 0 && sp_verifier_sweep(pool, &swept));
    CHECK(swept.overrun == 0 && swept.released == 1 && swept.written == 1);
    told = one(SP_WRITE_AFTER_FREE);
    CHECK(told->address == block && told->evidence == block + 40 && told->bug_check == 0xC6);
    CHECK(told->evidence_count >= 4 && memcmp(told->evidence_bytes, "late", 4) == 0);
    taken(&told->allocated, 0);
    taken(&told->freed, 1);

    block = get(disk, 100);
    CHECK(sp_free(disk, block) == SP_STATUS_SUCCESS);
    CHECK(sp_free(disk, block) == SP_STATUS_INVALID_PARAMETER);
    told = one(SP_DOUBLE_FREE);
    CHECK(told->address == block && told->block == block && told->evidence == NULL && told->evidence_count == 0);
    taken(&told->called, 2);
    taken(&told->allocated, 0);
    taken(&told->freed, 1);
    CHECK(places[0] != places[1] && places[1] != places[2]);

    /* A rule that is gone: nothing is checked, and nothing tracked. */
    CHECK(sp_verifier_remove(pool, added));
    CHECK(!sp_verifier_remove(pool, added) && strcmp(sp_last_error(), "there is no such rule") == 0);
    block = get(disk, 100);
    block[100] = 1;
    CHECK(sp_free(disk, block) == SP_STATUS_SUCCESS && count == 0);
    CHECK(sp_free(disk, block) == SP_STATUS_INVALID_PARAMETER);
    told = one(SP_DOUBLE_FREE);
    CHECK(told->allocated.kind == SP_STACK_NOT_TRACKED && told->allocated.count == 0);
    CHECK(strcmp(told->freed.missing, "not tracked") == 0);
    sp_pool_destroy(pool);
    CHECK(count == 0);
}

static void guards_and_levels(void)
{
    PVOID disk, out;
    sp_pool *pool = verified(&disk);
    sp_rule rule = rule_of_nothing();
    sp_verifier_counts counts;
    const sp_violation *told;
    char *block;

    rule.special = SP_SPECIAL_AFTER;
    rule.irql = rule.overwrite = 1;
    rule.extension = disk;
    rule.tags = "T?s*";
    CHECK(sp_verifier_add(pool, &rule) != 0);
    block = get(disk, 100);
    CHECK(sp_verifier_stats(pool, &counts) && counts.verified == 1 && counts.guarded == 1 && counts.unguarded == 0);
    block[-3] = 'x';
    block[101] = 'y';
    CHECK(sp_free(disk, block) == SP_STATUS_SUCCESS);
    told = one(SP_OVERRUN);
    CHECK(told->guarded && told->bug_check == 0xC1 && told->parameters[3] == 0x24);
    block = get(disk, 100);
    block[-3] = 'x';
    CHECK(sp_free(disk, block) == SP_STATUS_SUCCESS);
    told = one(SP_UNDERRUN);
    CHECK(told->evidence == block - 3 && told->evidence_bytes[0] == 'x');

    /* Other tags and adapters are as before. */
    CHECK(sp_allocate(disk, 100, SP_TAG('T', 'a', 's', 'k'), &out) == SP_STATUS_SUCCESS);
    CHECK(sp_allocate(disk, 100, SP_TAG('A', 's', 'k', 's'), &out) == SP_STATUS_SUCCESS);
    CHECK(sp_verifier_stats(pool, &counts) && counts.verified == 3);

    block = get(disk, 100);
    sp_raise_irql(5);
    CHECK(sp_allocate(disk, 64, TAG, &out) == SP_STATUS_INVALID_IRQL);
    told = one(SP_ALLOCATE_AT_IRQL);
    CHECK(told->irql == 5 && told->bytes == 64 && told->bug_check == 0xC2 && told->parameters[0] == 8);
    CHECK(strcmp(told->description, "allocation above DISPATCH_LEVEL") == 0);
    CHECK(sp_free(disk, block) == SP_STATUS_INVALID_IRQL);
    told = one(SP_FREE_AT_IRQL);
    CHECK(told->irql == 5 && told->address == block && told->bug_check == 0xC2 && told->parameters[0] == 9);
    sp_lower_irql(0);
    out = block;
    CHECK(sp_allocate(disk, 64, TAG, &out) == SP_STATUS_SUCCESS);
    told = one(SP_OVERWRITTEN);
    CHECK(told->bug_check == 0 && told->block == block);
    sp_free(disk, block);
    sp_free(disk, out);

    /* ExFreePool has a violation of its own, and no second one. */
    sp_set_system_pool(pool);
    rule.extension = NULL;
    CHECK(sp_verifier_add(pool, &rule) != 0);
    out = sp_ex_allocate_pool2(0x40, 100, TAG);
    CHECK(out != NULL);
    sp_raise_irql(5);
    sp_ex_free_pool(out);
    sp_lower_irql(0);
    CHECK(one(SP_FREE_AT_IRQL)->address == out);
    sp_ex_free_pool(out);
    CHECK(count == 0);
    sp_adapter_release(disk, NULL, NULL);
    count = 0;
    sp_pool_destroy(pool);
    CHECK(count == 0);
}

static void refuses(void)
{
    PVOID disk, block;
    sp_pool *pool = verified(&disk);
    sp_rule rule = rule_of_nothing();
    sp_rule_counts counts;
    sp_verifier_counts all;
    uint64_t added, other;
    int n;

    rule.every = 3;
    rule.after = 2;
    added = sp_verifier_add(pool, &rule);
    for (n = 1; n <= 11; n++) {
        uint32_t status = sp_allocate(disk, 64, TAG, &block);
        CHECK(status == (n == 5 || n == 8 || n == 11 ? SP_STATUS_INSUFFICIENT_RESOURCES : SP_STATUS_SUCCESS));
        CHECK((block == NULL) == (status != SP_STATUS_SUCCESS));
    }
    CHECK(sp_verifier_rule_counts(pool, added, &counts) && counts.seen == 11 && counts.refused == 3);
    CHECK(sp_verifier_stats(pool, &all) && all.refused == 3 && all.verified == 0 && count == 0);
    CHECK(sp_verifier_remove(pool, added));
    CHECK(!sp_verifier_rule_counts(pool, added, &counts));
    for (n = 0; n < 10; n++)
        CHECK(sp_allocate(disk, 64, TAG, &block) == SP_STATUS_SUCCESS);

    /* As text. */
    CHECK(sp_verify(pool, "tags=Tes? only=2; tags=Othe, probability=10000"));
    CHECK(sp_allocate(disk, 64, SP_TAG('O', 't', 'h', 'e'), &block) == SP_STATUS_INSUFFICIENT_RESOURCES);
    CHECK(sp_allocate(disk, 64, TAG, &block) == SP_STATUS_SUCCESS);
    CHECK(sp_allocate(disk, 64, TAG, &block) == SP_STATUS_INSUFFICIENT_RESOURCES);
    CHECK(sp_allocate(disk, 64, TAG, &block) == SP_STATUS_SUCCESS);
    CHECK(!sp_verify(pool, "track; tags=Vio* specail"));
    CHECK(strstr(sp_last_error(), "'specail' is no word of a rule; the words are adapter=, tags=, special, ") ==
          sp_last_error());
    CHECK(strstr(sp_last_error(), ", once-per-stack, seed=") != NULL);
    CHECK(!sp_verify(pool, "probability=10001"));
    CHECK(strcmp(sp_last_error(), "'probability=10001' wants a number from 0 to 10000") == 0);
    CHECK(!sp_verify(pool, ";") && !sp_verify(pool, NULL) && !sp_verify(NULL, "track"));
    CHECK(!sp_verify(pool, "\xff") && strcmp(sp_last_error(), "the rules are no UTF-8 text") == 0);
    CHECK(!sp_verify(pool, "adapter=1000 track") && strstr(sp_last_error(), "unknown or removed") != NULL);

    /* All of a text, or nothing: two rules are there. */
    rule.every = 0;
    rule.track = 1;
    for (n = 0, added = 1; n < 29; n++) {
        other = sp_verifier_add(pool, &rule);
        CHECK(other != 0 && other != added);
        added = other;
    }
    CHECK(!sp_verify(pool, "track; canary") && strstr(sp_last_error(), "room for 32 rules") != NULL);
    CHECK(sp_verify(pool, "track") && sp_verifier_add(pool, &rule) == 0);
    sp_adapter_release(disk, NULL, NULL);
    count = 0;
    sp_pool_destroy(pool);
}

static void bad_options(void)
{
    PVOID disk, strange;
    sp_pool *pool = sp_pool_create(1 << 20), *other = verified(&strange);
    sp_verifier_options options;
    sp_rule rule = rule_of_nothing();
    sp_verifier_counts counts;

    CHECK(pool != NULL);
    disk = sp_adapter_create(pool, "disk0", 64);
    memset(&options, 0, sizeof(options));
    rule.track = 1;
    CHECK(sp_verifier_add(pool, &rule) == 0 && strstr(sp_last_error(), "has no verifier") != NULL);
    CHECK(!sp_verifier_sweep(pool, NULL) && !sp_verifier_stats(pool, &counts) && !sp_verifier_sample(pool, 1, 1));
    CHECK(!sp_verifier_tick(pool) && !sp_verifier_tick(NULL) && !sp_verifier_remove(NULL, 1));
    CHECK(!sp_verifier_attach(pool, &options));
    CHECK(strcmp(sp_last_error(), "the options' size is 0, which no version of the library has") == 0);
    CHECK(!sp_verifier_attach(NULL, NULL) && strcmp(sp_last_error(), "the pool is NULL") == 0);
    options.size = sizeof(options);
    options.notes = 100;
    options.quarantine = 4;
    CHECK(sp_verifier_attach(pool, &options) && sp_verifier_attach(pool, NULL));
    CHECK(strcmp(sp_last_error(), "") == 0);

    CHECK(sp_verifier_add(pool, NULL) == 0 && sp_verifier_add(NULL, &rule) == 0);
    rule.size--;
    CHECK(sp_verifier_add(pool, &rule) == 0 && strstr(sp_last_error(), "which no version of the library has") != NULL);
    rule.size++;
    rule.reserved = 7;
    CHECK(sp_verifier_add(pool, &rule) == 0 && strstr(sp_last_error(), "reserved field is 7, not 0") != NULL);
    rule.reserved = 0;
    rule.special = 3;
    CHECK(sp_verifier_add(pool, &rule) == 0 && strstr(sp_last_error(), "special is 3; it must be") != NULL);
    rule.special = 0;
    rule.tags = "";
    CHECK(sp_verifier_add(pool, &rule) == 0 && strstr(sp_last_error(), "1 to 16 printable characters") == sp_last_error());
    rule.tags = NULL;
    rule.extension = strange;
    CHECK(sp_verifier_add(pool, &rule) == 0 && strstr(sp_last_error(), "of another pool") != NULL);
    rule.extension = &rule;
    CHECK(sp_verifier_add(pool, &rule) == 0 && strstr(sp_last_error(), "no extension of a live adapter") != NULL);
    rule.extension = disk;
    rule.track = 0;
    rule.seed = rule.after = 3;
    CHECK(sp_verifier_add(pool, &rule) == 0 && strstr(sp_last_error(), "the rule does nothing") != NULL);
    sp_adapter_remove(disk, NULL, NULL);
    rule.track = 1;
    CHECK(sp_verifier_add(pool, &rule) == 0 && strstr(sp_last_error(), "unknown or removed") != NULL);
    sp_pool_destroy(other);
    sp_pool_destroy(pool);
}

static void samples(void)
{
    PVOID disk;
    sp_pool *pool = verified(&disk);
    sp_verifier_counts counts;
    int n;

    CHECK(!sp_verifier_tick(pool) && sp_verifier_sample(pool, 10, 2));
    for (n = 0; n < 100; n++)
        CHECK(sp_free(disk, get(disk, 64)) == SP_STATUS_SUCCESS);
    CHECK(sp_verifier_stats(pool, &counts) && counts.sampled == 0);
    CHECK(sp_verifier_tick(pool));
    CHECK(sp_free(disk, get(disk, 64)) == SP_STATUS_SUCCESS);
    CHECK(sp_verifier_stats(pool, &counts) && counts.sampled == 1 && counts.verified == 1);
    sp_pool_destroy(pool);
    CHECK(count == 0);
}

/* Over functions of the host's, and over a range that is not this process's: call stacks all the same. */
static uint32_t cpu(void *context) { return *(uint32_t *)context; }
static uint8_t irql(void *context) { return (uint8_t)*(uint32_t *)context; }

static void other_ranges(void)
{
    uint32_t zero = 0;
    sp_options options;
    sp_rule rule = rule_of_nothing();
    sp_verifier_counts counts;
    const sp_violation *told;
    sp_pool *pool;
    PVOID disk;
    char *block;
    void *memory;

    memset(&options, 0, sizeof(options));
    options.size = sizeof(options);
    options.range = (uint64_t)1 << 46;
    options.range_bytes = 1 << 20;
    options.cpu = cpu;
    options.irql = irql;
    options.context = &zero;
    options.metadata_bytes = sp_metadata_bytes(&options);
    CHECK(posix_memalign(&memory, 4096, options.metadata_bytes) == 0);
    memset(memory, 0, options.metadata_bytes);
    options.metadata = memory;
    pool = sp_pool_create_with(&options);
    CHECK(pool != NULL && sp_verifier_attach(pool, NULL));
    sp_on_violation(pool, hear, NULL);
    disk = sp_adapter_create(pool, "disk0", 64);
    rule.special = SP_SPECIAL_AFTER;
    CHECK(sp_verifier_add(pool, &rule) != 0);
    block = get(disk, 100);
    CHECK(sp_verifier_stats(pool, &counts) && counts.verified == 1 && counts.unguarded == 1);
    CHECK(sp_free(disk, block) == SP_STATUS_SUCCESS && sp_free(disk, block) == SP_STATUS_INVALID_PARAMETER);
    told = one(SP_DOUBLE_FREE);
    taken(&told->allocated, 0);
    taken(&told->freed, 1);
    sp_pool_destroy(pool);
    free(memory);
}

/* A fault's report, by write(2) alone. */
static void report(void *context, const sp_violation *violation)
{
    char line[1024];
    int length = snprintf(line, sizeof(line), "%u %x %d %u %u %p %p\n%s\n", violation->kind, violation->bug_check,
                          (int)violation->guarded, violation->allocated.count, violation->freed.count,
                          violation->address, violation->block, violation->text);
    CHECK(write(*(int *)context, line, (size_t)length) == length);
}

static int explained;
static void explain(void *context, const sp_violation *violation)
{
    CHECK(context == &explained && violation->kind == SP_ACCESS_BEYOND);
    explained++;
}

/* A child touches a guard page: what it reported, and that it ended by SIGSEGV all the same. */
static void faults(int freed)
{
    char said[2048], expected[256];
    char *block;
    ssize_t length;
    int status, ends[2];
    unsigned kind, bug_check, allocated_in, freed_in;
    int guarded;
    void *at, *of;
    PVOID disk;
    pid_t child;
    sp_pool *pool = verified(&disk);

    CHECK(sp_verify(pool, "special=after"));
    block = get(disk, 96);
    CHECK(pipe(ends) == 0);
    CHECK(!sp_explain_fault(pool, (uint64_t)(uintptr_t)&status, explain, &explained));
    CHECK(sp_explain_fault(pool, (uint64_t)(uintptr_t)block + 96, explain, &explained) && explained == 1);
    explained = 0;
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        sp_on_violation(pool, report, &ends[1]);
        if (!sp_explain_faults(pool) || !sp_explain_faults(pool)) _exit(3);
        if (freed && sp_free(disk, block) != SP_STATUS_SUCCESS) _exit(4);
        ((volatile char *)block)[freed ? 5 : 96] = 1;
        _exit(5);
    }
    close(ends[1]);
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    length = read(ends[0], said, sizeof(said) - 1);
    CHECK(length > 0);
    said[length] = 0;
    close(ends[0]);
    CHECK(sscanf(said, "%u %x %d %u %u %p %p", &kind, &bug_check, &guarded, &allocated_in, &freed_in, &at, &of) == 7);
    CHECK(kind == (freed ? SP_ACCESS_FREED : SP_ACCESS_BEYOND) && bug_check == (freed ? 0xCCu : 0xCDu) && guarded);
    CHECK(allocated_in > 2 && (freed_in > 2) == freed);
    CHECK(at == block + (freed ? 5 : 96) && of == block);
    snprintf(expected, sizeof(expected), "\n%s at %p, tag 'Test', 96 bytes, of adapter disk0; Windows stops with %s (0x",
             freed ? "access to a block after it was freed" : "access beside a block", at, freed ? "0xCC" : "0xCD");
    if (strstr(said, expected) == NULL) fprintf(stderr, "%s, in place of %s", said, expected);
    CHECK(strstr(said, expected) != NULL && said[length - 1] == '\n');
    sp_free(disk, block);
    sp_pool_destroy(pool);
    CHECK(count == 0);
}

/* Pools that end make room for others. */
static void eight_pools(void)
{
    sp_pool *pools[9];
    int n, round;
    for (round = 0; round < 3; round++) {
        for (n = 0; n < 9; n++)
            pools[n] = sp_pool_create(1 << 20);
        for (n = 0; n < 8; n++)
            CHECK(sp_explain_faults(pools[n]) && sp_explain_faults(pools[n]));
        CHECK(!sp_explain_faults(pools[8]) && strstr(sp_last_error(), "faults of eight pools") == sp_last_error());
        CHECK(!sp_explain_faults(NULL) && strcmp(sp_last_error(), "the pool is NULL") == 0);
        sp_pool_destroy(pools[round]);
        CHECK(sp_explain_faults(pools[8]));
        for (n = 0; n < 9; n++)
            if (n != round) sp_pool_destroy(pools[n]);
    }
}

int main(void)
{
    finds();
    guards_and_levels();
    refuses();
    bad_options();
    samples();
    other_ranges();
    faults(0);
    faults(1);
    eight_pools();
    puts("verifier: ok");
    return 0;
}
