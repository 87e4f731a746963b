"""The loader with what is no driver: it refuses, and ends. `python -m unittest discover -s examples/emulator`."""

import pathlib
import random
import struct
import unittest

import pe

DRIVER = (pathlib.Path(__file__).parent / "driver" / "guest.sys").read_bytes()
BASE = 0xFFFF_F800_0000_0000


def load(file):
    return pe.load(file, BASE, lambda module, name: 0x1000 + len(name))


class Loader(unittest.TestCase):
    def test_the_driver(self):
        image = load(DRIVER)
        names = {name: address for address, name in image.names.items()}
        self.assertEqual(image.name(names["HwStartIo"] + 5, "guest.sys"), "guest.sys!HwStartIo+0x5")
        self.assertEqual(image.name(5, "guest.sys"), "0x5")
        self.assertEqual(len(image.writable), 1)
        # Each address that the file has is relocated: the command table's second column, and the callbacks.
        relocated = [value for (value,) in struct.iter_unpack("<Q", image.bytes) if value in image.names]
        self.assertEqual(len(relocated), 9 + 5)
        imported = ["StorPortExtendedFunction", "StorPortInitialize", "StorPortNotification"]
        slots = b"".join(struct.pack("<Q", 0x1000 + len(name)) for name in imported)
        self.assertIn(slots, bytes(image.bytes))

    def test_what_is_cut_short(self):
        for length in range(len(DRIVER)):
            try:
                load(DRIVER[:length])
            except ValueError:
                continue
            # Only padding was cut.
            self.assertFalse(any(DRIVER[length:]), length)

    def test_what_is_spoilt(self):
        chance = random.Random(1)
        refused = 0
        for _ in range(3000):
            spoilt = bytearray(DRIVER)
            for _ in range(chance.randrange(1, 4)):
                at = chance.choice([chance.randrange(0x400), chance.randrange(len(spoilt))])
                spoilt[at] = chance.choice([0, 0xFF, chance.randrange(256)])
            try:
                load(bytes(spoilt))
            except ValueError as error:
                refused += 1
                self.assertTrue(str(error))
        self.assertGreater(refused, 100)


if __name__ == "__main__":
    unittest.main()
