"""The module, over whatever library it finds: `python -m unittest discover -s python/tests`."""

import _ctypes
import ctypes
import gc
import os
import pathlib
import subprocess
import sys
import threading
import unittest
import weakref

import storport_pool
from storport_pool import (
    Adapter,
    Block,
    BugCheck,
    Image,
    Leak,
    LibraryNotFound,
    NotSupported,
    Pool,
    PoolClosed,
    PoolError,
    Status,
    ViolationKind,
    irql,
    load,
    tag_number,
    tag_text,
)

GUEST = 0xFFFF_A000_0000_0000
MIB = 1 << 20
CAN_SAVE = load().can_save


def guest(**options):
    return Pool(range=(GUEST, 16 * MIB), min_block=64, **options)


class Routines(unittest.TestCase):
    def test_a_life(self):
        heard = []
        for pool in (Pool(MIB, on_violation=heard.append), guest(on_violation=heard.append)):
            heard.clear()
            with pool:
                disk, other = pool.adapter("disk0"), pool.adapter("disk1")
                status, block = pool.allocate(disk, 208, "VioS")
                self.assertEqual(status, Status.SUCCESS)
                usage = pool.usage
                self.assertTrue(usage.range <= block < usage.range + usage.range_bytes)
                self.assertEqual((usage.live, usage.bytes, usage.allocs), (1, 208, 1))
                self.assertIs(pool.free(other, block), Status.INVALID_PARAMETER)
                self.assertIs(pool.free(disk, block), Status.SUCCESS)
                self.assertIs(pool.free(disk, block), Status.INVALID_PARAMETER)
                kinds = [violation.kind for violation in heard]
                self.assertEqual(kinds, [ViolationKind.WRONG_OWNER, ViolationKind.DOUBLE_FREE])
                wrong, double = heard
                self.assertEqual((wrong.owner, wrong.caller, wrong.address), (disk, other, block))
                self.assertEqual((double.tag, double.bytes, double.owner), (tag_number("VioS"), 208, disk))
                self.assertEqual((double.bug_check, double.parameters[0]), (0xC2, 7))
                self.assertIn("disk0", double.text)
                self.assertEqual(pool.usage.violations, 2)

    def test_the_guests_range_is_never_touched(self):
        with Pool(range=(65536, 64 * MIB)) as pool:
            disk = pool.adapter("disk")
            blocks = [pool.allocate(disk, 4096, "Page")[1] for _ in range(100)]
            self.assertTrue(all(block % 4096 == 0 for block in blocks))
            self.assertTrue(all(pool.free(disk, block) is Status.SUCCESS for block in blocks))
            self.assertEqual(pool.trim().bytes, 0)

    def test_statuses(self):
        with guest() as pool:
            disk = pool.adapter("disk")
            refused = (Status.INVALID_PARAMETER, 0)
            self.assertEqual(pool.allocate(disk, 0, "Zero"), refused)
            self.assertEqual(pool.allocate(None, 16, "None"), refused)
            self.assertEqual(pool.allocate(disk, 32 * MIB, "Much"), (Status.INSUFFICIENT_RESOURCES, 0))
            self.assertIs(pool.free(disk, 0), Status.INVALID_PARAMETER)
            self.assertIs(pool.free(None, GUEST), Status.INVALID_PARAMETER)
            pool.set_not_implemented(True)
            self.assertEqual(pool.allocate(disk, 16, "Dump"), (Status.NOT_IMPLEMENTED, 0))
            self.assertIs(pool.free(disk, GUEST), Status.NOT_IMPLEMENTED)
            pool.set_not_implemented(False)
            self.assertIs(pool.allocate(disk, 16, "Dump")[0], Status.SUCCESS)
        with guest(strict_tags=True, adapters=1) as pool:
            disk = pool.adapter("disk")
            self.assertEqual(pool.allocate(disk, 16, 0), refused)
            with self.assertRaisesRegex(PoolError, "adapters"):
                pool.adapter("one more")

    def test_tags(self):
        self.assertEqual(tag_number("Ahci"), 0x69636841)
        self.assertEqual(tag_number(b"A"), 0x41)
        self.assertEqual((tag_text(0x41), tag_text(0x69636841), tag_text(1)), ("A   ", "Ahci", ".   "))
        for bad in ("", "Ahcia", "\n", "é", -1, 1 << 32):
            with self.assertRaises(ValueError):
                tag_number(bad)
        with guest() as pool:
            disk = pool.adapter("disk")
            block = pool.allocate(disk, 16, "Good")[1]
            self.assertIs(pool.free(disk, block, "Evil"), Status.INVALID_PARAMETER)
            self.assertIs(pool.free(disk, block, "Good"), Status.SUCCESS)

    def test_numbers_that_c_would_cut(self):
        with guest() as pool:
            disk = pool.adapter("disk")
            for bad in (
                lambda: pool.allocate(disk, 1 << 32, "Big1"),
                lambda: pool.allocate(disk, -1, "Big1"),
                lambda: pool.allocate(disk, 1, 1 << 32),
                lambda: pool.free(disk, 1 << 64),
                lambda: pool.block_at(-1),
                lambda: pool.adapter("a\0b"),
                lambda: pool.adapter("a", -1),
                lambda: guest(cpus=0),
                lambda: guest(cpus=1 << 32),
            ):
                with self.assertRaises(ValueError):
                    bad()

    def test_one_block(self):
        with guest() as pool:
            disk = pool.adapter("disk")
            status, block = pool.allocate(disk, 100, "Blk0")
            tag = tag_number("Blk0")
            self.assertEqual(pool.block_at(block + 111), Block(block, 100, 112, True, disk, tag))
            self.assertIs(pool.resize(disk, block, 112), Status.SUCCESS)
            self.assertIs(pool.resize(disk, block, 113), Status.INSUFFICIENT_RESOURCES)
            self.assertEqual(pool.block_at(block).bytes, 112)
            pool.free(disk, block)
            self.assertFalse(pool.block_at(block).live)
            self.assertIsNone(pool.block_at(GUEST + 16 * MIB))
            self.assertIsNone(pool.block_at(0))
            for alignment in (16, 64, 4096, 65536):
                status, block = pool.allocate_aligned(disk, 100, alignment, "Algn")
                self.assertEqual((status, block % alignment), (Status.SUCCESS, 0))
            self.assertEqual(pool.allocate_aligned(disk, 1, 48, "Algn"), (Status.INVALID_PARAMETER, 0))

    def test_pictures(self):
        with Pool(16 * MIB, cpus=2, portable=True) as pool:
            disk = pool.adapter("disk", 100)
            self.assertEqual(ctypes.string_at(disk.extension, 100), bytes(100))
            blocks = [pool.allocate(disk, 4000, "Page")[1] for _ in range(200)]
            pool.allocate(disk, 16, "Srb")
            for block in blocks[2:]:
                pool.free(disk, block)
            picture = pool.snapshot()
            self.assertEqual([row.text for row in picture.tags], ["Page", "Srb "])
            self.assertEqual([row.adapter for row in picture.accounts], [disk, disk])
            page = picture.tags[0]
            self.assertEqual((page.allocs, page.frees, page.live, page.bytes), (200, 198, 2, 8000))
            self.assertEqual([row.cpu for row in picture.cpus], [0, 1])
            self.assertEqual(sum(row.live for row in picture.classes), 3)
            lines = picture.table().splitlines()
            self.assertEqual(lines[0].split(), "Tag Type Allocs Frees Diff Bytes Per Alloc".split())
            self.assertEqual(lines[1].split(), ["Page", "Nonp", "200", "198", "2", "8000", "4000"])
            pool.free(disk, blocks[0])
            pool.free(disk, blocks[1])
            self.assertEqual(pool.usage.frees, 200)
            self.assertGreaterEqual(pool.trim().slabs, 1)

    def test_leaks(self):
        heard = []
        with guest(on_violation=heard.append) as pool:
            disk = pool.adapter("disk")
            for size in (10, 20):
                pool.allocate(disk, size, "Left")
            leak = Leak(tag_number("Left"), 2, 30)
            self.assertEqual(pool.remove(disk), [leak])
            self.assertEqual(leak.text, "Left")
            self.assertEqual((heard[0].kind, heard[0].blocks), (ViolationKind.LEAK, 2))
            self.assertEqual(heard[0].owner, disk)
            self.assertEqual(pool.allocate(disk, 16, "Gone"), (Status.INVALID_PARAMETER, 0))
            for nobody in (disk, None):
                with self.assertRaisesRegex(PoolError, "no extension of a live adapter|removed"):
                    pool.remove(nobody)
            self.assertEqual(pool.usage.live, 2)
            other = pool.adapter("other")
            pool.allocate(other, 10, "Left")
            self.assertEqual(pool.remove(other, release=True), [Leak(leak.tag, 1, 10)])
            self.assertEqual(pool.usage.live, 2)
            third = pool.adapter("third")
            pool.allocate(third, 10, "Left")
            heard.clear()
        # What a removal told is not told again.
        self.assertEqual([(violation.kind, violation.blocks) for violation in heard], [(ViolationKind.LEAK, 1)])


class Hosts(unittest.TestCase):
    def test_the_hosts_irql_and_cpu(self):
        level, cpus = [0], []
        with guest(irql=lambda: level[0], cpu=lambda: cpus.append(1) or 1, cpus=2) as pool:
            disk = pool.adapter("disk")
            block = pool.allocate(disk, 16, "Irql")[1]
            self.assertTrue(cpus)
            level[0] = 3
            self.assertEqual(pool.allocate(disk, 16, "Irql"), (Status.INVALID_IRQL, 0))
            self.assertIs(pool.free(disk, block), Status.INVALID_IRQL)
            level[0] = 2
            self.assertIs(pool.free(disk, block), Status.SUCCESS)

    def test_the_threads_irql(self):
        with guest() as pool:
            disk = pool.adapter("disk")
            with irql(2):
                with irql(5), irql(1):
                    self.assertIs(pool.allocate(disk, 16, "Irql")[0], Status.INVALID_IRQL)
                self.assertIs(pool.allocate(disk, 16, "Irql")[0], Status.SUCCESS)
            with self.assertRaises(ValueError), irql(16):
                pass

    def test_a_host_that_raises(self):
        class Odd(Exception):
            pass

        what = [0]

        def odd():
            if isinstance(what[0], Exception):
                raise what[0]
            return what[0]

        for name in ("irql", "cpu"):
            what[0] = 0
            with guest(**{name: odd}) as pool:
                disk = pool.adapter("disk")
                block = pool.allocate(disk, 16, "Odd0")[1]
                for wrong, raised in ((Odd(), Odd), (1 << 32, ValueError), (-1, ValueError), ("no", ValueError)):
                    what[0] = wrong
                    with self.assertRaises(raised):
                        pool.allocate(disk, 16, "Odd0")
                what[0] = 0
                self.assertEqual(pool.usage.live, 1)
                if name == "irql":
                    self.assertEqual(pool.usage.allocs, 1, "something was done at an unknown level")
                self.assertIs(pool.free(disk, block), Status.SUCCESS)

    def test_a_hearer_that_raises(self):
        def hear(violation):
            raise KeyError(violation.kind)

        with guest(on_violation=hear) as pool:
            disk = pool.adapter("disk")
            with self.assertRaises(KeyError):
                pool.free(disk, 12345)
            self.assertIs(pool.allocate(disk, 16, "Next")[0], Status.SUCCESS)
            pool.on_violation = None

    def test_bug_checks(self):
        heard = []
        pool = guest(raise_violations=True, on_violation=heard.append)
        disk = pool.adapter("disk")
        block = pool.allocate(disk, 16, "Bugs")[1]
        pool.free(disk, block)
        with self.assertRaises(BugCheck) as raised:
            pool.free(disk, block)
        self.assertEqual((raised.exception.code, raised.exception.parameters[0]), (0xC2, 7))
        self.assertEqual(raised.exception.violation, heard[0])
        self.assertRegex(str(raised.exception), r"^double free at 0xffff.*: bug check 0xc2 \(0x7, ")
        with self.assertRaises(BugCheck):
            pool.allocate(disk, 0, "Bugs")
        pool.allocate(disk, 16, "Bugs")
        with self.assertRaises(BugCheck):
            pool.remove(disk)
        # What a live adapter has is told at the end, which comes all the same.
        pool.allocate(pool.adapter("tape"), 16, "Bugs")
        with self.assertRaises(BugCheck):
            pool.close()
        self.assertTrue(pool.closed)

    def test_a_hearer_that_calls(self):
        answers = []

        def hear(violation):
            if violation.address:
                answers.append(pool.allocate(disk, 16, "Hear"))
                answers.append(pool.free(disk, answers[0][1]))
                try:
                    pool.close()
                except PoolError as error:
                    answers.append(str(error))

        with guest(on_violation=hear) as pool:
            disk = pool.adapter("disk")
            self.assertIs(pool.free(disk, 1), Status.INVALID_PARAMETER)
            self.assertIs(answers[0][0], Status.SUCCESS)
            self.assertIs(answers[1], Status.SUCCESS)
            self.assertIn("under way", answers[2])
            self.assertFalse(pool.closed)

    def test_no_close_while_another_thread_is_in_a_callback(self):
        inside, go = threading.Event(), threading.Event()

        def hear(_violation):
            inside.set()
            go.wait(60)

        pool = guest(on_violation=hear)
        disk = pool.adapter("disk")
        thread = threading.Thread(target=pool.free, args=(disk, 1))
        thread.start()
        self.assertTrue(inside.wait(60))
        with self.assertRaisesRegex(PoolError, "under way"):
            pool.close()
        go.set()
        thread.join()
        pool.close()

    def test_threads(self):
        with guest(cpus=4) as pool:
            disks = [pool.adapter(f"disk{n}") for n in range(4)]
            wrong = []

            def work(disk):
                for _ in range(2000):
                    status, block = pool.allocate(disk, 100, "Thrd")
                    if status or pool.free(disk, block):
                        wrong.append(status)

            threads = [threading.Thread(target=work, args=(disk,)) for disk in disks]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual((wrong, pool.usage.live, pool.usage.allocs), ([], 0, 8000))


class Ends(unittest.TestCase):
    def test_use_after_close(self):
        pool = guest()
        disk = pool.adapter("disk")
        block = pool.allocate(disk, 16, "Left")[1]
        pool.close()
        pool.close()
        self.assertTrue(pool.closed)
        self.assertEqual(repr(pool), "<Pool, closed>")
        for use in (
            lambda: pool.allocate(disk, 16, "Late"),
            lambda: pool.allocate(None, 16, "Late"),
            lambda: pool.allocate_aligned(disk, 16, 64, "Late"),
            lambda: pool.free(disk, block),
            lambda: pool.free(disk, block, "Late"),
            lambda: pool.resize(disk, block, 16),
            lambda: pool.block_at(block),
            lambda: pool.adapter("late"),
            lambda: pool.remove(disk),
            lambda: pool.set_not_implemented(True),
            lambda: pool.usage,
            lambda: pool.snapshot(),
            lambda: pool.trim(),
        ):
            with self.assertRaisesRegex(PoolClosed, "has been closed"):
                use()

    def test_adapters_of_another_pool(self):
        with guest() as one, guest() as other:
            disk = one.adapter("disk")
            for use in (lambda: other.allocate(disk, 16, "Else"), lambda: other.remove(disk)):
                with self.assertRaisesRegex(ValueError, "another pool"):
                    use()

    def test_collected_at_once_and_wholly(self):
        def mappings():
            with open("/proc/self/maps") as maps:
                return sum(1 for _ in maps)

        def one(n):
            heard = []
            pool = guest(irql=lambda: 0, on_violation=heard.append) if n % 2 else Pool(16 * MIB)
            disk = pool.adapter("disk", 100_000)
            for size in range(1, 50_000, 5000):
                pool.allocate(disk, size, "Left")
            pool.free(disk, 1)
            pool.snapshot()
            if n % 3 == 0:
                pool.close()
            return weakref.ref(pool)

        gc.collect()
        gc.disable()
        try:
            for n in range(20):
                one(n)
            before = mappings()
            # 1000 of them would need 12 GiB of metadata, and 2000 mappings.
            for n in range(1000):
                self.assertIsNone(one(n)(), "a pool is in a circle")
            self.assertLess(mappings(), before + 20)
        finally:
            gc.enable()

    def test_snapshots_are_given_back(self):
        def resident():
            with open("/proc/self/statm") as sums:
                return int(sums.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

        with guest(accounts=256, adapters=60) as pool:
            for n in range(50):
                pool.allocate(pool.adapter(f"disk{n}"), 16, f"T{n}")
            pool.snapshot()
            before = resident()
            for _ in range(2000):
                pool.snapshot()
            # Each has 100 rows of 64 bytes.
            self.assertLess(resident(), before + 4 * MIB)

    def test_left_at_the_interpreters_end(self):
        program = (
            "import storport_pool as s\n"
            "def hear(v): print('heard')\n"
            "pool = s.Pool(range=(1 << 40, 1 << 20), irql=lambda: 0, on_violation=hear)\n"
            "disk = pool.adapter('disk'); pool.allocate(disk, 16, 'Left'); pool.me = pool\n"
        )
        path = os.pathsep.join(path for path in sys.path if path)
        environment = dict(os.environ, PYTHONPATH=path)
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))


class Making(unittest.TestCase):
    def test_reasons(self):
        for options, reason in (
            (dict(bytes=100), "range|bytes"),
            (dict(range=(GUEST + 4096, MIB)), "no multiple of 65536"),
            (dict(bytes=MIB, adapters=5000), "the number of adapters is 5000"),
            (dict(range=(GUEST, MIB), min_block=100), "min_block|block"),
        ):
            with self.assertRaisesRegex(PoolError, reason):
                Pool(**options)
        for options in ({}, dict(bytes=MIB, range=(GUEST, MIB))):
            with self.assertRaises(TypeError):
                Pool(**options)
        with self.assertRaises(ValueError):
            Pool(range=(0, MIB))

    def test_where_the_library_is(self):
        with self.assertRaisesRegex(LibraryNotFound, "/nowhere/lib.so cannot be used"):
            load("/nowhere/lib.so")
        with self.assertRaisesRegex(LibraryNotFound, "cannot be used: .*sp_"):
            # Some library, but another one.
            load(_ctypes.__file__)
        found = load()
        self.assertIs(load(found.path), found)
        self.assertIs(load(pathlib.Path(found.path)), found)
        with Pool(MIB, library=found.path) as pool:
            self.assertIsInstance(pool.adapter("disk"), Adapter)
        before = os.environ.get("STORPORT_POOL_LIBRARY")
        try:
            os.environ["STORPORT_POOL_LIBRARY"] = "/nowhere/else.so"
            with self.assertRaisesRegex(LibraryNotFound, "/nowhere/else.so"):
                load()
            os.environ["STORPORT_POOL_LIBRARY"] = found.path
            self.assertIs(load(), found)
        finally:
            os.environ.pop("STORPORT_POOL_LIBRARY")
            if before is not None:
                os.environ["STORPORT_POOL_LIBRARY"] = before

    def test_all_that_is_public_says_what_it_is(self):
        for name in storport_pool.__all__:
            thing = getattr(storport_pool, name)
            self.assertTrue(thing.__doc__, name)
        for name, thing in vars(Pool).items():
            if not name.startswith("_"):
                self.assertTrue(thing.__doc__ or name == "closed", name)


class Saving(unittest.TestCase):
    @unittest.skipIf(CAN_SAVE, "the library can save")
    def test_an_old_library_says_so(self):
        with guest() as pool:
            self.assertFalse(pool.can_save)
            for use in (pool.save, lambda: pool.restore(b"image"), lambda: Image(b"image")):
                with self.assertRaisesRegex(NotSupported, "cannot save"):
                    use()

    @unittest.skipUnless(CAN_SAVE, "the library cannot save yet")
    def test_there_and_back(self):
        with guest(irql=lambda: 0) as pool:
            disk = pool.adapter("disk")
            kept = pool.allocate(disk, 100, "Kept")[1]
            saved = pool.save()
            later = pool.allocate(disk, 100, "Late")[1]
            pool.free(disk, kept)
            with Image(saved) as image:
                for _ in range(3):
                    pool.restore(image)
                    self.assertEqual((pool.usage.live, pool.usage.frees), (1, 0))
                    self.assertTrue(pool.block_at(kept).live)
                    self.assertIs(pool.free(disk, later), Status.INVALID_PARAMETER)
                    self.assertIs(pool.free(disk, kept), Status.SUCCESS)
            with self.assertRaises(PoolClosed):
                pool.restore(image)
            pool.restore(saved)
            self.assertEqual(pool.usage.live, 1)
        with self.assertRaises(PoolClosed):
            pool.save()

    @unittest.skipUnless(CAN_SAVE, "the library cannot save yet")
    def test_not_from_a_callback(self):
        with guest(irql=lambda: 0) as pool:
            disk = pool.adapter("disk")
            saved, said = pool.save(), []

            def hear(_violation):
                for call in (pool.save, lambda: pool.restore(saved)):
                    with self.assertRaisesRegex(PoolError, "from a callback"):
                        call()
                said.append(True)

            pool.on_violation = hear
            pool.allocate(disk, 100, "Left")
            pool.remove(disk)
            self.assertEqual(said, [True])
            pool.on_violation = None
            pool.restore(saved)
            self.assertEqual(pool.allocate(disk, 100, "Good")[0], Status.SUCCESS)

    @unittest.skipUnless(CAN_SAVE, "the library cannot save yet")
    def test_another_pool_takes_it_up(self):
        with guest() as pool, guest() as other:
            kept = pool.allocate(pool.adapter("disk"), 100, "Kept")[1]
            other.restore(pool.save())
            disk = other.restored("disk")
            self.assertIs(other.restored("disk"), disk)
            self.assertIs(other.block_at(kept).owner, disk)
            self.assertIs(other.free(disk, kept), Status.SUCCESS)
            with self.assertRaisesRegex(PoolError, "name"):
                other.restored("tape")
        for big in (-1, 1 << 64):
            with self.assertRaises(ValueError):
                Pool(big)
            with guest() as pool, self.assertRaises(ValueError):
                pool.adapter("disk", big)

    @unittest.skipUnless(CAN_SAVE, "the library cannot save yet")
    def test_what_is_refused(self):
        with guest() as pool, Pool(MIB) as other:
            saved = pool.save()
            for bad in (b"", b"image", saved[:-1], bytes(len(saved))):
                with self.assertRaises(PoolError):
                    Image(bad)
            with self.assertRaises(PoolError):
                other.restore(saved)


if __name__ == "__main__":
    unittest.main()
