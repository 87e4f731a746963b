#define _GNU_SOURCE
/* A plugin that contains the static library, and its host: opened, used by threads, closed, and then preempted. */
#ifdef PLUGIN
#define SP_NO_KIT
#include "storport_pool.h"

int use(void);

int use(void)
{
    sp_pool *pool = sp_pool_create(1 << 20);
    void *disk = sp_adapter_create(pool, "disk", 8), *block;
    int n;
    for (n = 0; n < 10000; n++)
        if (sp_allocate(disk, 64, SP_TAG('P', 'l', 'u', 'g'), &block) != 0 || sp_free(disk, block) != 0) return 1;
    sp_pool_destroy(pool);
    return 0;
}
#else
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

enum { THREADS = 4 };
static const char *path;
static pthread_barrier_t used, closed;
static int wrong;

/* Ends its last section in the plugin, waits until that is closed, and is preempted over and over. */
static void *work(void *any)
{
    struct timespec start, now;
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    int (*use)(void) = NULL;

    if (plugin != NULL) *(void **)&use = dlsym(plugin, "use");
    if (use == NULL || use() != 0) {
        fprintf(stderr, "%s\n", plugin == NULL ? dlerror() : "use failed");
        wrong = 1;
    }
    pthread_barrier_wait(&used);
    if (plugin != NULL) dlclose(plugin);
    pthread_barrier_wait(&closed);
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        sched_yield();
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec - start.tv_sec < 1 && any != NULL);
    return NULL;
}

int main(int count, char **arguments)
{
    pthread_t threads[THREADS];
    static char any;
    cpu_set_t one;
    void *still;
    int n;

    if (count != 2) return 2;
    path = arguments[1];
    /* All on one CPU: each yield and each end of a time slice is a preemption. */
    sched_getaffinity(0, sizeof(one), &one);
    for (n = 0; !CPU_ISSET(n, &one); n++)
        ;
    CPU_ZERO(&one);
    CPU_SET(n, &one);
    sched_setaffinity(0, sizeof(one), &one);
    pthread_barrier_init(&used, NULL, THREADS);
    pthread_barrier_init(&closed, NULL, THREADS);
    for (n = 0; n < THREADS; n++)
        if (pthread_create(&threads[n], NULL, work, &any) != 0) return 3;
    for (n = 0; n < THREADS; n++)
        pthread_join(threads[n], NULL);
    still = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    if (wrong || still == NULL) {
        fprintf(stderr, "the plugin was unloaded\n");
        return 1;
    }
    puts("plugin: ok");
    return 0;
}
#endif
