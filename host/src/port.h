/* The port driver's routines are those of sph_types.h. The host's own, besides: */
#ifndef SPH_PORT_H
#define SPH_PORT_H

#include "state.h"

/* Takes one of an adapter's locks. A thread that holds it already would wait for ever: said, and the process ends. */
void sph_lock(struct adapter *adapter, pthread_mutex_t *lock);

#endif
