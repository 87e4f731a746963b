#include "state.h"

#include <string.h>
#include <time.h>

struct port sph_port = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

void sph_port_reset(void)
{
    memset(&sph_port.miniport, 0, sizeof(sph_port.miniport));
    sph_port.count = 0;
    sph_port.first = NULL;
    sph_port.last = &sph_port.first;
    sph_port.held = sph_port.stopping = sph_port.found_again = false;
    sph_port.completed = 0;
}

struct adapter *sph_find(PVOID extension)
{
    unsigned n;
    for (n = 0; n < sph_port.count; n++)
        if (sph_port.adapters[n].extension == extension) return &sph_port.adapters[n];
    return NULL;
}

uint64_t sph_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}
