#!/usr/bin/env bash
# How the house is built: imports run downwards between src's floors, and nowhere in a circle; only src/sync names
# atomics; no file is too long; dependencies, folders, checks and pages are where a reader looks for them.
set -euo pipefail
cd "$(dirname "$0")/.."
python3 ci/house.py .
