#!/usr/bin/env python3
"""Runs programs over the preload library: `preload.py <library> <folder to work in> [--full]`. Called by preload.sh.

Each program is a function here, which answers a text. It runs without the library, and over it with restartable
sequences and without; with --full also with the largest requests from the pool, where else they are mappings. The texts
must be the same. Misuse aborts, and every process that ends by exit reports:
no violation, no refused fence, no slab that was half one thing. PROGRAMS says for how many seconds each may run.
"""
import concurrent.futures
import difflib
import glob
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time

LIBRARY, WORK = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
FULL = "--full" in sys.argv[3:]
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODES = ["plain", "rseq", "twin"] + ["large"] * FULL


class Failed(Exception):
    pass


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Runner:
    """Runs commands in one mode, in a folder of its own, until a deadline."""

    def __init__(self, name, mode, seconds):
        self.mode, self.deadline = mode, time.monotonic() + seconds
        self.folder = os.path.join(WORK, f"{name}-{mode}")
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        self.report = os.path.join(WORK, f"{name}-{mode}.report")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("STORPORT_")}
        self.env |= {"LC_ALL": "C", "PERL_HASH_SEED": "0", "PYTHONHASHSEED": "0"}
        if mode != "plain":
            self.env |= {
                "LD_PRELOAD": LIBRARY,
                "STORPORT_PRELOAD_MISUSE": "abort",
                "STORPORT_PRELOAD_REPORT": self.report,
            }
        if mode == "twin":
            self.env["GLIBC_TUNABLES"] = "glibc.pthread.rseq=0"
        if mode == "large":
            self.env["STORPORT_PRELOAD_LARGEST"] = "1G"

    def start(self, *command, env=None, **rest):
        # A group of its own, so that it ends with all that it started.
        return subprocess.Popen(
            command, cwd=self.folder, env=self.env | (env or {}), start_new_session=True, **rest
        )

    def run(self, *command, env=None, may_fail=False):
        """What it wrote to standard output, as bytes."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = self.start(*command, env=env, **pipes)
        try:
            out, err = process.communicate(timeout=max(1, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            raise Failed(f"out of time: {' '.join(command)}\n{tail(out)}\n{tail(err)}") from None
        if b"*** STOP" in err or process.returncode != 0 and not may_fail:
            raise Failed(f"status {process.returncode}: {' '.join(command)}\n{tail(out)}\n{tail(err)}")
        return out

    def check_report(self):
        """How many processes reported, and their allocations."""
        try:
            text = open(self.report).read()
        except FileNotFoundError:
            raise Failed("no process wrote a report") from None
        pools = [dict(re.findall(r"(\w+)=(\w+)", line)) for line in text.splitlines() if line.startswith("pool: ")]
        for pool in pools:
            wrong = {key: pool[key] for key in ("violations", "fence_refused", "changing") if pool[key] != "0"}
            if wrong:
                raise Failed(f"a process reports {wrong}\n{text[-3000:]}")
            if pool["commit"] != self.mode and self.mode == "twin":
                raise Failed(f"committed by {pool['commit']}, not by {self.mode}")
        contended = sum(int(pool["contended"]) for pool in pools)
        allocs = sum(int(pool["allocs"]) for pool in pools)
        return f"{len(pools)} processes, {allocs} allocations, {contended} contended"


def tail(data):
    return data.decode(errors="replace")[-3000:]


def python(run):
    """Python's own tests, with every object from malloc. Answers the tests that failed."""
    names = ["test_list", "test_dict", "test_set", "test_deque", "test_queue", "test_fork1", "test_thread"]
    if FULL:
        names += ["test_threading", "test_gc", "test_weakref", "test_io", "test_pickle", "test_unicode", "test_re"]
        names += ["test_bytes", "test_array", "test_memoryview", "test_zlib", "test_json", "test_sqlite3"]
        names += ["test_subprocess", "test_posix", "test_ctypes", "test_generators"]
    command = [sys.executable, "-m", "test", "-q", "--timeout", "240", *names]
    env = {"PYTHONMALLOC": "malloc"}
    if not FULL and run.mode == "plain":
        return "nothing failed"
    out = run.run(*command, env=env, may_fail=True).decode(errors="replace")
    found = re.search(r"(\d+) tests? failed:\n((?:    .*\n)+)", out)
    if not found and "Result: SUCCESS" not in out:
        raise Failed(f"no result\n{out[-3000:]}")
    # By the case, where there are some that fail without the library, too.
    cases = sorted(set(re.findall(r"^(?:ERROR|FAIL): (\S+ \(\S+\))", out, re.M)))
    return f"{sorted(found[2].split())} {cases}" if found else "nothing failed"


def sqlite(run):
    """sqlite's speedtest1, built from Debian's sources. Answers the hash of all that the queries found."""
    source = f"{WORK}/sqlite3/test/speedtest1.c"
    if not os.path.exists(source):
        script = """
import sqlite3, hashlib
base, digest = sqlite3.connect(":memory:"), hashlib.sha256()
base.execute("create table t(a integer primary key, b text, c blob)")
for n in range(60000):
    base.execute("insert into t values(?, ?, ?)", (n, str(n * 7919 % 10007) * (n % 9), bytes(n % 700)))
base.execute("create index i on t(b)")
for row in base.execute("select x.b, count(*), sum(length(y.c)) from t x join t y on y.a = length(x.c) group by 1 order by 1"):
    digest.update(repr(row).encode())
print(digest.hexdigest())
"""
        return run.run(sys.executable, "-c", script).decode()
    run.run("gcc", "-O1", source, "-o", "speedtest1", "-lsqlite3")
    hashes = []
    size = "60" if FULL else "15"
    for options in (["--memdb"], ["--journal", "wal", "--threads", "4", "base.db"], ["--utf16be", "--memdb"]):
        for testset in ["main", "cte", "orm"] if FULL else ["main"]:
            out = run.run("./speedtest1", "--size", size, "--verify", "--testset", testset, *options)
            hashes += [line for line in out.decode().splitlines() if "Hash" in line]
    return "\n".join(hashes)


def redis(run):
    """redis-server under redis-benchmark, a snapshot by a forked child, and a second server from its file. Answers the
    digest of all data, twice."""
    socket = f"{run.folder}/socket"
    options = ["--port", "0", "--unixsocket", socket, "--save", "", "--dir", run.folder]
    options += ["--enable-debug-command", "local"]
    said = []
    requests = "60000" if FULL else "8000"

    def client(*words):
        return run.run("redis-cli", "-s", socket, *words).decode().strip()

    for turn in range(2):
        log = open(f"{run.folder}/log", "ab")
        server = run.start("redis-server", *options, stdout=log, stderr=log)
        try:
            while not os.path.exists(socket):
                if server.poll() is not None or time.monotonic() > run.deadline:
                    raise Failed(f"the server does not start\n{open(f'{run.folder}/log').read()[-3000:]}")
                time.sleep(0.05)
            while "PONG" not in run.run("redis-cli", "-s", socket, "ping", may_fail=True).decode():
                time.sleep(0.05)
            if turn == 0:
                tests = "set,get,incr,lpush,rpush,lpop,sadd,hset,spop,zadd,lrange_100,mset"
                run.run("redis-benchmark", "-s", socket, "-n", requests, "-c", "20", "-q", "-t", tests)
                client("debug", "populate", "20000", "many", "100")
                client("del", "myset", "mylist")
                client("save")
                client("bgsave")
                while "rdb_bgsave_in_progress:1" in client("info", "persistence"):
                    time.sleep(0.05)
                status = re.search(r"rdb_last_bgsave_status:(\w+)", client("info", "persistence"))
                said.append(status[1])
                client("memory", "purge")
            said += [client("dbsize"), client("debug", "digest")]
            run.run("redis-cli", "-s", socket, "shutdown", "save" if turn == 0 else "nosave", may_fail=True)
            if server.wait(timeout=max(1, run.deadline - time.monotonic())) != 0:
                raise Failed(f"the server ended with {server.returncode}\n{open(f'{run.folder}/log').read()[-3000:]}")
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()
    return "\n".join(said)


def git(run):
    """This repository: cloned, packed, checked, read. Answers what was read."""
    run.run("git", "clone", "-q", "--no-local", "file://" + HERE, "copy")
    for command in (["gc", "-q"], ["fsck", "--full", "--no-progress"], ["repack", "-adfq", "--threads=2"]):
        run.run("git", "-C", "copy", *command)
    read = [["log", "-p", "--stat"], ["blame", "README.md"], ["grep", "-n", "pool"], ["ls-tree", "-r", "HEAD"]]
    if FULL:
        read += [["archive", "HEAD"], ["log", "-p", "-M", "-C"], ["blame", "-C", "-w", "src/percpu/rseq.rs"]]
    return "\n".join(digest(run.run("git", "-C", "copy", *command)) for command in read)


def gcc(run):
    """The driver kit, its sample and this library's C tests compiled; with --full sqlite's amalgamation, made by its own
    configure, make and tclsh. Answers the objects."""
    said = []
    include = [f"-I{HERE}/{folder}" for folder in ("capi/include", "host/include", "host/src")]
    sources = sorted(glob.glob(f"{HERE}/capi/c/*.c") + glob.glob(f"{HERE}/preload/tests/c/*"))
    for source in sources + [f"{WORK}/sqlite3/test/speedtest1.c"]:
        if not os.path.exists(source):
            continue
        compiler = "g++" if source.endswith("cpp") else "gcc"
        run.run(compiler, "-O2", "-g", f"-fdebug-prefix-map={run.folder}=.", "-w", *include, "-c", source, "-o", "object.o")
        said.append(digest(open(f"{run.folder}/object.o", "rb").read()))
    if FULL and os.path.exists(f"{WORK}/sqlite3/configure"):
        # Of the same name in each mode: objects have it.
        shutil.copytree(f"{WORK}/sqlite3", f"{run.folder}/tree", symlinks=True)
        run.run("sh", "-c", "cd tree && ./configure -q --disable-shared && make -s -j2 sqlite3.c shell.c")
        run.run("gcc", "-O2", "-w", "-c", "tree/sqlite3.c", "-o", "sqlite3.o")
        said += [digest(open(f"{run.folder}/{name}", "rb").read()) for name in ("tree/sqlite3.c", "sqlite3.o")]
    return "\n".join(said)


def perl(run):
    """A script of many strings, hashes, closures, sorts and children; with --full, perl's own tests of its operators and
    expressions. Answers what it printed, or which tests failed."""
    said = run.run("perl", f"{HERE}/preload/tests/work.pl").decode()
    if FULL and os.path.isdir(f"{WORK}/perl/t"):
        shutil.copytree(f"{WORK}/perl/t", f"{run.folder}/t", symlinks=True)
        shutil.copytree(f"{WORK}/perl/lib", f"{run.folder}/lib", symlinks=True)
        # The tests take modules from ../lib: those of the perl that runs.
        folders = subprocess.check_output(["perl", "-MConfig", "-e", 'print "$Config{privlibexp} $Config{archlibexp}"'])
        for folder in [*folders.decode().split(), *glob.glob("/usr/lib/*/perl-base")]:
            shutil.copytree(folder, f"{run.folder}/lib", dirs_exist_ok=True)
        tests = "cd t && prove -Q --timer base/*.t cmd/*.t op/*.t re/*.t uni/*.t mro/*.t 2>&1"
        out = run.run("sh", "-c", tests, may_fail=True).decode(errors="replace")
        said += "\n".join(sorted(re.findall(r"^(\S+\.t) .*(?:Failed|Wstat)", out, re.M)))
        if "Result: " not in out:
            raise Failed(f"no result\n{out[-3000:]}")
    return said


# Seconds for a mode, and with --full.
PROGRAMS = {python: (100, 900), sqlite: (60, 400), redis: (60, 300), git: (60, 300), gcc: (60, 500), perl: (60, 1500)}


def in_each_mode(program, seconds):
    """Says what came of each, and answers those that failed."""
    name, answers, failed = program.__name__, {}, []
    for mode in MODES:
        start, note = time.monotonic(), ""
        try:
            run = Runner(name, mode, seconds)
            answers[mode] = program(run)
            if mode != "plain":
                note = run.check_report()
                if "plain" in answers and answers[mode] != answers["plain"]:
                    texts = [answers[mode].splitlines() for mode in ("plain", mode)]
                    differences = list(difflib.unified_diff(*texts, "without", "with it", lineterm="", n=0))
                    raise Failed("it answers otherwise\n" + "\n".join(differences[:20]))
            verdict = "good"
        except (Failed, OSError, subprocess.TimeoutExpired) as error:
            verdict, note = "FAILED", str(error)
            failed.append(f"{name} {mode}")
        print(f"{name:7} {mode:6} {verdict} in {time.monotonic() - start:.0f} s  {note}", flush=True)
    return failed


def main():
    # Most programs are busy on one processor. With --full some are on all.
    with concurrent.futures.ThreadPoolExecutor(1 if FULL else os.cpu_count()) as threads:
        running = [threads.submit(in_each_mode, program, seconds[FULL]) for program, seconds in PROGRAMS.items()]
        failed = [name for program in running for name in program.result()]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")
    print(f"{len(PROGRAMS)} programs answer the same with the library and without, and misuse nothing")


main()
