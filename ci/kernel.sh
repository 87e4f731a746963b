#!/usr/bin/env bash
# The pool in a kernel of its own (examples/kernel), under qemu: the contract, a million interruptions on two CPUs and
# on four, trims and removals meanwhile; both profiles link without any library. Two kernels that are wrong on purpose,
# without masking and without the fence, must be found out. About two minutes on two idle cores.
set -euo pipefail
cd "$(dirname "$0")/../examples/kernel"
if ! command -v qemu-system-x86_64 >/dev/null; then
    echo "qemu-system-x86_64 is missing: installing it by 'apt-get install qemu-system-x86'"
    apt-get install -y --no-install-recommends qemu-system-x86 >/dev/null || {
        apt-get update >/dev/null
        apt-get install -y --no-install-recommends qemu-system-x86 >/dev/null
    }
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# kernel <profile> [features]: builds it, and says where it is.
kernel() {
    local target=target${2:+/$2} folder=$1
    [ "$1" != dev ] || folder=debug
    cargo build --quiet --locked --profile "$1" ${2:+--features "$2"} --target-dir "$target"
    echo "$target/$folder/kernel"
}

# How qemu runs the CPUs. `counted`: one after the other, and one instruction is one tick. So each run of a kernel is the
# same, interrupts come at any instruction, and time that nobody uses is skipped. `parallel`: each on a thread of its
# own, so they truly run at once; interrupts come between qemu's blocks of instructions.
counted="-accel tcg -icount shift=0,sleep=off"
parallel="-accel tcg,thread=multi"

# run <way> <kernel> <cpus> <seconds> <options of the kernel>: leaves its output in $log. The status is 0 if it passed, 1
# if it found something wrong itself, 2 if it did neither: it hung, or fell over.
run() {
    local way=$1 binary=$2 cpus=$3 seconds=$4 status=0 start=$SECONDS verdict
    # shellcheck disable=SC2086
    timeout "$seconds" qemu-system-x86_64 $way -smp "$cpus" -m 64 -nodefaults -no-reboot -display none -serial stdio \
        -device isa-debug-exit,iobase=0xf4,iosize=1 -kernel "$binary" -append "cpus=$cpus $5" \
        >"$log" 2>&1 </dev/null || status=$?
    verdict=$(tail -n 1 "$log" | tr -d '\r')
    case "$status $verdict" in
    "33 verdict: passed") status=0 ;;
    "35 verdict: FAILED") status=1 ;;
    "124 "*) echo "no verdict within $seconds seconds" >>"$log"; status=2 ;;
    *) echo "no verdict; qemu ended with status $status" >>"$log"; status=2 ;;
    esac
    echo "   $binary, $cpus CPUs, $5: $((SECONDS - start)) s"
    return $status
}

for profile in dev release; do
    binary=$(kernel "$profile")
    if nm -u "$binary" | grep .; then
        echo "the kernel needs symbols from outside ($profile)" >&2
        exit 1
    fi
done

# good: run, and it must pass.
good() {
    run "$@" || { cat "$log" >&2; echo "the kernel failed: $*" >&2; exit 1; }
}
good "$counted" target/debug/kernel 2 120 "interruptions=5000 count=1 pace=20"
good "$parallel" target/release/kernel 2 120 "interruptions=100000 pace=10"
good "$counted" target/release/kernel 2 300 "interruptions=1000000 count=1"
cat "$log"
good "$counted" target/release/kernel 4 300 "interruptions=1000000 count=1"
sed -n '/^CPU 0/,$p' "$log"

# What is wrong must be found wrong, by the kernel's own checks.
for wrong in no-mask no-fence; do
    binary=$(kernel release "$wrong")
    status=0
    run "$counted" "$binary" 4 120 "interruptions=1000000 count=1" || status=$?
    if [ $status != 1 ]; then
        tail -n 20 "$log" >&2
        echo "the kernel with $wrong was not found out" >&2
        exit 1
    fi
    echo "   $wrong: $(grep -a '^wrong:' "$log" | tr -d '\r')"
done
echo "the kernel passed, and those that are wrong did not"
