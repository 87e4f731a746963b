/* A timer's handler calls malloc and free while the code below it is inside them: what no other malloc allows. */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

static volatile long came, wrong;
static void *volatile kept[16];

static void handler(int signal) {
    (void)signal;
    long n = came++;
    void *p = malloc(40 + n % 4000);
    if (!p)
        wrong++;
    else
        memset(p, 0x11, 40);
    free(kept[n % 16]);
    kept[n % 16] = p;
    if (n % 32 == 0) {
        void *large = malloc(2 << 20);
        large = realloc(large, 3 << 20);
        free(large);
    }
}

int main(void) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval often = {{0, 200}, {0, 200}};
    setitimer(ITIMER_REAL, &often, NULL);
    unsigned char *blocks[256] = {0};
    for (unsigned n = 0; came < 2000 && n < 400000000; n++) {
        unsigned at = n * 2654435761u >> 24;
        if (blocks[at] && *blocks[at] != (unsigned char)at)
            wrong++;
        free(blocks[at]);
        blocks[at] = malloc(1 + n % 5000);
        if (!blocks[at])
            wrong++;
        else
            *blocks[at] = (unsigned char)at;
    }
    struct itimerval never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &never, NULL);
    printf("%s, %ld wrong\n", came >= 2000 ? "often" : "seldom", wrong);
    return wrong != 0;
}
