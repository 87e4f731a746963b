/* Under a small limit of address space: what is reserved is what is needed. */
#define _GNU_SOURCE
#include "check.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Bytes of address space that this process has. */
static size_t mapped(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%lu", &pages) == 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void within(size_t more, size_t adapters)
{
    struct rlimit limit;
    sp_options options;
    sp_pool *pool;
    size_t n;

    limit.rlim_cur = limit.rlim_max = mapped() + more;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    memset(&options, 0, sizeof(options));
    options.size = sizeof(options);
    options.range_bytes = 1 << 20;
    options.cpus = 1;
    options.adapters = 64;
    CHECK((pool = sp_pool_create_with(&options)) != NULL);
    for (n = 0; n < adapters; n++) {
        PVOID disk = sp_adapter_create(pool, "disk", 4096), block;
        CHECK(disk != NULL && ((char *)disk)[4095] == 0);
        memset(disk, 1, 4096);
        CHECK(StorPortAllocatePool(disk, 100, TAG, &block) == STOR_STATUS_SUCCESS);
        CHECK(StorPortFreePool(disk, block) == STOR_STATUS_SUCCESS);
    }
    /* And what is too much is refused, with nothing lost. */
    for (n = 0; n < 1000; n++)
        CHECK(sp_adapter_create(pool, "large", more) == NULL && strstr(sp_last_error(), "error 12") != NULL);
    CHECK(sp_adapter_create(pool, "small", 1) != NULL);
    sp_pool_destroy(pool);
}

int main(void)
{
    static const size_t limits[] = {(size_t)12 << 20, (size_t)64 << 20, (size_t)1 << 30};
    size_t n;
    for (n = 0; n < 3; n++) {
        pid_t child = fork();
        int status;
        CHECK(child >= 0);
        if (child == 0) {
            within(limits[n], 60);
            _exit(0);
        }
        CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    puts("little: ok");
    return 0;
}
