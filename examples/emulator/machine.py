"""An emulated x86-64 machine in kernel mode, by unicorn: memory, calls into the guest, calls out of it, snapshots.

To change for a machine of your own: all of it, if you have an emulator already. What storport.py asks of a machine is
`POOL`, `POOL_BYTES`, `irql`, `write`, `watch`, `caller`, `instruction` and `stop`.
"""

import struct
from typing import Callable, Dict, List, NoReturn, Tuple

import pe
import unicorn
from storport_pool import BugCheck, bug_check_text
from unicorn import x86_const as x86

PAGE = 4096
PASSIVE, DISPATCH, DIRQL = 0, 2, 5


class Stopped(Exception):
    """The guest did what Windows stops for. `at`: the guest's instruction (of a call: where it returns to)."""

    def __init__(self, code: int, parameters: Tuple[int, ...], text: str, at: str) -> None:
        super().__init__(f"{text}\n    at {at}: {bug_check_text(code, parameters)}")
        self.code, self.parameters, self.text, self.at = code, parameters, text, at


class Machine:
    #: The pool's range. No block of it is memory of this process.
    POOL, POOL_BYTES = 0xFFFF_A000_0000_0000, 16 << 20
    DRIVER = 0xFFFF_F800_1234_0000
    #: One address for each routine that the driver imports, and the one to which the guest's functions return.
    ROUTINES, ROUTINES_BYTES = 0xFFFF_F800_0000_0000, 1 << 16
    STACK, STACK_BYTES = 0xFFFF_F900_0000_0000, 64 << 10
    #: Extensions, requests, and whatever else the machine hands to the driver.
    DATA, DATA_BYTES = 0xFFFF_F980_0000_0000, 64 << 10

    def __init__(self) -> None:
        self.irql = PASSIVE
        self.cpu = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
        # All 64 bits of an address, without page tables.
        self.cpu.ctl_set_tlb_mode(unicorn.unicorn_const.UC_TLB_VIRTUAL)
        for start, size in (
            (self.POOL, self.POOL_BYTES),
            (self.ROUTINES, self.ROUTINES_BYTES),
            (self.STACK, self.STACK_BYTES),
            (self.DATA, self.DATA_BYTES),
        ):
            self.cpu.mem_map(start, size)
        # `ret` everywhere: a routine's work is done by the hook.
        self.write(self.ROUTINES, b"\xc3" * self.ROUTINES_BYTES)
        end = self.ROUTINES + self.ROUTINES_BYTES - 1
        self.cpu.hook_add(unicorn.UC_HOOK_CODE, self._routine, begin=self.ROUTINES, end=end)
        self.routines: Dict[int, Callable] = {}
        self.dirty = set()  # pages of the pool
        self.data_used = 0
        self.writable: List[Tuple[int, int]] = [(self.STACK, self.STACK_BYTES), (self.DATA, self.DATA_BYTES)]

    # Memory.

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.cpu.mem_read(address, size))

    def write(self, address: int, content: bytes) -> None:
        if self.POOL <= address < self.POOL + self.POOL_BYTES:
            self._dirtied(address, len(content))
        self.cpu.mem_write(address, content)

    def _dirtied(self, address: int, size: int) -> None:
        self.dirty.update(range(address // PAGE, (address + size - 1) // PAGE + 1))

    def data(self, size: int) -> int:
        """Some memory for the driver, zeroed, for good."""
        address = self.DATA + self.data_used
        self.data_used += -(-size // 64) * 64
        assert self.data_used <= self.DATA_BYTES, "the machine's data is full"
        return address

    def watch(self, start: int, size: int, accessed: Callable[[int, int, bool], None]) -> None:
        """Calls `accessed(address, bytes, is a write)` before the guest's instructions read or write there."""

        def hook(_cpu: object, access: int, address: int, size: int, _value: int, _data: object) -> None:
            write = access == unicorn.UC_MEM_WRITE
            if write:
                self._dirtied(address, size)
            accessed(address, size, write)

        kinds = unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE
        self.cpu.hook_add(kinds, hook, begin=start, end=start + size - 1)

    # The driver.

    def load(self, file: bytes, routines: object) -> None:
        """Loads a driver. What it imports are methods of `routines`, by their names: their arguments are the guest's, as
        64-bit numbers, and what they return is the guest's result."""

        def bind(module: str, name: str) -> int:
            routine = getattr(routines, name, None)
            if routine is None:
                raise ValueError(f"this driver cannot be loaded: nothing stands for {module}!{name}")
            address = self.ROUTINES + 16 * (1 + len(self.routines))
            self.routines[address] = routine
            return address

        self.driver = pe.load(file, self.DRIVER, bind)
        self.cpu.mem_map(self.DRIVER, len(self.driver.bytes))
        self.write(self.DRIVER, bytes(self.driver.bytes))
        self.writable += self.driver.writable

    def _routine(self, _cpu: object, address: int, _size: int, _data: object) -> None:
        routine = self.routines.get(address)
        if routine is None:
            # Where `call` returns to, or a wild jump: the caller sees which.
            return
        stack = self.cpu.reg_read(x86.UC_X86_REG_RSP)
        registers = (x86.UC_X86_REG_RCX, x86.UC_X86_REG_RDX, x86.UC_X86_REG_R8, x86.UC_X86_REG_R9)
        # The fifth argument and later ones lie above the return address and the four registers' homes.
        arguments = [self.cpu.reg_read(register) for register in registers]
        arguments += struct.unpack("<2Q", self.read(stack + 40, 16))
        try:
            result = routine(*arguments[: routine.__code__.co_argcount - 1])
        except BugCheck as stop:
            self.stop(stop.code, stop.parameters, stop.violation.text, self.caller())
        self.cpu.reg_write(x86.UC_X86_REG_RAX, (result or 0) % (1 << 64))

    def call(self, function: int, *arguments: int, irql: int = PASSIVE) -> int:
        """Calls a function of the guest's with up to six numbers, at an IRQL; its result. Raises `Stopped`."""
        stack = self.STACK + self.STACK_BYTES - 264  # as a call leaves it
        home = [self.ROUTINES, 0, 0, 0, 0, *arguments[4:]]
        self.write(stack, struct.pack(f"<{len(home)}Q", *home))
        self.cpu.reg_write(x86.UC_X86_REG_RSP, stack)
        registers = (x86.UC_X86_REG_RCX, x86.UC_X86_REG_RDX, x86.UC_X86_REG_R8, x86.UC_X86_REG_R9)
        for register, argument in zip(registers, arguments):
            self.cpu.reg_write(register, argument)
        before, self.irql = self.irql, irql
        try:
            self.cpu.emu_start(function, self.ROUTINES)
        except unicorn.UcError as error:
            at = self.cpu.reg_read(x86.UC_X86_REG_RIP)
            self.stop(0x50, (0, 0, at, 0), f"the guest cannot go on: {error}", at)
        finally:
            self.irql = before
        return self.cpu.reg_read(x86.UC_X86_REG_RAX)

    def caller(self) -> int:
        """Where the guest goes on after the routine that it called, within that."""
        return struct.unpack("<Q", self.read(self.cpu.reg_read(x86.UC_X86_REG_RSP), 8))[0]

    def instruction(self) -> int:
        """The instruction that is executed, within `watch`."""
        return self.cpu.reg_read(x86.UC_X86_REG_RIP)

    def stop(self, code: int, parameters: Tuple[int, ...], text: str, at: int) -> NoReturn:
        """Stops the guest, as a bug check does: `call` raises it."""
        raise Stopped(code, parameters, text, self.driver.name(at, "guest.sys"))

    # Snapshots.

    def snapshot(self) -> tuple:
        """The machine between two calls. Of the pool's memory, `resume` writes back what was written since."""
        self.dirty.clear()
        memory = [(start, self.read(start, size)) for start, size in self.writable]
        return self.cpu.context_save(), self.data_used, memory, self.read(self.POOL, self.POOL_BYTES)

    def resume(self, snapshot: tuple) -> None:
        """As often as you like; but only the latest snapshot."""
        context, self.data_used, memory, pool = snapshot
        self.cpu.context_restore(context)
        for start, content in memory:
            self.cpu.mem_write(start, content)
        for page in self.dirty:
            at = page * PAGE - self.POOL
            self.cpu.mem_write(page * PAGE, pool[at : at + PAGE])
        self.dirty.clear()
