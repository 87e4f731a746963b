/* The port driver's state. One lock, which is held for a few lines at a time. */
#ifndef SPH_STATE_H
#define SPH_STATE_H

#include <pthread.h>
#include <stdbool.h>

#include "sph_types.h"

enum { MAX_ADAPTERS = 8, DIRQL = 5 };

/* An adapter, from FindAdapter to removal. */
struct adapter {
    PVOID extension;
    char name[16];
    PORT_CONFIGURATION_INFORMATION config;
    HW_PASSIVE_INITIALIZE_ROUTINE *passive_initialize;
    bool found; /* FindAdapter said so: there is something to stop and to free */
    bool found_again; /* FindAdapter was called a second time, since it has no ScsiRestartAdapter */
    SCSI_SUPPORTED_CONTROL_TYPE_LIST controls, unit_controls;
    pthread_mutex_t start_io, interrupt, dpc; /* each told from a lock that the thread holds already */
    /* Under the port's lock. */
    HW_TIMER *timer;
    uint64_t timer_due; /* of sph_now */
    unsigned outstanding;
};

/* A request of the host's. */
struct request {
    SCSI_REQUEST_BLOCK srb; /* first: the miniport hands its address back */
    struct adapter *adapter;
    bool submitted; /* under the port's lock */
};

struct port {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    HW_INITIALIZATION_DATA miniport;
    struct adapter adapters[MAX_ADAPTERS];
    unsigned count;
    STOR_DPC *first, **last;
    bool held; /* DPCs wait */
    bool stopping;
    bool found_again; /* one of the adapters was */
    unsigned long completed;
};
extern struct port sph_port;

void sph_port_reset(void);
struct adapter *sph_find(PVOID extension);
/* Microseconds. */
uint64_t sph_now(void);

#endif
