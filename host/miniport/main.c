/* Runs the miniport that is linked with it, and says what it did wrong. `usage` has its arguments. */
#include "sph_host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "Runs the miniport that this program was linked with, from DriverEntry to removal, and says what it did wrong.\n"
    "\n"
    "  suspicions         reports allocations over a live pointer too\n"
    "  strict             refuses tags that Windows 1903 and later refuse\n"
    "  --fail-each        lives once for each allocation, which is refused then; says what is left\n"
    "    --tags=PATTERN   only allocations of these tags: * any characters or none, ? one\n"
    "    --most=N         at most N runs\n"
    "    --step=N         the first allocation and then each N-th\n"
    "    --seed=N         in an order by chance, the same for the same seed\n"
    "    --requests=N     of each submitter, in each of two passes; 64 if it is left out\n"
    "    --stop           the first finding is the last one\n"
    "  --help             prints this\n"
    "\n"
    "The variable STORPORT_POOL_VERIFY has rules of the pool's verifier, 'track' for example.\n"
    "Exit status: 0, nothing was found; 1, something; 2, the miniport did not start or not go on, whatever was found\n"
    "before, or an argument is bad.\n";

/* What follows "name=" in an argument; NULL: it is another one. */
static const char *value_of(const char *argument, const char *name)
{
    size_t length = strlen(name);
    return strncmp(argument, name, length) == 0 && argument[length] == '=' ? argument + length + 1 : NULL;
}

/* A number of at least 1; 0: it is none. */
static unsigned long long number(const char *text)
{
    char *end;
    unsigned long long value;
    errno = 0;
    value = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == 0 && errno == 0 ? value : 0;
}

static int bad(const char *argument, const char *why)
{
    fprintf(stderr, "%s: %s\n", argument, why);
    return 2;
}

int main(int count, char **arguments)
{
    sph_options options;
    sp_fail_options runs;
    sph_result found;
    bool each = false;
    const char *only_each = NULL;
    int failed, n;

    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* so that a crash loses nothing */
    memset(&options, 0, sizeof(options));
    memset(&runs, 0, sizeof(runs));
    runs.size = sizeof(runs);
    options.report = stdout;
    options.verify = getenv("STORPORT_POOL_VERIFY");
    for (n = 1; n < count; n++) {
        const char *argument = arguments[n], *value = NULL;
        static const char *const names[] = {"--most", "--step", "--seed", "--requests"};
        unsigned long long numbers = 0;
        int which = 0;
        if (strcmp(argument, "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        }
        if (strcmp(argument, "suspicions") == 0) {
            options.suspicions = true;
            continue;
        }
        if (strcmp(argument, "strict") == 0) {
            options.strict_tags = true;
            continue;
        }
        if (strcmp(argument, "--fail-each") == 0) {
            each = true;
            continue;
        }
        only_each = argument;
        if (strcmp(argument, "--stop") == 0) {
            runs.stop_at_first = 1;
        } else if ((value = value_of(argument, "--tags")) != NULL) {
            runs.tags = value;
        } else {
            while (which < 4 && (value = value_of(argument, names[which])) == NULL) which++;
            if (which == 4) return bad(argument, "no such argument; --help has them all");
            numbers = number(value);
            if (numbers == 0 || (which == 3 && numbers > 1000000)) return bad(argument, "no such number");
            if (which == 0) runs.most = numbers;
            if (which == 1) runs.step = numbers;
            if (which == 2) runs.seed = numbers;
            if (which == 3) options.requests = (unsigned)numbers;
        }
    }
    if (only_each != NULL && !each) return bad(only_each, "needs --fail-each");
    if (each) {
        failed = sph_fail_each(DriverEntry, &options, &runs);
        return failed < 0 ? 2 : failed;
    }
    failed = sph_run(DriverEntry, &options, &found);
    if (found.leaks > 0)
        puts("hint: for the line that allocates what leaks, build with -g and run with --fail-each --most=1 --stop");
    if (failed) return 2;
    return found.leaks + found.double_frees + found.wrong_owners + found.bad_frees + found.wrong_irqls +
                   found.overwritten + found.corrupted + found.other >
           0;
}
