/* Runs the miniport that is linked with it, and says what it did wrong. Exit status: 0, nothing; 1, something;
   2, it could not be run. `main suspicions`: reports allocations over a live pointer too; `main strict`: refuses tags
   that Windows 1903 and later refuse. The variable STORPORT_POOL_VERIFY has rules of the pool's verifier (sp_verify). */
#include "sph_host.h"

#include <stdlib.h>
#include <string.h>

int main(int count, char **arguments)
{
    sph_options options;
    sph_result found;
    int n;

    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* so that a crash loses nothing */
    memset(&options, 0, sizeof(options));
    options.report = stdout;
    options.verify = getenv("STORPORT_POOL_VERIFY");
    for (n = 1; n < count; n++) {
        if (strcmp(arguments[n], "suspicions") == 0) {
            options.suspicions = true;
        } else if (strcmp(arguments[n], "strict") == 0) {
            options.strict_tags = true;
        } else {
            fprintf(stderr, "'%s' is no argument; there are suspicions and strict\n", arguments[n]);
            return 2;
        }
    }
    if (sph_run(DriverEntry, &options, &found) != 0) return 2;
    return found.leaks + found.double_frees + found.wrong_owners + found.bad_frees + found.wrong_irqls +
                   found.overwritten + found.corrupted + found.other >
           0;
}
