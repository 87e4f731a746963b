/* What the host's own files share. */
#ifndef SPH_INTERNAL_H
#define SPH_INTERNAL_H

#include <pthread.h>

#include "sph_host.h"

enum { MAX_ADAPTERS = 8, DIRQL = 5 };

/* The miniport's callback that this thread is in. */
extern _Thread_local const char *sph_callback;

/* Enters a callback at its IRQL, and leaves it. Callbacks nest: a submission may complete at once. */
struct scope {
    const char *outer;
    KIRQL before;
};
struct scope sph_enter(const char *callback, KIRQL level);
void sph_leave(struct scope scope);

/* An adapter, from FindAdapter to removal. */
struct adapter {
    PVOID extension;
    char name[16];
    PORT_CONFIGURATION_INFORMATION config;
    HW_PASSIVE_INITIALIZE_ROUTINE *passive_initialize;
    bool found; /* FindAdapter said so: there is something to stop and to free */
    SCSI_SUPPORTED_CONTROL_TYPE_LIST controls, unit_controls;
    pthread_mutex_t start_io, interrupt, dpc; /* each told from a lock that the thread holds already */
    /* Under the port's lock. */
    HW_TIMER *timer;
    uint64_t timer_due;
    unsigned outstanding;
};

/* A request of the host's. */
struct request {
    SCSI_REQUEST_BLOCK srb; /* first: the miniport hands its address back */
    struct adapter *adapter;
    bool submitted; /* under the port's lock */
};

/* port.c: the port driver's state. One lock, which is held for a few lines at a time. */
struct port {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    HW_INITIALIZATION_DATA miniport;
    struct adapter adapters[MAX_ADAPTERS];
    unsigned count;
    STOR_DPC *first, **last;
    bool held; /* DPCs wait */
    bool stopping;
    unsigned long completed;
};
extern struct port sph_port;

void sph_port_reset(void);
/* Takes one of an adapter's locks. A thread that holds it already would wait for ever: said, and the process ends. */
void sph_lock(struct adapter *adapter, pthread_mutex_t *lock);
struct adapter *sph_find(PVOID extension);
/* The third thread: interrupts, DPCs and timers. */
void *sph_device(void *unused);

/* ledger.c: who allocated what, and what went wrong. */
void sph_ledger_open(const sph_options *options, sph_result *result);
void sph_ledger_close(void);
/* Of an adapter; NULL: of what ExAllocatePool2 and its kind gave. */
void sph_ledger_leaks(const struct adapter *adapter);
void sph_violation(void *context, const sp_violation *violation);
void sph_say(const char *format, ...);
/* Misuse of the port driver's routines: said, and counted. */
void sph_misuse(const char *format, ...);

#endif
