/* Who allocated what: the pool's routines as storport.h of the include folder has them for a miniport, and what their
   misuse says about the blocks. */
#ifndef SPH_LEDGER_H
#define SPH_LEDGER_H

#include <stdbool.h>

#include "state.h"

/* suspicions: an allocation over a live pointer is a finding. */
void sph_ledger_open(bool suspicions);
void sph_ledger_close(void);
/* Of an adapter; NULL: of what ExAllocatePool2 and its kind gave. */
void sph_ledger_leaks(const struct adapter *adapter);
/* Looks at what the verifier watches. */
void sph_ledger_sweep(sp_pool *pool);
void sph_violation(void *context, const sp_violation *violation);

#endif
