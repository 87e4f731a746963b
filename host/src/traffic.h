/* Requests, and the threads that submit them. */
#ifndef SPH_TRAFFIC_H
#define SPH_TRAFFIC_H

#include "state.h"

/* Bytes that a request transfers. */
enum { BLOCK = 4096 };

/* Two threads submit so many requests each while the third one completes; then a bus reset finds requests
   outstanding; then each adapter is flushed, since it will be stopped. Not 0: it could not begin. */
int sph_traffic(unsigned requests);
/* One block is written, at HIGH_LEVEL, by this thread alone. */
void sph_write_in_dump(struct adapter *adapter);

#endif
