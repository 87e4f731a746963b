/* Threads that hand blocks to one another, while the process forks, vforks, spawns, and its threads end. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
enum { SLOTS = 512, THREADS = 4 };
static _Atomic(unsigned char *) slots[SLOTS];
static atomic_int stopping;
static atomic_long wrong, done;

static unsigned next(unsigned *seed) { return *seed = *seed * 1664525 + 1013904223, *seed >> 8; }

/* The first 12 bytes say how long a block is, and what its bytes are; its last byte is one of them. */
static unsigned char *make(unsigned *seed) {
    unsigned kind = next(seed) % 100;
    size_t bytes = 16 + next(seed) % (kind < 90 ? 600 : kind < 98 ? 20000 : 3000000);
    unsigned char *p = kind % 7 ? malloc(bytes) : kind % 2 ? calloc(1, bytes) : memalign(64 << kind % 4, bytes);
    if (!p) {
        wrong++;
        return p;
    }
    memcpy(p, &bytes, 8);
    unsigned char is = (unsigned char)next(seed);
    p[8] = p[bytes - 1] = is;
    p[9] = is;
    return p;
}

static void check_and_free(unsigned char *p, unsigned *seed) {
    if (!p)
        return;
    size_t bytes;
    memcpy(&bytes, p, 8);
    unsigned char is = p[9];
    if (p[bytes - 1] != is)
        wrong++;
    if (next(seed) % 8 == 0) {
        p = realloc(p, bytes * 2);
        if (p[bytes - 1] != is || p[9] != is)
            wrong++;
    }
    p[9] = (unsigned char)~is;
    free(p);
    done++;
}

static void *hand_on(void *number) {
    unsigned seed = (unsigned)(uintptr_t)number * 7919 + 1;
    while (!stopping) {
        unsigned char *mine = make(&seed);
        check_and_free(atomic_exchange(&slots[next(&seed) % SLOTS], mine), &seed);
    }
    return NULL;
}

static void *brief(void *ignored) {
    (void)ignored;
    unsigned seed = (unsigned)(uintptr_t)pthread_self();
    for (int n = 0; n < 20; n++)
        check_and_free(make(&seed), &seed);
    return make(&seed);
}

/* What a child does with what it got; it has no other thread. */
static void child_works(void) {
    unsigned seed = (unsigned)getpid();
    long before = wrong;
    for (int n = 0; n < 3000; n++)
        check_and_free(make(&seed), &seed);
    for (int n = 0; n < SLOTS; n++)
        check_and_free(atomic_exchange(&slots[n], NULL), &seed);
    _exit(wrong == before ? 0 : 1);
}

static void expect(pid_t pid, const char *what) {
    int status = -1;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
        printf("%s: status %d\n", what, status);
        wrong++;
    }
}

/* Its other name, which no header has. */
pid_t __vfork(void);

int main(int count, char **arguments) {
    int rounds = count > 1 ? atoi(arguments[1]) : 30;
    pthread_t threads[THREADS];
    for (uintptr_t n = 0; n < THREADS; n++)
        pthread_create(&threads[n], NULL, hand_on, (void *)n);
    for (int round = 0; round < rounds; round++) {
        pid_t pid = fork();
        if (pid == 0)
            child_works();
        expect(pid, "fork");
        pid = round % 2 ? vfork() : __vfork();
        if (pid == 0) {
            /* What vfork forbids, and programs do. */
            free(malloc(100));
            execl("/bin/true", "true", (char *)NULL);
            _exit(1);
        }
        expect(pid, "vfork");
        char *words[] = {"true", NULL};
        if (posix_spawnp(&pid, "true", NULL, NULL, words, environ) != 0)
            pid = -1;
        expect(pid, "posix_spawn");
        pthread_t short_lived;
        void *block = NULL;
        pthread_create(&short_lived, NULL, brief, NULL);
        pthread_join(short_lived, &block);
        free(block);
        /* Errors of the loader ask for memory, and give it back later. */
        if (dlopen("/nonexistent.so", RTLD_NOW) || !dlerror() || dlsym(RTLD_DEFAULT, "no_such_name"))
            wrong++;
    }
    stopping = 1;
    for (int n = 0; n < THREADS; n++)
        pthread_join(threads[n], NULL);
    unsigned seed = 1;
    for (int n = 0; n < SLOTS; n++)
        check_and_free(slots[n], &seed);
    printf("%s, %ld wrong\n", done > 1000 ? "much done" : "little done", (long)wrong);
    return wrong != 0;
}
