/* Memory runs out, by the pool's range or by the process's limit; nothing aborts, and what is given back is there
   again. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node {
    struct node *next;
};

static long take(struct node **all, size_t bytes) {
    long got = 0;
    struct node *node;
    errno = 0;
    while ((node = malloc(bytes))) {
        memset(node, 0xEE, 64);
        node->next = *all;
        *all = node;
        got++;
    }
    if (errno != ENOMEM)
        printf("errno %d\n", errno);
    return got;
}

static void give(struct node *all) {
    while (all) {
        struct node *next = all->next;
        free(all);
        all = next;
    }
}

int main(void) {
    long before = 0, worst = 0;
    for (int round = 0; round < 5; round++) {
        struct node *all = NULL;
        long got = take(&all, 1000);
        errno = 0;
        char *p = (char *)all, *kept = realloc(p, 3000);
        if (kept)
            puts("a larger block was there");
        if (calloc(1, 4000) || errno != ENOMEM || reallocarray(NULL, 100, 40) || memalign(256, 4000))
            puts("more was there");
        give(all);
        if (round == 0)
            before = got;
        if (got < before && before - got > worst)
            worst = before - got;
    }
    printf("%s\n", before < 1000 ? "too few" : "many");
    printf("%s\n", worst * 50 > before ? "fewer later" : "as many later");
    struct node *all = NULL;
    printf("%s\n", take(&all, 200) > before ? "more of less" : "not more of less");
    give(all);
    return 0;
}
