/* The IRQL's names as symbols; see storport.c. */
#define SP_NO_KIT
#include "storport_pool.h"

#define WEAK __attribute__((weak))

uint8_t KeGetCurrentIrql(void);
void KeRaiseIrql(uint8_t to, uint8_t *before);
void KeLowerIrql(uint8_t to);

WEAK uint8_t KeGetCurrentIrql(void)
{
    return sp_current_irql();
}

WEAK void KeRaiseIrql(uint8_t to, uint8_t *before)
{
    *before = sp_raise_irql(to);
}

WEAK void KeLowerIrql(uint8_t to)
{
    sp_lower_irql(to);
}
