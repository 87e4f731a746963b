/* The shared library, opened, used by a thread that was there before, closed, and opened again. */
#include "check.h"

#include <dlfcn.h>
#include <pthread.h>

static void *handle;

static void *use(void *gate)
{
    sp_pool *(*create)(size_t);
    PVOID (*adapter)(sp_pool *, const char *, size_t);
    ULONG (*allocate)(PVOID, ULONG, ULONG, PVOID *);
    ULONG (*extended)(ULONG, PVOID, ...);
    void (*destroy)(sp_pool *);
    PVOID disk, block;
    sp_pool *pool;
    size_t n;

    if (gate != NULL) pthread_mutex_lock(gate);
    *(void **)&create = dlsym(handle, "sp_pool_create");
    *(void **)&adapter = dlsym(handle, "sp_adapter_create");
    *(void **)&allocate = dlsym(handle, "sp_allocate");
    *(void **)&extended = dlsym(handle, "sp_extended_function");
    *(void **)&destroy = dlsym(handle, "sp_pool_destroy");
    if (!create || !adapter || !allocate || !extended || !destroy) exit(2);
    pool = create(1 << 20);
    disk = adapter(pool, "disk", 0);
    for (n = 0; n < 10000; n++)
        if (allocate(disk, 64, TAG, &block) != STOR_STATUS_SUCCESS ||
            extended(ExtFunctionFreePool, disk, block) != STOR_STATUS_SUCCESS)
            exit(3);
    destroy(pool);
    if (gate != NULL) pthread_mutex_unlock(gate);
    return NULL;
}

int main(int count, char **arguments)
{
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_t early;
    int n;

    if (count != 2) return 4;
    pthread_mutex_lock(&gate);
    if (pthread_create(&early, NULL, use, &gate) != 0) return 5;
    for (n = 0; n < 3; n++) {
        handle = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
        if (handle == NULL) {
            fprintf(stderr, "%s\n", dlerror());
            return 6;
        }
        use(NULL);
        if (n == 1) {
            pthread_mutex_unlock(&gate);
            pthread_join(early, NULL);
        }
        dlclose(handle);
    }
    puts("dl: ok");
    return 0;
}
