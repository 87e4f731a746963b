#include "findings.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

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

void sph_say_why(const char *format, ...)
{
    char line[WHY];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (sph_findings.why[0] == 0) memcpy(sph_findings.why, line, sizeof(line));
    sph_say("%s", line);
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

bool sph_found(const char *what, const char *allocated_in, const char *format, ...)
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
    if (site->times++ >= TOLD || report == NULL) return false;
    fprintf(report, "%s: ", what);
    va_start(arguments, format);
    vfprintf(report, format, arguments);
    va_end(arguments);
    fputc('\n', report);
    return true;
}

/* "    allocated: ramdisk+0x12f3 ramdisk+0x2211": the innermost first, as addr2line takes them. */
static void write_stack(char *line, size_t room, const char *what, const sp_call_stack *stack)
{
    size_t used = (size_t)snprintf(line, room, "    %s:", what);
    uint32_t n;
    if (stack->missing != NULL) {
        snprintf(line + used, room - used, " %s", stack->missing);
        return;
    }
    for (n = 0; n < stack->count && used < room; n++) {
        void *at = (void *)(uintptr_t)stack->frames[n];
        const char *file, *slash;
        Dl_info info;
        int more;
        if (dladdr(at, &info) != 0 && info.dli_fname != NULL) {
            slash = strrchr(info.dli_fname, '/');
            file = slash != NULL ? slash + 1 : info.dli_fname;
            more = snprintf(line + used, room - used, " %s+0x%tx", file, (char *)at - (char *)info.dli_fbase);
        } else {
            more = snprintf(line + used, room - used, " %p", at);
        }
        used += (size_t)more;
    }
}

enum { LINE = 1024 };

void sph_stacks(const sp_violation *violation)
{
    char line[LINE];
    if (violation->allocated.kind != SP_STACK_NOT_TRACKED) {
        write_stack(line, sizeof(line), "allocated", &violation->allocated);
        sph_say("%s", line);
    }
    if (violation->freed.kind != SP_STACK_NOT_TRACKED) {
        write_stack(line, sizeof(line), "freed", &violation->freed);
        sph_say("%s", line);
    }
}

/* Past the report's buffer, which is empty between lines, and whose lock the thread may hold. */
static void write_line(char *line, size_t room)
{
    size_t length = strnlen(line, room - 1);
    line[length] = '\n';
    if (write(fileno(report), line, length + 1) < 0) return;
}

void sph_say_last(const sp_violation *violation)
{
    char line[LINE];
    if (report == NULL) return;
    snprintf(line, sizeof(line), "in %s: %s", sph_callback(), violation->text);
    write_line(line, sizeof(line));
    write_stack(line, sizeof(line), "allocated", &violation->allocated);
    write_line(line, sizeof(line));
    if (violation->kind != SP_ACCESS_FREED) return;
    write_stack(line, sizeof(line), "freed", &violation->freed);
    write_line(line, sizeof(line));
}

void sph_findings_open(FILE *into, sph_result *result)
{
    report = into;
    sph_findings.result = result;
    sph_findings.why[0] = 0;
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
