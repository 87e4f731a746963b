#!/usr/bin/env bash
# guest.sys of guest.c, by clang and lld: `build.sh [folder for the result]`. The same compiler makes the same bytes.
set -euo pipefail
cd "$(dirname "$0")"
out=${1:-.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What Windows exports, as import libraries.
for pair in storport.sys:StorPortInitialize,StorPortNotification,StorPortExtendedFunction \
    ntoskrnl.exe:ExAllocatePool2,ExFreePoolWithTag; do
    file=${pair%%:*} names=${pair#*:}
    printf 'LIBRARY %s\nEXPORTS\n%s\n' "$file" "${names//,/$'\n'}" >"$work/${file%.*}.def"
    llvm-dlltool -m i386:x86-64 -d "$work/${file%.*}.def" -l "$work/${file%.*}.lib"
done
clang --target=x86_64-pc-windows-msvc -std=c11 -O1 -ffreestanding -fno-stack-protector -fno-builtin -mno-sse \
    -Wall -Wextra -Werror -c guest.c -o "$work/guest.obj"
# /Brepro: a hash where the time would be.
lld-link /driver /subsystem:native /entry:DriverEntry /nodefaultlib /Brepro "/out:$out/guest.sys" \
    "/implib:$work/guest.lib" "$work/guest.obj" "$work/storport.lib" "$work/ntoskrnl.lib"
