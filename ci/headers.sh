#!/usr/bin/env bash
# The C header beside mingw-w64's, in either order, in each language: it needs the cross compilers, and gets them.
set -euo pipefail
cd "$(dirname "$0")/.."
target=x86_64-w64-mingw32
if ! command -v $target-gcc >/dev/null || ! command -v $target-g++ >/dev/null; then
    apt-get install -y --no-install-recommends gcc-mingw-w64-x86-64 g++-mingw-w64-x86-64 >/dev/null
fi
body='
int main(void)
{
    ULONG tag = SP_TAG(1, 2, 3, 4);
    PVOID block;
    SIZE_T size = sizeof(sp_options);
    sp_violation_kind kind = SP_OTHER_VIOLATION;
    if (size == 0 || kind == 0) return 1;
    if (sp_allocate(0, 1, tag, &block) != 0) return (int)sp_free(0, block);
#ifndef NO_ROUTINES
    if (StorPortAllocatePool(0, 1, tag, &block) != 0) return (int)StorPortFreePool(0, block);
#endif
    return 0;
}'
ddk=/usr/share/mingw-w64/include/ddk

# One language beside each kit: says how many combinations compile, or ends with what does not.
try_language() {
    local compiler=$1 standard=$2 end work tried=0 kit name includes driver strict dialect order part
    work=$(mktemp -d)
    # shellcheck disable=SC2064
    trap "rm -rf '$work'" EXIT
    end=$([ "$compiler" = gcc ] && echo c || echo cpp)
    for kit in windows.h windef.h "windef.h winnt.h" "windef.h ntdef.h" ntdef.h ntddk.h wdm.h; do
        includes=""
        for name in $kit; do includes+="#include <$name>"$'\n'; done
        # What the kit itself is too loose for is asked of nobody.
        dialect=$standard
        strict="-pedantic-errors -Wall -Wextra -Werror"
        printf '%sint main(void) { return 0; }\n' "$includes" >"$work/kit.$end"
        # The driver kit's folder has a storport.h, from before the routines: then they are the kit's, which has none.
        driver=""
        [[ $kit != *d*dk.h && $kit != wdm.h ]] || driver="-DNO_ROUTINES -I $ddk"
        compile() { $target-$compiler -std=$dialect "$@" $driver -I capi/include -fsyntax-only; }
        compile $strict "$work/kit.$end" 2>/dev/null || strict=-pedantic-errors
        [ "$strict" != -pedantic-errors ] || compile $strict "$work/kit.$end" 2>/dev/null || strict=-w
        [ "$strict" != -w ] || compile $strict "$work/kit.$end" 2>/dev/null || dialect=${standard/#c/gnu}
        if ! compile $strict "$work/kit.$end" 2>/dev/null; then
            echo "$compiler $standard: $kit does not compile by itself, so it is not tried" >&2
            continue
        fi
        for order in "kit ours" "ours kit" "ours kit ours"; do
            : >"$work/both.$end"
            for part in $order; do
                if [ $part = kit ]; then printf '%s' "$includes"; else echo '#include "storport_pool.h"'; fi
            done >>"$work/both.$end"
            echo "$body" >>"$work/both.$end"
            compile $strict "$work/both.$end" || { echo "$compiler $standard: $kit: $order ($strict)" >&2; exit 1; }
            tried=$((tried + 1))
        done
    done
    echo "$tried"
}
export -f try_language
export target body ddk
tried=$(printf '%s\n' "gcc c89" "gcc c99" "gcc c11" "g++ c++98" "g++ c++17" |
    xargs -P "$(nproc)" -n 2 bash -euo pipefail -c 'try_language "$@"' try_language | awk '{ sum += $1 } END { print sum + 0 }')
echo "$tried combinations compile"
[ "$tried" -ge 80 ] || { echo "that is too few" >&2; exit 1; }
