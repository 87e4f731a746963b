/* What each function answers in its corners. Run twice, with glibc's malloc and with the pool's: the same lines. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* volatile: what the compiler knows about malloc must not answer in its place. */
static volatile size_t none = 0, one = 1, huge = SIZE_MAX, half = (size_t)PTRDIFF_MAX + 1, most = PTRDIFF_MAX;

static void say(const char *what, const void *p) {
    int code = errno;
    printf("%s: %s, errno %d\n", what, p ? "memory" : "NULL", code);
    errno = 77;
}

#define SAY(call) (errno = 77, p = (call), say(#call, p), p)
#define AND_FREE(call) (SAY(call), free(p))

static void sizes(void) {
    void *p, *q;
    AND_FREE(malloc(none));
    p = malloc(none), q = malloc(none);
    printf("two of no bytes: %s\n", p != q && p && q ? "apart" : "the same");
    free(p), free(q);
    AND_FREE(malloc(one));
    AND_FREE(malloc(huge));
    AND_FREE(malloc(half));
    AND_FREE(malloc(most));
    AND_FREE(malloc(most - 4096));
    AND_FREE(malloc((size_t)1 << 46));
    AND_FREE(calloc(none, one));
    AND_FREE(calloc(one, none));
    AND_FREE(calloc(huge, 2 * one));
    AND_FREE(calloc((size_t)1 << 32, (size_t)1 << 32));
    AND_FREE(calloc(half, one));
    AND_FREE(calloc(one, huge));
    errno = 77;
    free(NULL);
    printf("free(NULL): errno %d, malloc_usable_size(NULL) %zu\n", errno, malloc_usable_size(NULL));
}

static void reallocs(void) {
    void *p, *kept = NULL;
    AND_FREE(realloc(NULL, none));
    AND_FREE(realloc(NULL, 100 * one));
    AND_FREE(realloc(NULL, huge));
    SAY(realloc(malloc(10), none));
    SAY(reallocarray(malloc(10), none, 10 * one));
    SAY(reallocarray(malloc(10), 10 * one, none));
    AND_FREE(reallocarray(NULL, 10 * one, 10 * one));
    AND_FREE(reallocarray(NULL, huge, 2 * one));
    kept = malloc(100);
    memset(kept, 0x5A, 100);
    SAY(realloc(kept, huge));
    SAY(realloc(kept, half));
    SAY(realloc(kept, most - 4096));
    SAY(reallocarray(kept, (size_t)1 << 32, (size_t)1 << 32));
    int good = 0;
    for (int n = 0; n < 100; n++)
        good += ((unsigned char *)kept)[n] == 0x5A;
    printf("after refused reallocs: %d of 100 bytes\n", good);
    free(kept);
    void *large = malloc(64 << 20);
    memset(large, 0x33, 4096);
    SAY(realloc(large, most - 4096));
    printf("large, after: %d\n", ((unsigned char *)large)[4095]);
    free(large);
}

static void alignments(void) {
    void *p;
    static const size_t asked[] = {0, 1, 2, 3, 8, 16, 17, 32, 48, 64, 100, 256, 1000, 4096, 8192, 65536, 1 << 20, 64 << 20};
    for (size_t n = 0; n < sizeof asked / sizeof *asked; n++) {
        errno = 77;
        p = memalign(asked[n], 100);
        size_t power = 1;
        while (power < asked[n])
            power *= 2;
        printf("memalign(%zu): %s, errno %d\n", asked[n], p && (uintptr_t)p % power == 0 ? "aligned" : "not", errno);
        if (p)
            memset(p, 1, 100);
        free(p);
        errno = 77;
        p = aligned_alloc(asked[n], 100);
        printf("aligned_alloc(%zu): %s, errno %d\n", asked[n], p ? "memory" : "NULL", errno);
        free(p);
        errno = 77;
        p = &p;
        int code = posix_memalign(&p, asked[n], 100);
        printf("posix_memalign(%zu): %d, errno %d, %s\n", asked[n], code, errno, p == &p ? "untouched" : "written");
        if (code == 0) {
            printf("  %s\n", (uintptr_t)p % asked[n] == 0 ? "aligned" : "not");
            free(p);
        }
    }
    AND_FREE(memalign(half, one));
    AND_FREE(memalign(half + 1, one));
    AND_FREE(memalign(huge, one));
    AND_FREE(memalign((size_t)1 << 62, one));
    AND_FREE(memalign(64, huge));
    AND_FREE(memalign(64, most));
    AND_FREE(memalign(64, none));
    AND_FREE(memalign(4096, most - 8192));
    AND_FREE(aligned_alloc(half, one));
    AND_FREE(aligned_alloc(64, huge));
    AND_FREE(aligned_alloc(64, none));
    p = &p;
    printf("posix_memalign of too much: %d, %s\n", posix_memalign(&p, 64, huge), p == &p ? "untouched" : "written");
    printf("posix_memalign of nothing: %d, %s\n", posix_memalign(&p, 64, none), p && p != &p ? "written" : "not");
    free(p);
    AND_FREE(valloc(none));
    AND_FREE(valloc(one));
    printf("valloc: %s\n", (uintptr_t)p % 4096 == 0 ? "aligned" : "not");
    AND_FREE(valloc(huge));
    AND_FREE(pvalloc(none));
    AND_FREE(pvalloc(one));
    printf("pvalloc: %s\n", (uintptr_t)p % 4096 == 0 ? "aligned" : "not");
    p = pvalloc(4097);
    printf("pvalloc(4097) has two pages: %d\n", malloc_usable_size(p) >= 8192);
    memset(p, 1, 8192);
    free(p);
    AND_FREE(pvalloc(huge));
    AND_FREE(pvalloc(most));
}

/* Every size around each power of two, and every one up to a page. */
static void usable(void) {
    long wrong = 0, moved = 0;
    for (size_t n = 0; n < 600 << 10; n += n < 5000 ? 1 : n / 7) {
        unsigned char *p = malloc(n);
        size_t all = malloc_usable_size(p);
        if (!p || all < n || (uintptr_t)p % 16)
            wrong++;
        for (size_t i = 0; i < all; i++)
            p[i] = (unsigned char)(i * 31 + n);
        /* What may be used is kept. */
        unsigned char *q = realloc(p, all * 2 + 1);
        moved += q != NULL;
        for (size_t i = 0; i < all; i++)
            wrong += q[i] != (unsigned char)(i * 31 + n);
        size_t less = n / 3 + 1;
        q = realloc(q, less);
        for (size_t i = 0; i < less && i < all; i++)
            wrong += q[i] != (unsigned char)(i * 31 + n);
        free(q);
        /* Zeros, where somebody else's bytes were. */
        p = calloc(n, 1);
        for (size_t i = 0; i < n; i++)
            wrong += p[i] != 0;
        free(p);
    }
    printf("usable: %ld wrong, some moved: %d\n", wrong, moved > 0);
}

/* Through all sizes and back: past what is a block, and past what is a mapping. */
static void growth(void) {
    size_t bytes = 1, most_bytes = 200 << 20;
    unsigned char *p = malloc(bytes);
    p[0] = 0x77;
    long wrong = 0;
    while (bytes < most_bytes) {
        size_t next = bytes * 3 + 1;
        p = realloc(p, next);
        wrong += p[0] != 0x77 || p[bytes - 1] != 0x77;
        for (size_t i = bytes - 1; i < next; i += 509)
            p[i] = 0x77;
        p[next - 1] = 0x77;
        bytes = next;
    }
    while (bytes > 3) {
        bytes /= 3;
        p = realloc(p, bytes);
        wrong += p[0] != 0x77;
        p[bytes - 1] = 0x77;
    }
    free(p);
    printf("growth: %ld wrong\n", wrong);
}

static void errors_stay(void) {
    static const size_t sizes[] = {1, 100, 5000, 100000, 3 << 20, 90 << 20};
    for (size_t n = 0; n < 6; n++) {
        errno = 77;
        void *p = malloc(sizes[n]);
        p = realloc(p, sizes[n] + 100);
        free(p);
        p = memalign(256, sizes[n]);
        free(p);
        p = calloc(1, sizes[n]);
        free(p);
        printf("errno after good calls of %zu: %d\n", sizes[n], errno);
    }
    void *p = malloc(8 << 20);
    memset(p, 1, 8 << 20);
    free(p);
    void *many[1000];
    for (int n = 0; n < 1000; n++)
        memset(many[n] = malloc(10000), 1, 10000);
    for (int n = 0; n < 1000; n++)
        free(many[n]);
    errno = 77;
    int trimmed = malloc_trim(0);
    printf("malloc_trim: %d, errno %d\n", trimmed, errno);
}

int main(void) {
    sizes();
    reallocs();
    alignments();
    usable();
    growth();
    errors_stay();
    return 0;
}
