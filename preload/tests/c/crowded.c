/* Threads keep a small range full, while a timer's handler does, too. Then everything is given back, and as much is there
   as at first. */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

enum { THREADS = 4, BLOCKS = 4096, ROUNDS = 60 };
static atomic_long wrong, refused;

static unsigned next(unsigned *seed) { return *seed = *seed * 1664525 + 1013904223, *seed >> 8; }

static void handler(int signal) {
    (void)signal;
    void *p = malloc(3000);
    if (p)
        memset(p, 0x22, 3000);
    free(p);
}

static void *crowd(void *number) {
    unsigned seed = (unsigned)(uintptr_t)number * 7919 + 1;
    unsigned char **blocks = calloc(BLOCKS, sizeof *blocks);
    if (!blocks)
        return NULL;
    for (int round = 0; round < ROUNDS; round++) {
        for (int n = 0; n < BLOCKS; n++)
            if (!blocks[n]) {
                size_t bytes = 16 + next(&seed) % (next(&seed) % 16 ? 2000 : 70000);
                blocks[n] = next(&seed) % 8 ? malloc(bytes) : memalign(512, bytes);
                if (blocks[n])
                    memset(blocks[n], n, 16);
                else
                    refused++;
            }
        for (int n = 0; n < BLOCKS; n++)
            if (blocks[n] && next(&seed) % 2) {
                unsigned char *p = realloc(blocks[n], 16 + next(&seed) % 5000);
                p = p ? p : blocks[n];
                if (p[0] != (unsigned char)n || p[15] != (unsigned char)n)
                    wrong++;
                free(p);
                blocks[n] = NULL;
            }
    }
    for (int n = 0; n < BLOCKS; n++)
        free(blocks[n]);
    free(blocks);
    return NULL;
}

/* How many blocks of this size there are. */
static long room(size_t bytes) {
    void **all = NULL, **block;
    long got = 0;
    while ((block = malloc(bytes))) {
        *block = all;
        all = block;
        got++;
    }
    while (all) {
        void **rest = *all;
        free(all);
        all = rest;
    }
    return got;
}

int main(void) {
    static const size_t sizes[] = {48, 1000, 4096, 30000, 200000};
    long before[5];
    for (int n = 0; n < 5; n++)
        before[n] = room(sizes[n]);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &often, NULL);
    pthread_t threads[THREADS];
    for (uintptr_t n = 0; n < THREADS; n++)
        pthread_create(&threads[n], NULL, crowd, (void *)n);
    for (int n = 0; n < THREADS; n++)
        pthread_join(threads[n], NULL);
    setitimer(ITIMER_REAL, &never, NULL);
    for (int n = 0; n < 5; n++) {
        long after = room(sizes[n]);
        if (after * 20 < before[n] * 19) {
            printf("of %zu bytes there were %ld, and are %ld\n", sizes[n], before[n], after);
            wrong++;
        }
    }
    printf("%s, %ld wrong\n", refused > 100 ? "often refused" : "seldom refused", (long)wrong);
    return wrong != 0;
}
