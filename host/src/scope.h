/* The miniport's callback that a thread is in. */
#ifndef SPH_SCOPE_H
#define SPH_SCOPE_H

#include "sph_types.h"

/* Enters a callback at its IRQL, and leaves it. Callbacks nest: a submission may complete at once. */
struct scope {
    const char *outer;
    KIRQL before;
};
struct scope sph_enter(const char *callback, KIRQL level);
void sph_leave(struct scope scope);

/* The name of the callback that this thread is in; in none, sph_the_host. */
const char *sph_callback(void);
extern const char sph_the_host[];

#endif
