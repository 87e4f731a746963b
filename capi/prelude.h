#include <stddef.h>
#include <stdint.h>
#if defined(__STDC_VERSION__) && __STDC_VERSION__ >= 199901L
#include <stdbool.h>
#endif

/* What sp_allocate and its kind answer: the numbers of STOR_STATUS_SUCCESS and its kind. */
#define SP_STATUS_SUCCESS ((uint32_t)0x00000000)
#define SP_STATUS_NOT_IMPLEMENTED ((uint32_t)0xC1000002u)
#define SP_STATUS_INSUFFICIENT_RESOURCES ((uint32_t)0xC1000003u)
#define SP_STATUS_INVALID_PARAMETER ((uint32_t)0xC1000006u)
#define SP_STATUS_INVALID_IRQL ((uint32_t)0xC1000008u)

/* A pool tag, written forwards: SP_TAG('A', 'h', 'c', 'i') shows as "Ahci". */
#define SP_TAG(a, b, c, d) \
    ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

/* What sp_adapter_remove and sp_adapter_release return for what is no extension of a live adapter. */
#define SP_NO_ADAPTER ((size_t)-1)

#ifdef __cplusplus
extern "C" {
#endif

/* StorPortExtendedFunction: sp_allocate or sp_free by its code, 0 with (uint32_t bytes, uint32_t tag, void **block), or
   1 with (void *block). Other codes get SP_STATUS_NOT_IMPLEMENTED. */
uint32_t sp_extended_function(uint32_t code, void *extension, ...);

#ifdef __cplusplus
}
#endif
