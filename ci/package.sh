#!/usr/bin/env bash
# The package as it would be published: built from its own archive, and its README followed there. What the registry
# shows must not break: each link is absolute, and names a file that the package has, or the registry's own pages.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo package -p storport-pool --locked "$@"
target=$(cargo metadata --no-deps --format-version 1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
package=$(ls -d "$target"/package/storport-pool-*/ | tail -n 1)
python3 - "$package" <<'CHECK'
import pathlib, re, sys, tomllib
package = pathlib.Path(sys.argv[1])
readme = tomllib.load(open(package / "Cargo.toml", "rb"))["package"]["readme"]
links = re.findall(r"\]\(([^)]+)\)", (package / readme).read_text())
assert len(links) > 5, links
source = "https://docs.rs/crate/storport-pool/latest/source/"
known = ("https://docs.rs/storport-pool", "https://crates.io/crates/storport-pool", "https://img.shields.io/")
for link in links:
    if link.startswith(source):
        assert (package / link.removeprefix(source)).is_file(), f"the package has no {link}"
    else:
        assert link.startswith(known), f"{link} is neither absolute nor a page of the registry's"
print(f"{readme}: {len(links)} links are good")
CHECK
# Its README's examples, and those of the pages that it has.
(cd "$package" && CARGO_TARGET_DIR="$target/package-docs" cargo test --quiet --doc)
