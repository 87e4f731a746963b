/* The tagged pool's names as symbols; see storport.c. */
#define SP_NO_KIT
#include "storport_pool.h"

#define WEAK __attribute__((weak))

void *ExAllocatePool2(uint64_t flags, size_t bytes, uint32_t tag);
void *ExAllocatePoolWithTag(uint32_t type, size_t bytes, uint32_t tag);
void *ExAllocatePoolZero(uint32_t type, size_t bytes, uint32_t tag);
void ExFreePool(void *block);
void ExFreePoolWithTag(void *block, uint32_t tag);

WEAK void *ExAllocatePool2(uint64_t flags, size_t bytes, uint32_t tag)
{
    return sp_ex_allocate_pool2(flags, bytes, tag);
}

WEAK void *ExAllocatePoolWithTag(uint32_t type, size_t bytes, uint32_t tag)
{
    return sp_ex_allocate_pool_with_tag(type, bytes, tag);
}

WEAK void *ExAllocatePoolZero(uint32_t type, size_t bytes, uint32_t tag)
{
    return sp_ex_allocate_pool_zero(type, bytes, tag);
}

WEAK void ExFreePool(void *block)
{
    sp_ex_free_pool(block);
}

WEAK void ExFreePoolWithTag(void *block, uint32_t tag)
{
    sp_ex_free_pool_with_tag(block, tag);
}
