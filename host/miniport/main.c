/* Runs the miniport that is linked with it, and says what it did wrong. Exit status: 0, nothing; 1, something;
   2, it could not be run. `main suspicions`: reports allocations over a live pointer too. */
#include "sph_host.h"

#include <string.h>

int main(int count, char **arguments)
{
    sph_options options;
    sph_result found;

    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* so that a crash loses nothing */
    memset(&options, 0, sizeof(options));
    options.report = stdout;
    options.suspicions = count > 1 && strcmp(arguments[1], "suspicions") == 0;
    if (sph_run(DriverEntry, &options, &found) != 0) return 2;
    return found.leaks + found.double_frees + found.wrong_owners + found.bad_frees + found.wrong_irqls +
                   found.overwritten + found.other >
           0;
}
