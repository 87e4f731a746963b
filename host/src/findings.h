/* What went wrong, told in the report and counted. */
#ifndef SPH_FINDINGS_H
#define SPH_FINDINGS_H

#include <pthread.h>
#include <stdbool.h>

#include "sph_host.h"

enum { WHY = 200 };
struct findings {
    pthread_mutex_t lock; /* the ledger's too: it finds what it finds in the middle of its work */
    sph_result *result;   /* under the lock */
    char why[WHY];        /* the first reason why the miniport did not start; empty: none */
};
extern struct findings sph_findings;

void sph_findings_open(FILE *report, sph_result *result);
/* Tells how many findings were counted alone. */
void sph_findings_close(void);

/* A line of the report's. */
void sph_say(const char *format, ...);
/* The same, of a miniport that does not start: the first such line is kept in `why`. */
void sph_say_why(const char *format, ...);
/* Misuse of the port driver's routines: said, and counted. */
void sph_misuse(const char *format, ...);
/* In a fault's handler, behind which the process ends: what was touched, and where it was allocated and freed. */
void sph_say_last(const sp_violation *violation);
/* Holding the lock: what was found in this thread's callback, of a block that was allocated in that one, or NULL. Whether it
   was told in full. */
bool sph_found(const char *what, const char *allocated_in, const char *format, ...);
/* Holding the lock, behind what was told: the call stacks of a violation, if it has any. */
void sph_stacks(const sp_violation *violation);

#endif
