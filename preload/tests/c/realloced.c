/* realloc where it is hard: of mappings of which a part was changed, to fewer bytes when all memory is in use, and by a
   program that closes standard error before it ends. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LARGE = 8 << 20, MORE = 32 << 20, MOST = 1 << 20 };

static long wrong;

static void fill(unsigned char *block, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 997)
        block[at] = (unsigned char)(at * 7);
}

static void check(const unsigned char *block, size_t bytes) {
    if (!block) {
        wrong++;
        return;
    }
    for (size_t at = 0; at < bytes; at += 997)
        wrong += block[at] != (unsigned char)(at * 7);
}

static void split(int how) {
    unsigned char *block = malloc(LARGE), *page;
    fill(block, LARGE);
    page = (unsigned char *)(((uintptr_t)block + LARGE / 2) & ~(uintptr_t)4095);
    switch (how) {
    case 0: (void)!mlock(page, 4096); break;
    case 1: madvise(page, 64 << 12, MADV_HUGEPAGE); break;
    case 2: madvise(page, 4096, MADV_DONTFORK); break;
    default: mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC); break;
    }
    block = realloc(block, MORE);
    check(block, LARGE);
    block = realloc(block, 5 << 20);
    check(block, 5 << 20);
    free(block);
}

static void shrink_when_all_is_used(void) {
    static void *all[MOST];
    unsigned char *block = malloc(200000), *mapped = malloc(4 << 20);
    size_t got = 0;
    fill(block, 200000);
    fill(mapped, 4 << 20);
    for (size_t bytes = 65536; bytes >= 16; bytes /= 2)
        while (got < MOST && (all[got] = malloc(bytes)))
            got++;
    errno = 7;
    block = realloc(block, 60000);
    check(block, 60000);
    block = realloc(block, 16);
    check(block, 16);
    mapped = realloc(mapped, 100);
    check(mapped, 100);
    wrong += errno != 7;
    while (got)
        free(all[--got]);
    free(block);
    free(mapped);
}

int main(void) {
    for (int round = 0; round < 40; round++)
        split(round % 4);
    shrink_when_all_is_used();
    printf("%ld wrong\n", wrong);
    fflush(stdout);
    close(2);
    return 0;
}
