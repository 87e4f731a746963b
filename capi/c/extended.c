/* The one routine that takes what its first argument says, which stable Rust cannot define. It is exported
   under its own name by src/extended.rs, which jumps here. */
#include "storport_pool.h"

#include <stdarg.h>

ULONG sp_extended_function(ULONG FunctionCode, PVOID HwDeviceExtension, ...);

ULONG sp_extended_function(ULONG FunctionCode, PVOID HwDeviceExtension, ...)
{
    ULONG status = STOR_STATUS_NOT_IMPLEMENTED;
    va_list arguments;

    va_start(arguments, HwDeviceExtension);
    if (FunctionCode == ExtFunctionAllocatePool) {
        ULONG bytes = va_arg(arguments, ULONG);
        ULONG tag = va_arg(arguments, ULONG);
        status = StorPortAllocatePool(HwDeviceExtension, bytes, tag, va_arg(arguments, PVOID *));
    } else if (FunctionCode == ExtFunctionFreePool) {
        status = StorPortFreePool(HwDeviceExtension, va_arg(arguments, PVOID));
    }
    va_end(arguments);
    return status;
}
