#!/usr/bin/env bash
# The kernel in miniature: linked without any library, run, and free of undefined symbols.
set -euo pipefail
cd "$(dirname "$0")/../examples/kernel"
for profile in dev release; do
    cargo build --locked --profile "$profile"
    binary=target/$([ "$profile" = dev ] && echo debug || echo release)/kernel
    if nm -u "$binary" | grep .; then
        echo "the kernel needs symbols from outside" >&2
        exit 1
    fi
    "$binary" || { echo "the kernel's step $? failed ($profile)" >&2; exit 1; }
done
echo "the kernel ran"
