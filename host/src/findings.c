#include "findings.h"

#include <stdarg.h>
#include <string.h>

#include "scope.h"

struct findings sph_findings = {.lock = PTHREAD_MUTEX_INITIALIZER};

static FILE *report;

void sph_say(const char *format, ...)
{
    va_list arguments;
    if (report == NULL) return;
    va_start(arguments, format);
    vfprintf(report, format, arguments);
    va_end(arguments);
    fputc('\n', report);
}

void sph_misuse(const char *format, ...)
{
    va_list arguments;
    pthread_mutex_lock(&sph_findings.lock);
    sph_findings.result->other++;
    if (report != NULL) {
        fprintf(report, "misuse in %s: ", sph_callback());
        va_start(arguments, format);
        vfprintf(report, format, arguments);
        va_end(arguments);
        fputc('\n', report);
    }
    pthread_mutex_unlock(&sph_findings.lock);
}

/* A mistake in one place is found at every I/O: the first ones of each kind and place are told in full, the others
   counted. Places are told apart by their names' addresses, which are constants. */
struct site {
    const char *what, *allocated_in, *found_in;
    unsigned long times;
};
enum { SITES = 64, TOLD = 3 };
static struct site sites[SITES];

void sph_found(const char *what, const char *allocated_in, const char *format, ...)
{
    const char *found_in = sph_callback();
    struct site *site = sites;
    va_list arguments;
    while (site < sites + SITES - 1 && site->what != NULL &&
           (site->what != what || site->allocated_in != allocated_in || site->found_in != found_in))
        site++;
    site->what = what;
    site->allocated_in = allocated_in;
    site->found_in = found_in;
    if (site->times++ >= TOLD || report == NULL) return;
    fprintf(report, "%s: ", what);
    va_start(arguments, format);
    vfprintf(report, format, arguments);
    va_end(arguments);
    fputc('\n', report);
}

void sph_findings_open(FILE *into, sph_result *result)
{
    report = into;
    sph_findings.result = result;
    memset(sites, 0, sizeof(sites));
}

void sph_findings_close(void)
{
    const struct site *site;
    for (site = sites; site < sites + SITES && site->what != NULL; site++)
        if (site->times > TOLD)
            sph_say("%s: %lu more%s%s%s%s", site->what, site->times - TOLD,
                    site->found_in != sph_the_host ? ", found in " : "",
                    site->found_in != sph_the_host ? site->found_in : "",
                    site->allocated_in != NULL ? ", of blocks allocated in " : "",
                    site->allocated_in != NULL ? site->allocated_in : "");
}
