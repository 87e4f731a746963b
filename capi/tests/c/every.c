/* The n-th allocation fails, for every n: from C. */
#include <signal.h>
#include <unistd.h>

#include "check.h"

static sp_pool *pool;
static void *disk;
static char report[65536];
static unsigned long long runs, found[64], ends[64];
static sp_fail_run last;

/* The last run with a finding is kept. */
static void hear(void *context, const sp_fail_run *run, const char *text)
{
    (void)context;
    if (run == NULL) {
        CHECK(strlen(text) < sizeof(report));
        strcpy(report, text);
        return;
    }
    CHECK(text == NULL && runs < 64);
    found[runs] = !run->clean;
    ends[runs++] = run->end;
    if (!run->clean) last = *run;
}

static PVOID take(ULONG bytes, ULONG tag)
{
    PVOID block = NULL;
    return StorPortAllocatePool(disk, bytes, tag, &block) == STOR_STATUS_SUCCESS ? block : NULL;
}

enum { GOOD, LEAKS, CRASHES, HANGS, FREES_TWICE, EXITS };

static void third_failed(int what, PVOID first, PVOID second)
{
    if (what == CRASHES) raise(SIGSEGV);
    while (what == HANGS) pause();
    if (what == EXITS) exit(7);
    if (what == FREES_TWICE) StorPortFreePool(disk, first);
    if (what != LEAKS) StorPortFreePool(disk, second);
}

static void forgets(void *context)
{
    int what = *(int *)context;
    PVOID first = take(100, SP_TAG('F', 'r', 's', 't')), second, third;
    if (first == NULL) return;
    second = take(200, SP_TAG('S', 'c', 'n', 'd'));
    if (second != NULL) {
        third = take(300, SP_TAG('T', 'h', 'r', 'd'));
        if (third == NULL) {
            third_failed(what, first, second);
        } else {
            StorPortFreePool(disk, third);
            StorPortFreePool(disk, second);
        }
    }
    StorPortFreePool(disk, first);
}

static sp_bool run(int what, const sp_fail_options *options)
{
    runs = 0;
    memset(&last, 0, sizeof(last));
    report[0] = 0;
    return sp_fail_each(pool, disk, options, forgets, &what, hear);
}

static void finds(int what, const sp_fail_options *options, sp_run_end end, int code)
{
    CHECK(!run(what, options));
    CHECK(runs == 4);
    CHECK(strcmp(sp_last_error(), "1 of 4 runs have findings") == 0);
    CHECK(!found[0] && !found[1] && !found[2] && found[3]);
    CHECK(last.n == 3 && last.end == end && last.code == code && !last.missed);
    CHECK(last.refused_tag == SP_TAG('T', 'h', 'r', 'd') && last.refused_bytes == 300);
    CHECK(strncmp(report, "error: ", 7) == 0 && strstr(report, "when allocation 3 fails") != NULL);
    CHECK(strstr(report, "3 allocations; 3 runs with one of them refused; 1 run with findings") != NULL);
}

static void in_all_names(void *context)
{
    PVOID block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 64, SP_TAG('E', 'x', 'e', 'c')), other;
    (void)context;
    other = take(64, SP_TAG('D', 'i', 's', 'k'));
    if (block != NULL) ExFreePool(block); /* and the other one is left */
    if (block != NULL && other != NULL) StorPortFreePool(disk, other);
}

int main(void)
{
    sp_options with = {.size = sizeof(with), .range_bytes = (size_t)16 << 20};
    sp_fail_options options = {.size = sizeof(options), .limit_ms = 60000}, bad;
    sp_usage usage;
    int what = GOOD;
    const char *commit = getenv("STORPORT_POOL_COMMIT");

    with.portable = commit != NULL && strcmp(commit, "portable") == 0;
    pool = sp_pool_create_with(&with);
    CHECK(pool != NULL);
    disk = sp_adapter_create(pool, "disk0", 64);
    CHECK(disk != NULL);

    CHECK(run(GOOD, NULL) && runs == 4 && *sp_last_error() == 0);
    CHECK(strcmp(report, "3 allocations; 3 runs with one of them refused; nothing found") == 0);
    finds(LEAKS, &options, SP_RUN_FINISHED, 0);
    CHECK(last.leaked_blocks == 1 && last.leaked_bytes == 200 && last.violations == 0);
    CHECK(strstr(report, "left: 1 block of 200 bytes, tag 'Scnd', allocated here\n") != NULL);
    CHECK(strstr(report, "forgets") != NULL);
    finds(CRASHES, &options, SP_RUN_SIGNAL, SIGSEGV);
    finds(EXITS, &options, SP_RUN_EXITED, 7);
    finds(FREES_TWICE, &options, SP_RUN_FINISHED, 0);
    CHECK(last.violations == 1 && last.first_violation == SP_DOUBLE_FREE && last.leaked_blocks == 0);
    options.limit_ms = 3000;
    finds(HANGS, &options, SP_RUN_HUNG, 0);
    options.limit_ms = 60000;
    /* Nothing of the children stays. */
    CHECK(sp_pool_usage(pool, &usage) && usage.allocs == 0 && usage.violations == 0);

    options.tags = "F*";
    CHECK(run(LEAKS, &options) && runs == 2);
    options.tags = NULL;
    options.step = 2;
    CHECK(!run(LEAKS, &options) && runs == 3);
    options.step = 0;
    options.most = 2;
    CHECK(run(LEAKS, &options) && runs == 3);
    options.most = 0;
    options.in_process = 1;
    finds(LEAKS, &options, SP_RUN_FINISHED, 0);
    CHECK(sp_pool_usage(pool, &usage) && usage.live == 1);
    options.in_process = 0;

    /* In all names, the system's too. */
    sp_set_system_pool(pool);
    runs = 0;
    CHECK(!sp_fail_each(pool, NULL, &options, in_all_names, NULL, hear));
    CHECK(runs == 3 && found[1] && !found[2] && last.refused_tag == SP_TAG('E', 'x', 'e', 'c'));

    bad = options;
    bad.size--;
    CHECK(!run(GOOD, &bad) && strstr(sp_last_error(), "size") != NULL && runs == 0);
    bad = options;
    bad.reserved = 1;
    CHECK(!run(GOOD, &bad) && strstr(sp_last_error(), "reserved") != NULL);
    bad = options;
    bad.tags = "far too long for it";
    CHECK(!run(GOOD, &bad) && strncmp(sp_last_error(), "1 to 16 printable characters ", 29) == 0);
    CHECK(!sp_fail_each(NULL, disk, NULL, forgets, &what, hear) && strcmp(sp_last_error(), "the pool is NULL") == 0);
    CHECK(!sp_fail_each(pool, disk, NULL, NULL, NULL, hear) && strcmp(sp_last_error(), "the callback is NULL") == 0);
    CHECK(!sp_fail_each(pool, &what, NULL, forgets, &what, hear) && *sp_last_error() != 0);
    CHECK(sp_fail_each(pool, disk, NULL, forgets, &what, NULL));

    sp_pool_destroy(pool);
    puts("every: ok");
    return 0;
}
