/* Storport's routines as symbols, for code that was compiled without storport_pool.h. In the static library each file
   of this folder is an object of its own: a program gets it only if it asks for one of these names, and a definition of
   the program's own comes before these. With the shared library, compile the file into the program. */
#define SP_NO_KIT
#include "storport_pool.h"

#include <stdarg.h>

#define WEAK __attribute__((weak))

uint32_t StorPortAllocatePool(void *extension, uint32_t bytes, uint32_t tag, void **block);
uint32_t StorPortFreePool(void *extension, void *block);
uint32_t StorPortExtendedFunction(uint32_t code, void *extension, ...);

WEAK uint32_t StorPortAllocatePool(void *extension, uint32_t bytes, uint32_t tag, void **block)
{
    return sp_allocate(extension, bytes, tag, block);
}

WEAK uint32_t StorPortFreePool(void *extension, void *block)
{
    return sp_free(extension, block);
}

WEAK uint32_t StorPortExtendedFunction(uint32_t code, void *extension, ...)
{
    uint32_t status = SP_STATUS_NOT_IMPLEMENTED;
    va_list arguments;

    va_start(arguments, extension);
    if (code == 0) {
        uint32_t bytes = va_arg(arguments, uint32_t);
        uint32_t tag = va_arg(arguments, uint32_t);
        status = sp_allocate(extension, bytes, tag, va_arg(arguments, void **));
    } else if (code == 1) {
        status = sp_free(extension, va_arg(arguments, void *));
    }
    va_end(arguments);
    return status;
}
