/* The one routine that takes what its first argument says, which stable Rust cannot define. It is exported as
   sp_extended_function by src/extended.rs, which jumps here. */
#define SP_NO_KIT
#include "storport_pool.h"

#include <stdarg.h>

uint32_t sp_extended_by_code(uint32_t code, void *extension, ...);

uint32_t sp_extended_by_code(uint32_t code, void *extension, ...)
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
