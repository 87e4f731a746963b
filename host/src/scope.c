#include "scope.h"

static _Thread_local const char *inside;

const char sph_the_host[] = "the host";

const char *sph_callback(void)
{
    return inside != NULL ? inside : sph_the_host;
}

struct scope sph_enter(const char *callback, KIRQL level)
{
    struct scope scope = {inside, sp_raise_irql(level)};
    inside = callback;
    return scope;
}

void sph_leave(struct scope scope)
{
    inside = scope.outer;
    sp_lower_irql(scope.before);
}
