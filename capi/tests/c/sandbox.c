/* A sandbox that refuses membarrier, entered after the pool was made: the host is told once, and sees it in the sums. */
#define _GNU_SOURCE
#include "check.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int told;

static void hear(void *context, const sp_violation *violation)
{
    (void)context;
    CHECK(violation->kind == SP_FENCE_REFUSED && violation->bug_check == 0);
    CHECK(strstr(violation->text, "membarrier") != NULL && strstr(violation->text, "adapter") == NULL);
    told++;
}

static void refuse_membarrier(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, filter};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

int main(void)
{
    sp_pool *pool = sp_pool_create(16 << 20);
    PVOID disk = sp_adapter_create(pool, "disk", 8), tape = sp_adapter_create(pool, "tape", 8), block;
    sp_usage usage;

    sp_on_violation(pool, hear, NULL);
    CHECK(StorPortAllocatePool(disk, 100, TAG, &block) == STOR_STATUS_SUCCESS);
    CHECK(StorPortFreePool(disk, block) == STOR_STATUS_SUCCESS);
    CHECK(sp_pool_usage(pool, &usage) && !usage.fence_refused);
    refuse_membarrier();
    CHECK(sp_adapter_remove(disk, NULL, NULL) == 0);
    CHECK(sp_adapter_remove(tape, NULL, NULL) == 0);
    /* The twin needs no membarrier. */
    CHECK(sp_pool_usage(pool, &usage) && usage.fence_refused == usage.uses_rseq);
    CHECK(told == usage.uses_rseq && usage.violations == 0);
    disk = sp_adapter_create(pool, "disk", 8);
    CHECK(StorPortAllocatePool(disk, 100, TAG, &block) == STOR_STATUS_SUCCESS);
    CHECK(StorPortFreePool(disk, block) == STOR_STATUS_SUCCESS);
    sp_pool_destroy(pool);
    puts("sandbox: ok");
    return 0;
}
