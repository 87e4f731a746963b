/* A Storport host in a process: loads a miniport that is compiled into it, and drives it through its life.

   Its files. Each uses only files above it:

   file               | what it holds                               | may use
   -------------------|---------------------------------------------|--------------------------------------------
   sph_types.h        | what a miniport shares with the port driver | storport_pool.h
   sph_host.h         | a run, and its result                       | sph_types.h
   storport.h         | what a miniport's source includes           | sph_types.h
   ntddk.h            | the same, by its other name                 | storport.h
   src/scope          | the miniport's callback that a thread is in | sph_types.h
   src/state          | the port driver's state                     | sph_types.h
   src/findings       | what went wrong, told and counted           | sph_host.h, scope
   src/ledger         | who allocated what; storport.h's pool calls | scope, state, findings
   src/port           | the port driver's routines                  | state, findings
   src/device         | the thread of interrupts, DPCs and timers   | scope, state, port
   src/traffic        | requests, and the threads that submit them  | scope, state, findings, port, device
   src/life           | from DriverEntry to removal: once, or with  | sph_host.h, scope, state, findings, ledger,
                      | each allocation refused once                | traffic
   miniport/ramdisk.c | a sample miniport                           | storport.h
   miniport/main.c    | runs the miniport that it is linked with    | sph_host.h */
#ifndef SPH_HOST_H
#define SPH_HOST_H

#include <stdio.h>

#include "sph_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What was found, and what was done. */
typedef struct sph_result {
    unsigned leaks;         /* blocks left when their adapter was removed */
    unsigned double_frees;
    unsigned wrong_owners;  /* frees through another adapter's extension */
    unsigned bad_frees;     /* of anything else that is no live block */
    unsigned wrong_irqls;   /* pool calls above DISPATCH_LEVEL */
    unsigned overwritten;   /* suspected: allocations into a pointer that still held a live block */
    unsigned corrupted;     /* verified blocks written to outside of their bytes, or after their free */
    unsigned other;         /* other misuse */
    unsigned long requests; /* completed */
    unsigned long allocations;
} sph_result;

typedef struct sph_options {
    FILE *report;           /* where findings and the tag table go; NULL: nowhere */
    size_t pool_bytes;      /* 0: 64 MiB */
    unsigned requests;      /* of each submitter, in each of two runs; 0: 2000 */
    unsigned adapters;      /* 0: 2 */
    bool suspicions;        /* report allocations over a live pointer; callers may legally pass garbage */
    bool strict_tags;       /* refuse tags that Windows 1903 and later refuse */
    const char *verify;     /* rules of the pool's verifier, as sp_verify takes them; NULL or empty: none. A guarded block
                               that is touched where it must not be ends the process by SIGSEGV, after a line in the
                               report */
} sph_options;

/* Runs the miniport: DriverEntry; for each adapter FindAdapter, Initialize, PassiveInitialize and what controls it
   has; two threads that submit, a third for interrupts, DPCs and timers; a bus reset; a flush; UnitControl; stop,
   restart, and all again; removal; dump mode. Returns 0, or, with a line in the report, what failed. A miniport that
   completes nothing for ten seconds, or acquires a lock that it holds, ends the process with status 2: nothing can be
   taken from it. Meanwhile ExAllocatePool2 and its kind are served from the run's pool, and afterwards from none
   (sp_set_system_pool). One run at a time. PASSIVE. */
int sph_run(DRIVER_INITIALIZE *entry, const sph_options *options, sph_result *result);

/* How a run of sph_fail_each ends when the host, and not the pool, found misuse: a call above DISPATCH_LEVEL, a request
   completed twice. sph_run says what it is. (2: the miniport completed nothing for ten seconds, as in sph_run.) */
enum { SPH_MISUSE = 3 };

/* Runs the miniport's life as sph_run does, once to count its allocations and then once for each n, with the n-th
   allocation refused: sp_fail_each, of all adapters and of ExAllocatePool2 and its kind. Each run has a child process.
   The report goes to options->report, and names functions, files and lines as far as the program was built with -g.
   options->requests 0: 64. runs: which ones; in_process counts as 0, and limit_ms 0 as a minute. That a miniport does not
   start without memory is no finding; that it leaves something is one. Returns 0: nothing found; 1: findings, or
   some n not tried; -1: it could not be run, or the miniport did not start though nothing was refused: the report says
   why. One at a time, and no other thread of the process may call the pool. PASSIVE. */
int sph_fail_each(DRIVER_INITIALIZE *entry, const sph_options *options, const sp_fail_options *runs);

#ifdef __cplusplus
}
#endif

#endif
