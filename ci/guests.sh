#!/usr/bin/env bash
# Guests: the Python module's tests, a Windows driver built anew and compared, and that driver in an emulated machine over
# the pool. And the code of the documents about them. It needs clang, lld and Python's venv, and gets them.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "$*" >&2; exit 1; }

missing=()
command -v clang >/dev/null || missing+=(clang)
command -v lld-link >/dev/null || missing+=(lld)
command -v llvm-dlltool >/dev/null || missing+=(llvm)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
    apt-get update >/dev/null
    apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null || fail "no ${missing[*]} to be had"
fi

cargo build --release -p storport-pool-capi --lib
target=$(realpath "${CARGO_TARGET_DIR:-target}")
export STORPORT_POOL_LIBRARY=$target/release/libstorport_pool.so
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

venv=$target/guests
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
# A copy, since pip builds where the sources are.
cp -r python "$work/module"
"$venv/bin/pip" install -q --disable-pip-version-check -r examples/emulator/requirements.txt ||
    fail "unicorn could not be installed"
"$venv/bin/pip" install -q --disable-pip-version-check --force-reinstall --no-deps "$work/module" ||
    fail "python/ could not be installed"
python=$venv/bin/python

echo "the module's tests"
(cd "$work" && "$python" -B -W error -m unittest discover -s "$OLDPWD/python/tests")

echo "the driver, built anew"
driver=examples/emulator/driver
$driver/build.sh "$work"
if cmp -s $driver/guest.sys "$work/guest.sys"; then
    echo "the same bytes"
elif [ "$(clang --version | head -1)" = "$(cat $driver/COMPILER)" ]; then
    fail "$driver/guest.sys is not what $driver/build.sh makes of guest.c by $(cat $driver/COMPILER)"
else
    echo "other bytes, by another compiler ($(clang --version | head -1)): it runs too"
    "$python" -B examples/emulator/run.py "$work/guest.sys" >/dev/null
fi

# What stands in a document between ```$2 and ```, the part that has $3.
code() {
    "$python" - "$1" "$2" "$3" <<'CODE'
import re, sys
file, language, has = sys.argv[1:]
parts = re.findall(rf"^```{language}\n(.*?)^```$", open(file).read(), re.S | re.M)
found = [part for part in parts if has in part]
sys.exit(f"{file}: {len(found)} parts in {language} with {has!r}") if len(found) != 1 else print(found[0], end="")
CODE
}
same() { diff -u "$1" "$2" >&2 || fail "$3 is not what is printed ($1 above: what stands there)"; }

echo "the example"
"$python" -B -W error -m unittest discover -s examples/emulator
"$python" -B examples/emulator/run.py >"$work/said"
cat "$work/said"
# The last part is another machine's: rates.
sed -E '/^One snapshot/,$d' "$work/said" | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' >"$work/example"
code examples/emulator/README.md text "guest.sys at" >"$work/readme"
same "$work/readme" "$work/example" "the text of examples/emulator/README.md"
grep -q "^One snapshot, resumed 1000 times" "$work/said" || fail "the snapshot was not resumed"
grep -Eq "^ +[0-9]+ 0xcd at guest.sys!WritesPastTheEnd" "$work/said" || fail "the fuzzer's loop found nothing"

echo "the code of the documents"
code python/README.md python Pool >"$work/module.py"
code python/README.md text SUCCESS >"$work/module.wanted"
"$python" "$work/module.py" >"$work/module.said"
same "$work/module.wanted" "$work/module.said" "the text of python/README.md"
code docs/PORTING.md python stor_port_extended_function >"$work/porting.py"
code docs/PORTING.md python Image >"$work/saving.py"
code docs/PORTING.md c mmap >"$work/porting.c"
cc -std=gnu11 -Wall -Wextra -Werror -Icapi/include "$work/porting.c" "$target/release/libstorport_pool.a" \
    -lpthread -lm -ldl -o "$work/porting"
"$python" "$work/saving.py" || fail "the code of docs/PORTING.md that saves a pool fails"
for said in "$("$python" "$work/porting.py")" "$("$work/porting")"; do
    [[ $said == "double free at 0xffffa00000000000, tag 'VioS', 208 bytes"* ]] ||
        fail "the code of docs/PORTING.md says: $said"
done
echo "guests: all passed"
