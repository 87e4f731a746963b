"""A PE loader: lays a 64-bit driver out at an address, relocates it, binds its imports.

To change for a machine of your own: nothing, as long as drivers import by name. (By ordinal, and delayed, are refused.)
"""

import dataclasses
import struct
from typing import Callable, Dict, List, NoReturn, Tuple

PAGE = 4096
MOST = 64 << 20
EXPORTS, IMPORTS, RELOCATIONS = 0, 1, 5
DIR64, WRITABLE = 10, 0x8000_0000


@dataclasses.dataclass
class Image:
    base: int
    entry: int
    #: As it lies in memory.
    bytes: bytearray
    #: Where the driver may write: address and bytes.
    writable: List[Tuple[int, int]]
    #: Exported names by address.
    names: Dict[int, str]

    def name(self, address: int, file: str) -> str:
        """An address as a debugger shows it: the exported function before it, and the way from there."""
        if not self.base <= address < self.base + len(self.bytes):
            return f"{address:#x}"
        before = max((start for start in self.names if start <= address), default=None)
        if before is None:
            return f"{file}+{address - self.base:#x}"
        return f"{file}!{self.names[before]}+{address - before:#x}"


def refuse(why: str) -> NoReturn:
    raise ValueError(f"this driver cannot be loaded: {why}")


def load(file: bytes, base: int, bind: Callable[[str, str], int]) -> Image:
    """The driver, for `base` (a multiple of a page). `bind` gives the address of a module's function. ValueError: it is
    none, or one with what this loader lacks."""
    try:
        return _load(file, base, bind)
    except (struct.error, UnicodeDecodeError) as error:
        refuse(f"it is cut short, or spoilt ({error})")


def _load(file: bytes, base: int, bind: Callable[[str, str], int]) -> Image:

    start = struct.unpack_from("<I", file, 0x3C)[0] if len(file) > 0x40 else len(file)
    if file[:2] != b"MZ" or file[start : start + 4] != b"PE\0\0":
        refuse("it is no PE file")
    machine, sections, _, _, _, optional_bytes, _ = struct.unpack_from("<HHIIIHH", file, start + 4)
    optional = start + 24
    if machine != 0x8664 or struct.unpack_from("<H", file, optional)[0] != 0x20B:
        refuse("it is not for x86-64")
    entry, preferred = struct.unpack_from("<I4xQ", file, optional + 16)
    size, headers = struct.unpack_from("<II", file, optional + 56)
    size = -(-size // PAGE) * PAGE
    if size > MOST:
        refuse(f"it takes {size} bytes")
    if headers > min(size, len(file)):
        refuse("its headers are cut short")
    image = bytearray(size)
    image[:headers] = file[:headers]
    writable = []
    for n in range(sections):
        row = optional + optional_bytes + 40 * n
        virtual_bytes, rva, raw_bytes, raw = struct.unpack_from("<IIII", file, row + 8)
        (flags,) = struct.unpack_from("<I", file, row + 36)
        content = file[raw : raw + min(raw_bytes, virtual_bytes)]
        if raw + raw_bytes > len(file):
            refuse("a section is cut short")
        if rva + virtual_bytes > size:
            refuse("a section lies outside the image")
        image[rva : rva + len(content)] = content
        if flags & WRITABLE:
            writable.append((base + rva, -(-virtual_bytes // PAGE) * PAGE))

    def directory(which: int) -> Tuple[int, int]:
        return struct.unpack_from("<II", image, optional + 112 + 8 * which)

    def string(rva: int) -> str:
        return image[rva : image.index(0, rva)].decode("ascii")  # without an end it is a ValueError

    at, length = directory(RELOCATIONS)
    if base != preferred and not length:
        refuse("it has no relocations")
    end = at + length
    while at < end:
        page, block_bytes = struct.unpack_from("<II", image, at)
        if block_bytes < 8 or block_bytes % 2 or at + block_bytes > end:
            refuse("a block of relocations has another size than it says")
        for (entry_,) in struct.iter_unpack("<H", image[at + 8 : at + block_bytes]):
            place = page + (entry_ & 0xFFF)
            if entry_ >> 12 == DIR64:
                (value,) = struct.unpack_from("<Q", image, place)
                struct.pack_into("<Q", image, place, (value + base - preferred) % (1 << 64))
            elif entry_ >> 12:
                refuse(f"a relocation of type {entry_ >> 12}")
        at += block_bytes

    at, length = directory(IMPORTS)
    while length:
        lookup, _, _, module, slots = struct.unpack_from("<IIIII", image, at)
        if not module:
            break
        for n in range(size // 8):
            (hint,) = struct.unpack_from("<Q", image, (lookup or slots) + 8 * n)
            if not hint:
                break
            if hint >> 63:
                refuse("an import by ordinal")
            struct.pack_into("<Q", image, slots + 8 * n, bind(string(module).lower(), string(hint + 2)))
        at += 20

    names = {}
    at, length = directory(EXPORTS)
    if length:
        count, functions, texts, ordinals = struct.unpack_from("<4xIIII", image, at + 20)
        for n in range(min(count, 1 << 16)):
            (ordinal,) = struct.unpack_from("<H", image, ordinals + 2 * n)
            (function,) = struct.unpack_from("<I", image, functions + 4 * ordinal)
            (text,) = struct.unpack_from("<I", image, texts + 4 * n)
            names[base + function] = string(text)
    return Image(base, base + entry, image, writable, names)
