/* One bad call, by its name; then good ones. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char not_from_malloc[64];

int main(int count, char **arguments) {
    const char *what = count > 1 ? arguments[1] : "";
    char *volatile p = malloc(40), *volatile large = malloc(64 << 20);
    errno = 77;
    if (!strcmp(what, "double"))
        free(p), free(p);
    else if (!strcmp(what, "double-large"))
        free(large), free(large);
    else if (!strcmp(what, "interior"))
        free(p + 16);
    else if (!strcmp(what, "interior-large"))
        free(large + 4096);
    else if (!strcmp(what, "unaligned"))
        free(p + 1);
    else if (!strcmp(what, "foreign"))
        free(not_from_malloc);
    else if (!strcmp(what, "non-canonical"))
        free((void *)0xDEAD000000000010);
    else if (!strcmp(what, "wild"))
        free((char *)((uintptr_t)p & ~(uintptr_t)0xFFFF) + (1 << 30));
    else if (!strcmp(what, "realloc"))
        free(p), printf("%s\n", realloc(p, 100) ? "memory" : "NULL");
    else if (!strcmp(what, "realloc-large"))
        free(large), printf("%s\n", realloc(large, 100) ? "memory" : "NULL");
    else if (!strcmp(what, "usable"))
        free(p), printf("%zu\n", malloc_usable_size(p));
    else if (!strcmp(what, "overrun"))
        p[41] = 'X', free(p);
    else if (!strcmp(what, "late"))
        free(p), p[8] = 'X';
    else if (!strcmp(what, "beyond"))
        p[48] = 'X';
    else if (!strcmp(what, "freed"))
        free(p), p[8] = 'X';
    if (strncmp(what, "realloc", 7))
        printf("errno %d\n", errno);
    char *q = malloc(40);
    memset(q, 1, 40);
    free(q);
    puts("goes on");
    return 0;
}
