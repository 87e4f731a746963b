/* Forks, and raw clones, while other threads make and end pools and adapters and change callbacks: the children go on
   with all of it. */
#define _GNU_SOURCE
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 400, MAKERS = 2 };

static int stop;

static void hear(void *context, const sp_violation *violation)
{
    (void)context;
    (void)violation;
}

static void work(sp_pool *pool)
{
    sp_pool *mine = sp_pool_create(1 << 20);
    sp_snapshot *snapshot;
    int n;
    for (n = 0; n < 12; n++)
        CHECK(sp_adapter_create(mine, "x", 64) != NULL);
    CHECK(sp_adapter_create(mine, "x", (size_t)-1) == NULL && strlen(sp_last_error()) > 0);
    sp_on_violation(pool, hear, NULL);
    sp_set_system_pool(pool);
    CHECK((snapshot = sp_snapshot_take(mine)) != NULL);
    sp_snapshot_free(snapshot);
    sp_pool_destroy(mine);
}

static void *make(void *pool)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        work(pool);
    return NULL;
}

int main(void)
{
    sp_pool *pool = sp_pool_create(1 << 20);
    pthread_t makers[MAKERS];
    int n, status;

    for (n = 0; n < MAKERS; n++)
        CHECK(pthread_create(&makers[n], NULL, make, pool) == 0);
    for (n = 0; n < CHILDREN; n++) {
        /* A raw clone leaves the C library's own locks as they were, malloc's among them: its child makes an adapter,
           which takes none. */
        int raw = n % 4 == 0;
        pid_t child = raw ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
        CHECK(child >= 0);
        if (child == 0) {
            PVOID disk, block;
            alarm(20);
            if (!raw) work(pool);
            disk = sp_adapter_create(pool, "child", 64);
            if (disk == NULL || StorPortAllocatePool(disk, 64, TAG, &block) != STOR_STATUS_SUCCESS) _exit(2);
            _exit(StorPortFreePool(disk, block) == STOR_STATUS_SUCCESS ? 0 : 3);
        }
        CHECK(waitpid(child, &status, 0) == child);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fprintf(stderr, "child %d: status %#x\n", n, status);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (n = 0; n < MAKERS; n++)
        pthread_join(makers[n], NULL);
    sp_pool_destroy(pool);
    puts("fork: ok");
    return 0;
}
