/* A program whose executable has a malloc of its own, but not all of the family. */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char room[64 << 20];
static size_t used;
static long wrong;

void *malloc(size_t bytes) {
    size_t all = (bytes + 31) & ~(size_t)15;
    size_t at = __atomic_fetch_add(&used, all, __ATOMIC_RELAXED);
    if (at + all > sizeof room)
        return NULL;
    *(size_t *)(room + at) = bytes;
    return room + at + 16;
}

void free(void *p) {
    if (p && ((char *)p < room || (char *)p >= room + sizeof room))
        wrong++;
}

void *calloc(size_t count, size_t bytes) { return malloc(count * bytes); }

void *realloc(void *p, size_t bytes) {
    void *new = malloc(bytes);
    if (p && new) {
        free(p);
        size_t old = ((size_t *)p)[-2];
        memcpy(new, p, old < bytes ? old : bytes);
    }
    return new;
}

int main(void) {
    for (int n = 0; n < 1000; n++) {
        char *p = strdup("a text"), *line = NULL;
        p = reallocarray(p, 100, n + 1);
        if (strcmp(p, "a text"))
            wrong++;
        if (asprintf(&line, "%s %d", p, n) < 7)
            wrong++;
        free(line);
        free(p);
    }
    printf("%ld wrong\n", wrong);
    return wrong != 0;
}
