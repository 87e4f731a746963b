#!/usr/bin/env python3
"""An emulated driver over the pool: its mistakes, each by the bug check that Windows would stop with; PoolMon's table; and
one snapshot that is resumed a thousand times, as a fuzzer would. `run.py [driver]`."""

import collections
import pathlib
import random
import sys
import time

from machine import Machine, Stopped
from port import SUCCESS, Port
from storport_pool import BugCheck, Image

READ, WRITE = b"\x28", b"\x2a"
# A vendor's command, and the bug check that it must end in.
MISTAKES = {0xC0: 0xC2, 0xC1: 0xCD, 0xC2: 0xCC, 0xC4: 0xC2}
REQUEST_BYTES, REQUEST_TAG = 112, 0x74737152
FREES_ANOTHERS, LEAVES, TO_THE_INTERRUPT = b"\xc3", b"\xc5", b"\xc6"
RESUMED = 1000


def boot(driver):
    """A machine with two adapters."""
    port = Port(Machine(), driver)
    return port, port.add_adapter("disk0"), port.add_adapter("disk1")


def between_neighbours(port, extension):
    """The driver's next request gets a block between two that live: what is written past its end reaches one of these."""
    owner = port.owners[extension]
    blocks = [port.allocate(owner, REQUEST_BYTES, REQUEST_TAG)[1] for _ in range(3)]
    port.pool.free(owner, blocks[1])


def stops(what, code, work):
    """The guest must stop at this, and with this bug check."""
    try:
        work()
    except (Stopped, BugCheck) as stop:
        print(f"  {stop}")
        if stop.code != code:
            sys.exit(f"{what}: this should have been bug check {code:#x}")
    else:
        sys.exit(f"{what}: nothing was found")


def fuzz(driver):
    """What a fuzzer does: a machine that has run for a while is resumed again and again, each time with other requests."""
    port, disk, other = boot(driver)
    for n in range(50):
        assert port.request(disk, READ + bytes([n])) == SUCCESS
    if not port.pool.can_save:
        return print("Not tried, since this library cannot save a pool: one snapshot, resumed a thousand times.")
    machine, image = port.machine.snapshot(), Image(port.pool.save())
    commands = [READ[0]] * 8 + [WRITE[0]] * 8 + [*MISTAKES, FREES_ANOTHERS[0]]
    chance, found, usage = random.Random(1), collections.Counter(), port.pool.usage
    start = time.perf_counter()
    for _ in range(RESUMED):
        port.machine.resume(machine)
        port.pool.restore(image)
        try:
            for _ in range(4):
                port.request(chance.choice([disk, other]), bytes([chance.choice(commands), chance.randrange(256)]))
            found["nothing"] += 1
        except Stopped as stop:
            found[f"{stop.code:#x} at {stop.at}"] += 1
    seconds = time.perf_counter() - start
    port.machine.resume(machine)
    port.pool.restore(image)
    now = port.pool.usage
    same = ("live", "bytes", "allocs", "frees", "free_bytes")
    assert all(getattr(now, name) == getattr(usage, name) for name in same), (usage, now)
    print(f"One snapshot, resumed {RESUMED} times, with four requests each: {RESUMED / seconds:.0f} times a second")
    for what, times in sorted(found.items(), key=lambda pair: -pair[1]):
        print(f"  {times:4} {what}")


def main():
    here = pathlib.Path(__file__).resolve().parent
    driver = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else here / "driver" / "guest.sys").read_bytes()

    port, disk, other = boot(driver)
    print(f"guest.sys at {port.machine.DRIVER:#x}, extensions at {disk:#x} and {other:#x}")
    for n in range(1000):
        for extension in (disk, other):
            assert port.request(extension, (READ, WRITE)[n % 2]) == SUCCESS
    print("2000 requests:")
    print(port.pool.snapshot().table())

    print("Mistakes, each on a machine of its own:")
    for mistake, code in MISTAKES.items():
        port, disk, other = boot(driver)
        between_neighbours(port, other)
        stops(f"command {mistake:#x}", code, lambda: port.request(disk, bytes([mistake])))
    port, disk, other = boot(driver)
    port.request(disk, FREES_ANOTHERS)
    stops("another's block", 0xC2, lambda: port.request(other, FREES_ANOTHERS))
    port.request(disk, TO_THE_INTERRUPT)
    stops("a free at DIRQL", 0xC2, lambda: port.interrupts(disk))
    port.request(disk, LEAVES)
    stops("blocks left behind", 0xC4, lambda: port.remove_adapter(disk))

    print("What that machine has left:")
    print(port.pool.snapshot().table())
    fuzz(driver)


if __name__ == "__main__":
    main()
