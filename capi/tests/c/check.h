/* What the C tests share. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storport_pool.h"

#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            fprintf(stderr, "%s:%d: not true: %s (%s)\n", __FILE__, __LINE__, #condition,      \
                    sp_last_error());                                                          \
            exit(1);                                                                           \
        }                                                                                      \
    } while (0)

#define TAG SP_TAG('T', 'e', 's', 't')

#endif
