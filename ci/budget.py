#!/usr/bin/env python3
"""Counts the machine code of both routines: `budget.py <executable> <C library> <golden file> [--update]`.

Each line of the golden file: which path, instructions, locked instructions, calls, loops, and calls that do not
return.
* `fast`: from the entry to the return by the way on which no condition jumps: it is laid out for that.
* `longest`: over all that it may call or jump to, restarts of aborted sections included, and with them ways that
  no input takes (tests/bound.rs counts those that are taken). An indirect call, or one in tail position, is the host's
  hook.
Fails when a figure has grown. Smaller ones are for `--update`.
"""
import re
import subprocess
import sys

ENTRIES = ["native", "masked", "portable"]
NAMES = ["free", "allocate"]
PREFIXES = ("lock", "rep", "repz", "repnz", "bnd", "notrack", "cs", "ds", "addr32", "data16")


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Instruction:
    def __init__(self, address, text):
        self.address = address
        words = text.split("#")[0].split()
        while words[0] in PREFIXES:
            words = words[1:] + [words[0]] if words[0] == "lock" else words[1:]
        self.mnemonic = words[0]
        operands = self.operands = " ".join(words[1:])
        self.locked = "lock" in words or self.mnemonic == "xchg" and "[" in operands
        self.returns = self.mnemonic == "ret"
        self.stops = self.mnemonic in ("ud2", "hlt", "int3")
        self.jumps = self.mnemonic.startswith("j")
        self.always = self.mnemonic == "jmp"
        self.calls = self.mnemonic == "call"
        target = re.match(r"([0-9a-f]+)\b", operands) if self.jumps or self.calls else None
        self.target = int(target.group(1), 16) if target else None
        # Where it goes must be known, but for the host's hook, which is called by its address in a record.
        hook = self.calls and re.fullmatch(r"QWORD PTR \[r\w+(\+0x[0-9a-f]+)?\]|r\w+", operands)
        self.unknown = (self.jumps or self.calls) and self.target is None and not hook

    def leaves_by_the_hook(self, before):
        """Behind the end of a function's frame, a jump to a register is a call of the host's hook whose return is ours. (A
        table's jump stands inside the frame.)"""
        if self.unknown and before.mnemonic == "pop" and re.fullmatch(r"r\w+", self.operands):
            self.unknown, self.calls, self.returns = False, True, True


class Program:
    def __init__(self, path):
        self.code, self.next, self.starts, self.names = {}, {}, set(), {}
        before = None
        for line in run("objdump", "-d", "--no-show-raw-insn", "-M", "intel", path).splitlines():
            if header := re.match(r"([0-9a-f]+) <(.*)>:", line):
                before, start = None, int(header.group(1), 16)
                self.starts.add(start)
                self.names[header.group(2)] = start
            elif found := re.match(r"\s*([0-9a-f]+):\s+(\S.*)", line):
                here = Instruction(int(found.group(1), 16), found.group(2))
                self.code[here.address] = here
                if before is not None:
                    self.next[before] = here.address
                    here.leaves_by_the_hook(self.code[before])
                before = here.address
        self.aborts = dict(self.descriptors(path))

    def descriptors(self, path):
        """The last instruction of each restartable section, and where an abort goes on: the words of
        `__rseq_cs` are relocated (start and abort) or plain (length)."""
        section = re.search(r" __rseq_cs +\S+ +([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+)", run("readelf", "-SW", path))
        address, offset, size = (int(group, 16) for group in section.groups())
        words = {}
        for line in run("readelf", "-rW", path).splitlines():
            if found := re.match(r"([0-9a-f]+) +\S+ +R_X86_64_RELATIV\w* +([0-9a-f]+)", line):
                words[int(found.group(1), 16)] = int(found.group(2), 16)
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(size)
        previous = {after: before for before, after in self.next.items()}
        for at in range(0, size, 32):
            start, abort = words[address + at + 8], words[address + at + 24]
            end = start + int.from_bytes(data[at + 16 : at + 24], "little")
            yield previous[end], abort

    def fast(self, entry):
        """The way on which no condition jumps."""
        address, seen, locked = entry, set(), 0
        while True:
            here = self.code[address]
            if here.calls or address in seen:
                sys.exit(f"{address:x}: a call or a loop on the fast path")
            seen.add(address)
            locked += here.locked
            if here.returns:
                return len(seen), locked, 0, 0, 0
            address = here.target if here.always else self.next[address]
            if here.always and address in self.starts:
                sys.exit(f"{here.address:x}: the fast path leaves the function")

    def successors(self, here):
        """Where control may go next, other functions included."""
        if here.unknown:
            sys.exit(f"{here.address:x}: nobody knows where this goes")
        if here.returns or here.stops:
            return []
        ways = [here.target] if here.jumps and here.target is not None else []
        if not here.always and here.address in self.next:
            ways.append(self.next[here.address])
        if here.address in self.aborts:
            ways.append(self.aborts[here.address])
        return ways

    def longest(self, entry, known):
        """The longest way from here to a return: instructions, locked ones, calls, each its own maximum
        (`None`: there is none); and the loops and calls without return that are met."""
        if entry in known:
            return known[entry]
        known[entry] = (None, set(), set())
        best, loops, panics, on_way = {}, set(), set(), set()
        stack = [(entry, None)]
        while stack:
            address, ways = stack.pop()
            here = self.code[address]
            if address in best:
                continue
            if ways is None:
                on_way.add(address)
                ways = self.successors(here)
                stack.append((address, ways))
                loops.update(way for way in ways if way in on_way)
                stack.extend((way, None) for way in ways if way not in on_way and way not in best)
                continue
            on_way.discard(address)
            if here.stops:
                panics.add(address)
            inside = (0, 0, 0)
            if here.calls and here.target is not None:
                inside, met_loops, met_panics = self.longest(here.target, known)
                if inside is None:
                    panics.add(address)
                    best[address] = None
                    continue
                loops |= met_loops
                panics |= met_panics
            behind = [(0, 0, 0)] if here.returns else [best[way] for way in ways if best.get(way)]
            own = (1, here.locked, here.calls)
            best[address] = tuple(max(of) + a + b for of, a, b in zip(zip(*behind), own, inside)) or None
        known[entry] = (best[entry], loops, panics)
        return known[entry]

    def routine(self, platform, name):
        """The function that this caller calls."""
        here = self.code[self.names[f"{platform}_{name}"]]
        while here.target is None:
            here = self.code[self.next[here.address]]
        return here.target


def main():
    path, library, golden = sys.argv[1:4]
    rust, c = Program(path), Program(library)
    entries = [(rust, platform, name, rust.routine(platform, name)) for platform in ENTRIES for name in NAMES]
    entries += [(c, "c", name, c.names[f"sp_{name}"]) for name in NAMES]
    counted = {}
    for program, platform, name, entry in entries:
        counted[f"{platform}-{name}-fast"] = program.fast(entry)
        if name == "free":
            # Allocate is not bounded: docs/CONCURRENCY.md, section 5.
            way, loops, panics = program.longest(entry, {})
            counted[f"{platform}-{name}-longest"] = (*way, len(loops), len(panics))
    form = "{:<24}{:>14}{:>8}{:>8}{:>8}{:>8}\n"
    table = form.format("# path", "instructions", "locked", "calls", "loops", "panics")
    table += "".join(form.format(name, *map(int, figures)) for name, figures in counted.items())
    compiler = "# " + run("rustc", "--version")
    table = compiler + table
    if "--update" in sys.argv:
        with open(golden, "w") as file:
            file.write(table)
    with open(golden) as file:
        first = file.readline()
        if first != compiler:
            print(f"the golden file is of another compiler: {first.strip('# ')}", file=sys.stderr)
        allowed = {
            words[0]: tuple(map(int, words[1:]))
            for words in map(str.split, file)
            if not words[0].startswith("#")
        }
    print(table, end="")
    if allowed.keys() != counted.keys():
        sys.exit(f"the golden file has other paths: {sorted(allowed.keys() ^ counted.keys())}")
    grown = [name for name in counted if any(now > then for now, then in zip(counted[name], allowed[name]))]
    for name in grown:
        print(f"{name} has grown: {allowed[name]} before", file=sys.stderr)
    smaller = [name for name in counted if name not in grown and counted[name] != allowed[name]]
    for name in smaller:
        print(f"{name} has shrunk: {allowed[name]} before; --update keeps it so")
    sys.exit(bool(grown))


main()
