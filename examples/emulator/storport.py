"""The pool's routines for an emulated driver: what an emulator's author copies.

To change for a machine of your own: what is called on `self.machine`, see machine.py.
"""

import struct

from storport_pool import Pool, Status, tag_text

ULONG = 0xFFFF_FFFF
UNINITIALIZED, CACHE_ALIGNED = 0x2, 0x8
#: Bytes behind each block that nobody asked for: what is written there is found, also where the next block is live.
RED_ZONE = 16


class Storport:
    """The core: a pool over the guest's addresses, its owners, and the routines."""

    def __init__(self, machine):
        self.machine = machine
        self.pool = Pool(
            range=(machine.POOL, machine.POOL_BYTES), min_block=64, irql=lambda: machine.irql, raise_violations=True
        )
        self.owners = {}  # from a HwDeviceExtension, which is a guest's address, to its adapter
        self.executive = self.pool.adapter("ntoskrnl.exe")
        machine.watch(machine.POOL, machine.POOL_BYTES, self.accessed)

    def allocate(self, owner, bytes, tag, alignment=16):
        asked = bytes and min(bytes + RED_ZONE, ULONG)
        status, block = self.pool.allocate_aligned(owner, asked, alignment, tag)
        if block:
            self.pool.resize(owner, block, bytes)  # the red zone is the block's, but nobody's to use
        return status, block

    def StorPortExtendedFunction(self, code, extension, first, tag, out):
        owner = self.owners.get(extension)
        if code & ULONG == 0 and out:  # ExtFunctionAllocatePool
            status, block = self.allocate(owner, first & ULONG, tag & ULONG)
            self.machine.write(out, struct.pack("<Q", block))
        elif code & ULONG == 1:  # ExtFunctionFreePool
            status = self.pool.free(owner, first)
        else:
            status = Status.INVALID_PARAMETER if code & ULONG == 0 else Status.NOT_IMPLEMENTED
        return status

    # The tagged pool, for drivers that mix both.

    def ExAllocatePool2(self, flags, bytes, tag):
        alignment = 64 if flags & CACHE_ALIGNED else 16
        block = self.allocate(self.executive, bytes, tag & ULONG, alignment)[1] if bytes <= ULONG else 0
        if block and not flags & UNINITIALIZED:
            self.machine.write(block, bytes * b"\0")  # the emulator's memory, which the pool cannot touch
        return block

    def ExFreePoolWithTag(self, block, tag):
        if self.pool.free(self.executive, block, tag & ULONG) is Status.INVALID_IRQL:
            text = f"ExFreePool at IRQL {self.machine.irql}"
            self.machine.stop(0xC2, (0x9, self.machine.irql, 0, block), text, self.machine.caller())

    # Optional. Past the end, and after the free: as the special pool finds them, with no page spent on each block.

    def accessed(self, address, size, write):
        block = self.pool.block_at(address)
        if block and block.live and address + size <= block.address + block.bytes:
            return
        what = f"{'write' if write else 'read'} of {size} bytes at {address:#x}"
        if block is None:
            code, what = 0x50, f"{what}, where no block ever was"
        else:
            owner = block.owner.name if block.owner else "a removed adapter"
            of = f"block {block.address:#x}, tag '{tag_text(block.tag)}', {block.bytes} bytes, of adapter {owner}"
            code = 0xCD if block.live else 0xCC
            what = f"{what}, {'past the end' if block.live else 'after the free'} of {of}"
        at = self.machine.instruction()
        self.machine.stop(code, (address, int(write), at, 0), what, at)
