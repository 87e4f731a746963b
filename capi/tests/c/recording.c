/* A pool's calls in a file: recorded, refused, and ended. */
#define _GNU_SOURCE
#include "check.h"

#include <unistd.h>

int main(void)
{
    char path[] = "/tmp/sp-recording-XXXXXX";
    int file = mkstemp(path), n;
    sp_pool *pool = sp_pool_create(1 << 20);
    PVOID disk = sp_adapter_create(pool, "disk", 8), other = sp_adapter_create(pool, "other", 8), block;
    sp_recording *recording;
    sp_recorded recorded = {0, 0};
    char begin[8];

    CHECK(file >= 0 && disk != NULL && other != NULL);
    CHECK(sp_record_start(NULL, NULL, NULL, path) == NULL);
    CHECK(sp_record_start(pool, NULL, NULL, path) == NULL && strstr(sp_last_error(), "no verifier") != NULL);
    CHECK(sp_verifier_attach(pool, NULL));
    CHECK(sp_record_start(pool, disk, "", path) == NULL && strstr(sp_last_error(), "1 to 16") != NULL);
    CHECK(sp_record_start(pool, &block, NULL, path) == NULL);
    CHECK(sp_record_start(pool, disk, NULL, "/nowhere/at/all") == NULL && strstr(sp_last_error(), "error 2") != NULL);
    CHECK(!sp_record_finish(NULL, NULL));

    recording = sp_record_start(pool, disk, "T*", path);
    CHECK(recording != NULL);
    CHECK(sp_record_start(pool, NULL, NULL, "/dev/null") == NULL);
    for (n = 0; n < 100; n++) {
        CHECK(sp_allocate(disk, 100, TAG, &block) == STOR_STATUS_SUCCESS);
        CHECK(sp_free(disk, block) == STOR_STATUS_SUCCESS);
        CHECK(sp_allocate(other, 100, TAG, &block) == STOR_STATUS_SUCCESS);
        CHECK(sp_free(other, block) == STOR_STATUS_SUCCESS);
    }
    CHECK(sp_record_finish(recording, &recorded));
    CHECK(recorded.events == 200 && recorded.dropped == 0);
    CHECK(pread(file, begin, sizeof(begin), 0) == sizeof(begin) && memcmp(begin, "SP", 2) == 0);

    /* Another one, of all; a file system that is full ends it, and says so. */
    recording = sp_record_start(pool, NULL, NULL, "/dev/full");
    if (recording != NULL) {
        CHECK(sp_allocate(disk, 100, TAG, &block) == STOR_STATUS_SUCCESS);
        CHECK(sp_free(disk, block) == STOR_STATUS_SUCCESS);
        CHECK(!sp_record_finish(recording, &recorded));
    }
    recording = sp_record_start(pool, NULL, NULL, path);
    CHECK(recording != NULL && sp_record_finish(recording, NULL));
    CHECK(unlink(path) == 0);
    sp_pool_destroy(pool);
    puts("recording: ok");
    return 0;
}
