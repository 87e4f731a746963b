#!/usr/bin/env python3
"""Whole programs over glibc's malloc, the pool's, mimalloc and jemalloc: time and peak memory.

    cargo build --release -p storport-pool-preload
    apt-get install libmimalloc2.0 libjemalloc2 redis-server libsqlite3-dev
    python3 preload/bench.py --turns 12 --out /tmp/preload.md

The allocators take turns within each program (A B C D, and again), in one run, so that what the machine's neighbours do
meets them all. A figure is the median over the turns; a ratio is that of the pool to another in the same turn, and its
median. Writes a table for docs/BENCHMARKS.md. `--quick` tries it out with tiny sizes: its figures mean nothing.
"""
import argparse
import glob
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.environ.get("CARGO_TARGET_DIR", f"{HERE}/target")
POOL = "storport-pool"
PEERS = {
    "glibc": None,
    POOL: f"{TARGET}/release/libstorport_preload.so",
    "mimalloc": "/usr/lib/x86_64-linux-gnu/libmimalloc.so.2*",
    "jemalloc": "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2",
}


class Turn:
    """One program's run over one allocator: what it took so far."""

    def __init__(self, folder, library, quick):
        self.folder, self.quick = folder, quick
        self.seconds = self.cpu = self.peak = 0
        self.plain = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        self.plain = {name: value for name, value in self.plain.items() if not name.startswith("STORPORT_")}
        self.plain |= {"LC_ALL": "C", "PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0", "PERL_HASH_SEED": "0"}
        self.env = self.plain | ({"LD_PRELOAD": library} if library else {})

    def run(self, *command):
        """Runs it to its end. The peak is that of the largest process, its children's included; what this script itself
        has, some 15 MiB, counts as theirs, so no peak is below it."""
        start = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        err = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: {process.returncode}\n{err.decode(errors='replace')[-2000:]}")
        self.seconds += time.perf_counter() - start
        self.cpu += used.ru_utime + used.ru_stime
        self.peak = max(self.peak, used.ru_maxrss << 10)

    def once(self, made, *command):
        """What a program needs and is not measured: made by its first turn."""
        if not os.path.exists(os.path.join(self.folder, made)):
            subprocess.run(command, cwd=self.folder, env=self.plain, check=True, stdout=subprocess.DEVNULL)


PYTHON = """
import json, random, sys
rounds = int(sys.argv[1])
random.seed(1)
class Node:
    def __init__(self, left, right):
        self.left, self.right, self.name = left, right, 'x' * (id(left) % 50)
def tree(depth):
    return Node(tree(depth - 1), tree(depth - 1)) if depth else None
for _ in range(rounds):
    words = [''.join(random.choices('abcdefgh', k=random.randint(1, 20))) for _ in range(50000)]
    counts = {}
    for word in words:
        counts.setdefault(word, []).append(len(word))
    text = json.dumps(counts)
    back = json.loads(text)
    both = set(back) & set(words)
    tree(14)
    lists = [list(range(n % 300)) for n in range(5000)]
    for one in lists:
        one.extend(one)
"""


def python(turn):
    """Containers, strings, JSON, a tree; every object is from malloc."""
    turn.run(sys.executable, "-c", PYTHON, "1" if turn.quick else "8")


def perl(turn):
    """preload/tests/work.pl"""
    for _ in range(1 if turn.quick else 3):
        turn.run("perl", f"{HERE}/preload/tests/work.pl")


def sqlite(turn):
    """speedtest1 in memory, if its source is given by --speedtest1; else inserts and joins by Python's sqlite3."""
    if ARGUMENTS.speedtest1:
        turn.once("speedtest1", "gcc", "-O2", ARGUMENTS.speedtest1, "-o", "speedtest1", "-lsqlite3")
        turn.run("./speedtest1", "--memdb", "--size", "5" if turn.quick else "100")
        return
    script = """
import sqlite3, sys
base = sqlite3.connect(':memory:')
base.execute('create table t(a integer primary key, b text, c blob)')
for n in range(int(sys.argv[1])):
    base.execute('insert into t values(?, ?, ?)', (n, str(n * 7919 % 10007) * (n % 9), bytes(n % 700)))
base.execute('create index i on t(b)')
base.execute('select x.b, count(*) from t x join t y on y.a = length(x.c) group by 1 order by 1').fetchall()
"""
    turn.run(sys.executable, "-c", script, "5000" if turn.quick else "400000")


def gcc(turn):
    """The C programs of preload/tests, by gcc and g++."""
    for source in sorted(glob.glob(f"{HERE}/preload/tests/c/*"))[: 2 if turn.quick else None]:
        turn.run("g++" if source.endswith("cpp") else "gcc", "-O2", "-w", "-c", source, "-o", "object.o")


def git(turn):
    """This repository packed anew, and read."""
    turn.once("copy", "git", "clone", "-q", "--no-local", "file://" + HERE, "copy")
    for command in [["repack", "-adfq", "--threads=2"], ["log", "-p"], ["blame", "README.md"]]:
        turn.run("git", "-C", "copy", *command)


def redis(turn):
    """redis-server alone, with its peak; the client has glibc's malloc."""
    socket = f"{turn.folder}/socket"
    options = ["--port", "0", "--unixsocket", socket, "--save", "", "--dir", turn.folder, "--logfile", "log"]
    server = subprocess.Popen(["redis-server", *options], cwd=turn.folder, env=turn.env, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 20
        while not os.path.exists(socket):
            if time.monotonic() > until or server.poll() is not None:
                raise SystemExit("redis-server does not start")
            time.sleep(0.02)
        client = ["redis-benchmark", "-s", socket, "-c", "20", "-q", "-r", "100000"]
        client += ["-n", "1000" if turn.quick else "100000"]
        start = time.perf_counter()
        tests = ["-t", "set,get,lpush,lpop,sadd,hset,zadd,mset"]
        subprocess.run([*client, *tests], env=turn.plain, check=True, stdout=subprocess.DEVNULL)
        turn.seconds = time.perf_counter() - start
        status = open(f"/proc/{server.pid}/status").read()
        turn.peak = int(re.search(r"VmHWM:\s*(\d+)", status)[1]) << 10
    finally:
        server.send_signal(signal.SIGKILL)
        _, _, used = os.wait4(server.pid, 0)
        server.returncode = -signal.SIGKILL
        turn.cpu = used.ru_utime + used.ru_stime
        if os.path.exists(socket):
            os.remove(socket)


PROGRAMS = [python, perl, sqlite, gcc, git, redis]


def libraries():
    found = {}
    for name, pattern in PEERS.items():
        paths = sorted(glob.glob(pattern)) if pattern else [None]
        if paths:
            found[name] = paths[0]
        else:
            print(f"{name} is left out: there is no {pattern}", file=sys.stderr)
    if POOL not in found:
        sys.exit("cargo build --release -p storport-pool-preload")
    return found


def cell(turns, name, figure, scale):
    """The median, and the pool's ratio to it."""
    own = [getattr(turn, figure) for turn in turns[name]]
    text = f"{statistics.median(own) / scale:.2f}"
    if name == POOL:
        return text
    ratios = [getattr(pool, figure) / max(value, 1e-9) for pool, value in zip(turns[POOL], own)]
    return f"{text} ({statistics.median(ratios):.2f})"


def main():
    found, rows = libraries(), {}
    work = tempfile.mkdtemp()
    try:
        for program in PROGRAMS:
            name = program.__name__
            if ARGUMENTS.programs and name not in ARGUMENTS.programs.split(","):
                continue
            folder = os.path.join(work, name)
            os.makedirs(folder)
            turns = rows[name] = {peer: [] for peer in found}
            # The first round warms up the page cache, and is not counted.
            for number in range(ARGUMENTS.turns + 1):
                for peer, library in found.items():
                    turn = Turn(folder, library, ARGUMENTS.quick)
                    program(turn)
                    if number:
                        turns[peer].append(turn)
                print(f"{name} {number}/{ARGUMENTS.turns}", file=sys.stderr)
    finally:
        shutil.rmtree(work)
    lines = []
    if ARGUMENTS.quick:
        lines += ["**Tiny sizes, to try the program out: these figures mean nothing.**", ""]
    for figure, scale, title in [
        ("seconds", 1, "seconds"), ("cpu", 1, "seconds of CPU"), ("peak", 1 << 20, "MiB at the peak")
    ]:
        lines += [f"| {title} | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
        for name, turns in rows.items():
            lines.append(f"| {name} | " + " | ".join(cell(turns, peer, figure, scale) for peer in found) + " |")
        lines.append("")
    lines.append(f"Medians of {ARGUMENTS.turns} interleaved turns; in parentheses the pool's over that allocator's.")
    text = "\n".join(lines) + "\n"
    print(text)
    if ARGUMENTS.out:
        open(ARGUMENTS.out, "w").write(text)


PARSER = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
PARSER.add_argument("--turns", type=int, default=12)
PARSER.add_argument("--quick", action="store_true", help="tiny sizes, to try it out")
PARSER.add_argument("--programs", help="some of them: " + ",".join(program.__name__ for program in PROGRAMS))
PARSER.add_argument("--speedtest1", help="sqlite's test/speedtest1.c, for the program sqlite")
PARSER.add_argument("--out", help="where the table goes, too")
ARGUMENTS = PARSER.parse_args()
main()
