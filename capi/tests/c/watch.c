/* A pool's pictures in a file: made, published, refused, and what a forked child may not do. */
#define _GNU_SOURCE
#include "check.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char bytes[1 << 20];

static size_t read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t length;
    CHECK(file != NULL);
    length = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    return length;
}

/* Whether the text is somewhere in the file's second slot, where the first picture goes. */
static int has(const char *path, const char *text)
{
    size_t length = read_file(path), first = 4096 + (256 << 10);
    return length > first && memmem(bytes + first, length - first, text, strlen(text)) != NULL;
}

static uint32_t word(size_t at)
{
    uint32_t word;
    memcpy(&word, bytes + at, 4);
    return word;
}

int main(void)
{
    char folder[] = "/tmp/sp-watch-XXXXXX", path[64], other[128];
    sp_pool *pool = sp_pool_create(1 << 20);
    PVOID disk = sp_adapter_create(pool, "disk-of-c", 8), block;
    sp_watch *watch;
    struct stat of;
    FILE *file;
    int status;
    pid_t child;

    CHECK(mkdtemp(folder) != NULL);
    sprintf(path, "%s/a.watch", folder);
    CHECK(StorPortAllocatePool(disk, 100, SP_TAG('C', 'W', 't', 'c'), &block) == STOR_STATUS_SUCCESS);

    /* NULL, and what is there already. */
    CHECK(!sp_watch_publish(NULL, pool) && strcmp(sp_last_error(), "the watch is NULL") == 0);
    sp_watch_close(NULL);
    CHECK((file = fopen(path, "w")) != NULL);
    fputs("a letter", file);
    fclose(file);
    CHECK(sp_watch_create(path) == NULL && strstr(sp_last_error(), "left as it is") != NULL);
    CHECK(read_file(path) == 8 && remove(path) == 0);
    CHECK(sp_watch_create("/nonexistent/folder/a.watch") == NULL && strstr(sp_last_error(), "no such") != NULL);
    CHECK(sp_watch_create("") == NULL && sp_last_error()[0] != 0);

    watch = sp_watch_create(path);
    CHECK(watch != NULL && sp_last_error()[0] == 0);
    CHECK(stat(path, &of) == 0 && (of.st_mode & 0777) == 0600);
    CHECK(sp_watch_create(path) == NULL && strstr(sp_last_error(), "publishes there already") != NULL);
    CHECK(!sp_watch_publish(watch, NULL) && strcmp(sp_last_error(), "the pool is NULL") == 0);
    CHECK(!has(path, "CWtc"));
    CHECK(sp_watch_publish(watch, pool) && sp_last_error()[0] == 0);
    CHECK(has(path, "CWtc") && has(path, "disk-of-c"));
    CHECK(memcmp(bytes, "SP-WATCH", 8) == 0 && word(8) == 1 && word(16) == (uint32_t)getpid());

    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (sp_watch_publish(watch, pool) || strstr(sp_last_error(), "forked") == NULL) _exit(1);
        sp_watch_close(watch);
        _exit(access(path, F_OK) == 0 ? 0 : 2);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(sp_watch_publish(watch, pool));
    sp_pool_destroy(pool);
    sp_watch_close(watch);
    CHECK(access(path, F_OK) != 0);

    /* Where others look for it. */
    CHECK(setenv("XDG_RUNTIME_DIR", folder, 1) == 0);
    watch = sp_watch_create(NULL);
    CHECK(watch != NULL);
    sprintf(other, "%s/storport-pool/%ld.watch", folder, (long)getpid());
    CHECK(access(other, F_OK) == 0);
    CHECK(sp_watch_create(NULL) == NULL && sp_last_error()[0] != 0);
    sp_watch_close(watch);
    CHECK(access(other, F_OK) != 0);
    sprintf(other, "%s/storport-pool", folder);
    CHECK(rmdir(other) == 0 && rmdir(folder) == 0);
    puts("watch: ok");
    return 0;
}
