/* For a miniport's source that includes the driver kit's header first: storport.h has all that there is. */
#ifndef SPH_NTDDK_H
#define SPH_NTDDK_H

#include "storport.h"

#endif
